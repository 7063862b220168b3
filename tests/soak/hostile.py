#!/usr/bin/env python3
"""Many seeds of the hostile guest on the soft back end, against a build with
sanitizers; a round that held is one line of the record file, so that a run that
was interrupted goes on where it stopped.

usage: hostile.py BUILD RECORD [--attacks TOTAL] [--pairs FILE] [--beside N] [--check]

BUILD: meson setup BUILD -Db_sanitize=address,undefined -Db_lundef=false
-Dcoverage=true, with clang. A round holds when the paravisor neither died nor grew
and the honest client beside the attackers saw nothing wrong. At the end the
(machine, state, event) pairs that were reached are counted, from the counters of
engine/coverage.h, which all rounds of one build share, and written to FILE, each
with whose it is: the guest's, or, by the tables' origin and hostile-never.tsv, the
host's or nobody's. A guest's that came less than 1,000 times is printed; one of
nobody's that came fails the run. Rounds side by side are told so in their lines: what they
say of the client's times is not that of a machine of its own."""
import argparse
import collections
import concurrent.futures
import json
import os
import re
import subprocess
import sys

import record

ROUND, PHASES = 50_000, 8    # attacks beside the client; times that everything is taken down
STATES = 1000                 # cycles of tests/soft/attack_state.c each time
LEAST = 1000         # of each pair
GROWTH_KIB = 4096    # what a paravisor may take between its second second and its end
BOUND_SECONDS = 1200
HERE = os.path.dirname(os.path.abspath(__file__))
GUEST_MACHINES = ('vmbus', 'channel', 'gpadl', 'storvsp', 'scsi', 'vp')


def run_round(build, number, counters):
    # What was freed is kept from use, but not so much that it looks like growth.
    env = dict(os.environ, HOLDFAST_COVERAGE=counters,
               ASAN_OPTIONS='detect_leaks=0:quarantine_size_mb=1:thread_local_quarantine_size_kb=64',
               UBSAN_OPTIONS='halt_on_error=1:print_stacktrace=1')
    command = ['tests/soft/hostile.sh', build, build, f'seed={number}', f'count={ROUND}',
               'seconds=1', 'busy=1', f'phases={PHASES}', f'states={STATES}', 'patience=60']
    command += ['synic'] if number % 2 else []
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False,
                          timeout=BOUND_SECONDS)
    report = re.search(r'^\{"mode":"hostile".*$', done.stdout, re.MULTILINE)
    rss = re.search(r'rss_early_kib=(\d+) rss_most_kib=(\d+)', done.stdout)
    if done.returncode or not report or not rss:
        print(done.stdout[-3000:], done.stderr[-2000:], sep='\n')
        return None
    told = json.loads(report.group(0))
    early, most = (int(x) for x in rss.groups())
    row = {'round': number, 'attacks': told['attacks'], 'verified': told['good']['verified'],
           'p99_calm_us': told['good']['p99_calm_us'],
           'p99_busy_us': told['good']['p99_busy_us'],
           'p99_attacked_us': told['good']['p99_attacked_us'],
           'rss_early_kib': early, 'rss_most_kib': most}
    if most > early + GROWTH_KIB:
        print(f'hostile: round {number}: memory grew from {early} to {most} KiB')
        return None
    return row


def pairs(build, counters):
    """{(machine, state, event): times}."""
    text = subprocess.run([os.path.join(build, 'tests/coverage/rows'), counters],
                          capture_output=True, text=True, check=True).stdout
    found = collections.Counter()
    for line in text.splitlines():
        what, machine, _, state, event, *_, count = line.split(' ')
        if what == 'row' or 'bug' not in line.split(' '):
            found[machine, state, event] += int(count)
    return found


def origins(build):
    """{(machine, event): origin}, from the tables."""
    text = subprocess.run([os.path.join(build, 'holdfast'), 'machines', '--schema'],
                          capture_output=True, text=True, check=True).stdout
    words = (line.split() for line in text.splitlines())
    return {(w[1], w[3]): w[5] for w in words if w[0] == 'event'}


def nobodys(path=os.path.join(HERE, 'hostile-never.tsv')):
    """Who, of each pair that is no guest's: a function of machine, state, event."""
    with open(path, encoding='ascii') as f:
        lines = [x.rstrip('\n').split('\t') for x in f if x.strip() and x[0] != '#']

    def who(machine, state, event):
        for m, states, events, what, _ in lines:
            if m == machine and (states == '*' or state in states.split()) and \
                    (events == '*' or event in events.split()):
                return what
        return ''
    return who


def classify(build, found):
    """{(machine, state, event): (times, guest | host | never)}."""
    origin, who = origins(build), nobodys()
    table = {}
    for key, n in found.items():
        if key[0] not in GUEST_MACHINES:
            continue
        host = origin[key[0], key[2]] in ('host', 'operator')
        # A completion of the io_uring is the host's, but the guest asked for it.
        host = host and key[2] != 'DISK_DONE'
        table[key] = (n, 'host' if host else who(*key) or 'guest')
    return table


def tell_pairs(build, found, path):
    table = classify(build, found)
    if path:
        with open(path, 'w', encoding='ascii') as f:
            for key, (n, what) in sorted(table.items()):
                f.write('\t'.join([*key, str(n), what]) + '\n')
    mine = {k: n for k, (n, what) in table.items() if what == 'guest'}
    rare = sorted((n, *k) for k, n in mine.items() if n < LEAST)
    wrong = [k for k, (n, what) in table.items() if what == 'never' and n]
    print(f'hostile: {len(table)} pairs of {len(GUEST_MACHINES)} machines, '
          f'{len(mine)} of them a guest\'s: {len(mine) - len(rare)} came {LEAST} times or more, '
          f'{sum(x[0] > 0 for x in rare)} less often, {sum(x[0] == 0 for x in rare)} not yet')
    for n, *key in rare:
        print('hostile:  ', ' '.join(key), n)
    for key in wrong:
        print('hostile:', ' '.join(key), 'came, which hostile-never.tsv denies: take it out there')
    return not wrong


def main():
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), '../..'))
    p = argparse.ArgumentParser()
    p.add_argument('build')
    p.add_argument('record')
    p.add_argument('--attacks', type=int, default=10**7)
    p.add_argument('--pairs')
    p.add_argument('--beside', type=int, default=1, help='rounds side by side')
    p.add_argument('--check', action='store_true')
    a = p.parse_args()
    mark = record.mark()
    counters = os.path.abspath(os.path.join(a.build, f'hostile-{mark}.counters'))
    rows = record.rows(a.record, mark)
    while not a.check and sum(r['attacks'] for r in rows) < a.attacks:
        first = max((r['round'] for r in rows), default=0) + 1
        with concurrent.futures.ThreadPoolExecutor(a.beside) as pool:
            done = pool.map(lambda n: (n, run_round(os.path.abspath(a.build), n, counters)),
                            range(first, first + a.beside))
            for number, row in done:
                if row is None:
                    print(f'hostile: round {number} did not hold')
                    return 1
                if a.beside > 1:
                    row['beside'] = a.beside
                record.add(a.record, mark, row)
                rows.append(row)
                print(row, flush=True)
    total = sum(r['attacks'] for r in rows)
    print(f'hostile: {len(rows)} rounds, {total} attacks, nothing lost')
    sound = True
    if os.path.exists(counters):
        sound = tell_pairs(a.build, pairs(a.build, counters), a.pairs)
    return 0 if sound and total >= a.attacks else 1


if __name__ == '__main__':
    sys.exit(main())
