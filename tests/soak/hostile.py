#!/usr/bin/env python3
"""Many seeds of the hostile guest on the soft back end, against a build with
sanitizers; a round that held is one line of the record file, so that a run that
was interrupted goes on where it stopped.

usage: hostile.py BUILD RECORD [--attacks TOTAL] [--pairs FILE] [--check]

BUILD: meson setup BUILD -Db_sanitize=address,undefined -Db_lundef=false
-Dcoverage=true, with clang. A round holds when the paravisor neither died nor grew
and the honest client beside the attackers saw nothing wrong. At the end the
(machine, state, event) pairs that were reached are counted, from the counters of
engine/coverage.h, which all rounds of one build share, and written to FILE: those
a guest causes by itself and that came less than 1,000 times are printed."""
import argparse
import collections
import json
import os
import re
import subprocess
import sys

import record

ROUND, PHASES = 250_000, 25   # attacks; times that everything is taken down
STATES = 120                  # cycles of tests/soft/attack_state.c each time
LEAST = 1000         # of each pair
GROWTH_KIB = 4096    # what a paravisor may take between its second second and its end
BOUND_SECONDS = 1200
GUEST_MACHINES = ('vmbus', 'channel', 'gpadl', 'storvsp', 'scsi', 'vp')


def run_round(build, number, counters):
    env = dict(os.environ, HOLDFAST_COVERAGE=counters, ASAN_OPTIONS='detect_leaks=0',
               UBSAN_OPTIONS='halt_on_error=1:print_stacktrace=1')
    command = ['tests/soft/hostile.sh', build, build, f'seed={number}', f'count={ROUND}',
               'seconds=1', f'phases={PHASES}', f'states={STATES}', 'patience=60'] + (['synic'] if number % 2 else [])
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


def tell_pairs(found, path):
    mine = {k: n for k, n in found.items() if k[0] in GUEST_MACHINES}
    if path:
        with open(path, 'w', encoding='ascii') as f:
            for key, n in sorted(mine.items()):
                f.write('\t'.join([*key, str(n)]) + '\n')
    rare = sorted((n, *k) for k, n in mine.items() if 0 < n < LEAST)
    never = [k for k, n in mine.items() if n == 0]
    print(f'hostile: {len(mine)} pairs of {len(GUEST_MACHINES)} machines: '
          f'{len(mine) - len(rare) - len(never)} came {LEAST} times or more, {len(rare)} less '
          f'often, {len(never)} never')
    for n, *key in rare:
        print('hostile:  ', ' '.join(key), n)


def main():
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), '../..'))
    p = argparse.ArgumentParser()
    p.add_argument('build')
    p.add_argument('record')
    p.add_argument('--attacks', type=int, default=10**7)
    p.add_argument('--pairs')
    p.add_argument('--check', action='store_true')
    a = p.parse_args()
    mark = record.mark()
    counters = os.path.abspath(os.path.join(a.build, f'hostile-{mark}.counters'))
    rows = record.rows(a.record, mark)
    while not a.check and sum(r['attacks'] for r in rows) < a.attacks:
        number = max((r['round'] for r in rows), default=0) + 1
        row = run_round(os.path.abspath(a.build), number, counters)
        if row is None:
            print(f'hostile: round {number} did not hold')
            return 1
        record.add(a.record, mark, row)
        rows.append(row)
        print(row, flush=True)
    total = sum(r['attacks'] for r in rows)
    print(f'hostile: {len(rows)} rounds, {total} attacks, nothing lost')
    if os.path.exists(counters):
        tell_pairs(pairs(a.build, counters), a.pairs)
    return 0 if total >= a.attacks else 1


if __name__ == '__main__':
    sys.exit(main())
