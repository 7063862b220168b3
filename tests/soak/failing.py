#!/usr/bin/env python3
"""Every allocation and system call of tests/failing fails once, all of them. A batch of
calls after which each outcome was clean is one line of the record file, so that a run
that was interrupted goes on where it stopped.

usage: failing.py BUILD RECORD [--scenario NAME]... [--jobs N] [--check]

How many calls a scenario makes is told by each batch; the last ones may be one more or
fewer from run to run, because some of them depend on time. --check only looks at the
record: each scenario must be there whole, for this commit."""
import argparse
import concurrent.futures
import os
import re
import subprocess
import sys
import threading

import record

BATCH = 50
SCENARIOS = ('run', 'partition', 'first owner', 'take-over', 'successor', 'service', 'archive')
TOLD = re.compile(r': (\d+) calls of (\S+), (\d+) failed one at a time, 0 outcomes not clean$')
LOCK = threading.Lock()


def rest(path, mark, scenario):
    """(first call not tried yet, calls that there are or 0: not known yet)."""
    first, calls = 1, 0
    for row in record.rows(path, mark):
        if row['scenario'] == scenario:
            first, calls = max(first, row['last'] + 1), row['calls']
    return first, calls


def batch(build, scenario, first):
    """The batch as the record has it; None: an outcome was not clean."""
    done = subprocess.run([sys.executable, 'tests/failing/failing.py', build, '--scenario',
                           scenario, '--first', str(first), '--last', str(first + BATCH - 1)],
                          capture_output=True, text=True, check=False)
    told = TOLD.search(done.stdout.strip())
    if done.returncode or not told:
        with LOCK:
            print(done.stdout.strip(), done.stderr.strip(), sep='\n', flush=True)
        return None
    calls = int(told[1])
    return {'scenario': scenario, 'process': told[2], 'first': first,
            'last': min(first + BATCH - 1, calls), 'calls': calls, 'tried': int(told[3])}


def run_scenario(build, path, mark, scenario, stop):
    """The rest of a scenario. True: all of it held."""
    first, calls = rest(path, mark, scenario)
    while not stop.is_set() and (calls == 0 or first <= calls):
        row = batch(build, scenario, first)
        if row is None:
            stop.set()
            return False
        with LOCK:
            record.add(path, mark, row)
        first, calls = row['last'] + 1, row['calls']
    return not stop.is_set()


def judge(path, mark):
    status = 0
    for scenario in SCENARIOS:
        rows = [r for r in record.rows(path, mark) if r['scenario'] == scenario]
        tried = sum(r['tried'] for r in rows)
        first, calls = rest(path, mark, scenario)
        print(f'failing: {scenario}: {tried} of {calls} calls')
        if not calls or first <= calls:
            status = 1
    return status


def main():
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), '../..'))
    p = argparse.ArgumentParser()
    p.add_argument('build')
    p.add_argument('record')
    p.add_argument('--scenario', action='append')
    p.add_argument('--jobs', type=int, default=2)
    p.add_argument('--check', action='store_true')
    a = p.parse_args()
    mark, good, stop = record.mark(), True, threading.Event()
    if not a.check:
        with concurrent.futures.ThreadPoolExecutor(a.jobs) as pool:
            good = all(pool.map(lambda s: run_scenario(a.build, a.record, mark, s, stop),
                                a.scenario or SCENARIOS))
    return judge(a.record, mark) if good else 1


sys.exit(main())
