#!/usr/bin/env python3
"""Many seeds of `holdfast sim`, in batches; a batch that held is one line of the
record file, so that a run that was interrupted goes on where it stopped.

usage: sim.py BUILD RECORD [--events TOTAL] [--seeds TOTAL] [--check]

Every tenth batch has the hostile guest. At the end the record must hold, for this
commit, the events and seeds asked for, one kill in a thousand events, one
replacement in ten thousand, and each kind of fault at least once: a kind with 0
was not tested. --check only looks at the record."""
import argparse
import collections
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
    p.add_argument('--check', action='store_true')
    a = p.parse_args()
    mark = record.mark()
    rows = record.rows(a.record, mark, TREE)
    number = max((r['batch'] for r in rows), default=-1) + 1
    total = summary(rows)
    while not a.check and (total['events'] < a.events or total['seeds'] < a.seeds):
        row = run_batch(a.build, number)
        if row is None:
            print(f'sim: batch {number} did not hold')
            return 1
        record.add(a.record, mark, row, TREE)
        rows.append(row)
        total = summary(rows)
        number += 1
    return judge(total, {'events': a.events, 'seeds': a.seeds, 'kinds': kinds()})


sys.exit(main())
