#!/usr/bin/env python3
"""Many seeds of `holdfast sim`, in batches; a batch that held is one line of the
record file, so that a run that was interrupted goes on where it stopped.

usage: sim.py BUILD RECORD [--events TOTAL] [--seeds TOTAL] [--jobs N] [--check]

Every tenth batch has the hostile guest. At the end the record must hold, for this
commit, the events and seeds asked for, one kill in a thousand events, one
replacement in ten thousand, and each kind of fault at least once: a kind with 0
was not tested. --check only looks at the record."""
import argparse
import collections
import concurrent.futures
import itertools
import json
import os
import subprocess
import sys
import tempfile

import record

BATCH, EVENTS, HOSTILE_EVENTS = 100, 100_000, 30_000
REPLACED = ('upgrade', 'downgrade', 'replace')
NOT_FAULTS = {'seed', 'ok', 'hostile', 'why'}
TREE = 'tree'        # of the record: commit is one of the faults


def run_batch(build, number):
    hostile = number % 10 == 9
    with tempfile.NamedTemporaryFile('r') as out:
        command = [os.path.join(build, 'holdfast'), 'sim', '--seed', str(number * BATCH + 1),
                   '--seeds', str(BATCH), '--record', out.name, '--shrink',
                   '--events', str(HOSTILE_EVENTS if hostile else EVENTS)]
        if hostile:
            command.append('--hostile')
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        runs = [json.loads(x) for x in out.read().splitlines()]
    if done.returncode:
        print('\n'.join(done.stdout.splitlines()[-4:]))
        print('\n'.join(done.stderr.splitlines()[-20:]))
        return None
    total = collections.Counter()
    for r in runs:
        for name, value in r.items():
            if name not in NOT_FAULTS:
                total[name] += value
    return {'batch': number, 'hostile': hostile, 'seeds': len(runs),
            **{k: round(v, 1) for k, v in total.items()}}


def summary(rows):
    total = collections.Counter()
    for r in rows:
        for name, value in r.items():
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                total[name] += value
    return total


def judge(total, want):
    replaced = sum(total[k] for k in REPLACED)
    wrong = [f'{k}: 0' for k in want['kinds'] if not total[k]]
    for name, is_, least in (('events', total['events'], want['events']),
                             ('seeds', total['seeds'], want['seeds']),
                             ('kills', total['kills'], total['events'] // 1000),
                             ('replacements', replaced, total['events'] // 10000)):
        if is_ < least:
            wrong.append(f'{name}: {is_}, at least {least} wanted')
    print(f'sim: {total["seeds"]} seeds, {total["events"]} events, {total["kills"]} kills, '
          f'{replaced} replacements, no violation')
    for w in wrong:
        print('sim:', w)
    return 1 if wrong else 0


def is_enough(a, rows):
    total = summary(rows)
    return total['events'] >= a.events and total['seeds'] >= a.seeds


def run_batches(a, mark, rows):
    """Adds to @rows and to the record until they are enough. False: one did not hold."""
    had = {r['batch'] for r in rows}
    numbers = (n for n in itertools.count() if n not in had)
    running, held = {}, True
    with concurrent.futures.ThreadPoolExecutor(a.jobs) as pool:
        while running or (held and not is_enough(a, rows)):
            while held and len(running) < a.jobs and not is_enough(a, rows):
                number = next(numbers)
                running[pool.submit(run_batch, a.build, number)] = number
            done, _ = concurrent.futures.wait(
                running, return_when=concurrent.futures.FIRST_COMPLETED)
            for batch in done:
                number, row = running.pop(batch), batch.result()
                if row is None:
                    print(f'sim: batch {number} did not hold')
                    held = False
                    continue
                record.add(a.record, mark, row, TREE)
                rows.append(row)
    return held


def kinds():
    """The words of sim/faults.def."""
    with open('sim/faults.def', encoding='ascii') as f:
        return [x.split('"')[1] for x in f if x.startswith('FAULT(')]


def main():
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), '../..'))
    p = argparse.ArgumentParser()
    p.add_argument('build')
    p.add_argument('record')
    p.add_argument('--events', type=int, default=10**9)
    p.add_argument('--seeds', type=int, default=10**4)
    p.add_argument('--jobs', type=int, default=os.cpu_count(), help='batches at a time')
    p.add_argument('--check', action='store_true')
    a = p.parse_args()
    mark = record.mark()
    rows = record.rows(a.record, mark, TREE)
    if not a.check and not run_batches(a, mark, rows):
        return 1
    return judge(summary(rows), {'events': a.events, 'seeds': a.seeds, 'kinds': kinds()})


sys.exit(main())
