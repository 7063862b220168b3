#!/usr/bin/env python3
"""SIGKILL of the owner at every turn boundary and in, before and behind every
effect of the fixed scenario (`holdfast sim --kill-points`, docs/TESTING.md), seed
after seed. A batch of points that held is one line of the record file, so that a run
that was interrupted goes on where it stopped.

usage: kills.py BUILD RECORD [--points TOTAL] [--jobs N] [--check]

At the end the record must hold so many points for this commit. A line names scenario,
seed, first point, of how many; and for each point where it was (t: turn boundary, e:
effect) and the requests in flight.
--check only looks at the record."""
import argparse
import collections
import concurrent.futures
import json
import os
import subprocess
import sys
import tempfile
import threading

import record

BATCH = 500
LOCK = threading.Lock()


def held(path, mark):
    """{seed: {first point: batch}} of this commit."""
    points = collections.defaultdict(dict)
    for row in record.rows(path, mark):
        points[row['seed']][row['first']] = row
    return points


def count(points):
    return sum(len(b['in_flight']) for batches in points.values() for b in batches.values())


def run_batch(build, seed, first):
    """The batch as the record has it, or None: not each point of it held."""
    with tempfile.NamedTemporaryFile('r') as out:
        done = subprocess.run([os.path.join(build, 'holdfast'), 'sim', '--seed', str(seed),
                               '--kill-points', str(BATCH), '--kill-from', str(first),
                               '--record', out.name], capture_output=True, text=True, check=False)
        rows = [json.loads(x) for x in out.read().splitlines()]
    if done.returncode or not all(r['ok'] for r in rows):
        with LOCK:
            print(done.stdout.strip())
            print('\n'.join(done.stderr.splitlines()[-20:]))
        return None
    return {'scenario': rows[0]['scenario'] if rows else '', 'seed': seed, 'first': first,
            'of': rows[0]['of'] if rows else 0, 'at': ''.join(r['at'][0] for r in rows),
            'in_flight': [r['in_flight'] for r in rows]}


def run_seed(build, path, mark, seed, before, stop):
    """The rest of a seed's points. True: all of them held."""
    first = max(before, default=1 - BATCH) + BATCH
    while not stop.is_set():
        batch = run_batch(build, seed, first)
        if batch is None:
            stop.set()
            return False
        if batch['in_flight']:
            with LOCK:
                record.add(path, mark, batch)
        if len(batch['in_flight']) < BATCH:
            return True
        first += BATCH
    return True


def judge(points, want):
    batches = [b for by_first in points.values() for b in by_first.values()]
    busy = sum(1 for b in batches for n in b['in_flight'] if n)
    effects = sum(b['at'].count('e') for b in batches)
    most = max((n for b in batches for n in b['in_flight']), default=0)
    print(f'kills: {count(points)} points of {len(points)} seeds, {effects} of them at effects, '
          f'{busy} with requests in flight, {most} at most')
    if count(points) >= want:
        return 0
    print(f'kills: at least {want} points wanted')
    return 1


def main():
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), '../..'))
    p = argparse.ArgumentParser()
    p.add_argument('build')
    p.add_argument('record')
    p.add_argument('--points', type=int, default=10**5)
    p.add_argument('--jobs', type=int, default=2)
    p.add_argument('--check', action='store_true')
    a = p.parse_args()
    mark, seed, good, stop = record.mark(), 1, True, threading.Event()
    while not a.check and good:
        points = held(a.record, mark)
        if count(points) >= a.points:
            break
        seeds = range(seed, seed + a.jobs)
        with concurrent.futures.ThreadPoolExecutor(a.jobs) as pool:
            good = all(pool.map(lambda s: run_seed(a.build, a.record, mark, s, points[s], stop),
                                seeds))
        seed += a.jobs
    return judge(held(a.record, mark), a.points) if good else 1


sys.exit(main())
