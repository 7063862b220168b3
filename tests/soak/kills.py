#!/usr/bin/env python3
"""SIGKILL of the owner at every turn boundary and in, before and behind every
effect of the fixed scenario (`holdfast sim --kill-points`, docs/TESTING.md), seed
after seed. Each point that held is one line of the record file, so that a run
that was interrupted goes on where it stopped.

usage: kills.py BUILD RECORD [--points TOTAL] [--jobs N] [--check]

At the end the record must hold so many points for this commit, each with what it
was: seed, point, of how many, at a turn or an effect, event, requests in flight.
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

BATCH = 500
LOCK = threading.Lock()


def commit():
    return subprocess.run(['tests/soak/mark.sh'], capture_output=True, text=True,
                          check=True).stdout.strip()


def held(path, mark):
    """Points of this commit, by seed."""
    points = collections.defaultdict(dict)
    if os.path.exists(path):
        with open(path, encoding='ascii') as f:
            for row in (json.loads(x) for x in f if x.strip()):
                if row['commit'] == mark:
                    points[row['seed']][row['point']] = row
    return points


def run_batch(build, seed, first):
    """Its lines, and whether it held; a point that did not is not among them."""
    with tempfile.NamedTemporaryFile('r') as out:
        done = subprocess.run([os.path.join(build, 'holdfast'), 'sim', '--seed', str(seed),
                               '--kill-points', str(BATCH), '--kill-from', str(first),
                               '--record', out.name], capture_output=True, text=True, check=False)
        rows = [json.loads(x) for x in out.read().splitlines()]
    if done.returncode:
        with LOCK:
            print(done.stdout.strip())
            print('\n'.join(done.stderr.splitlines()[-20:]))
    return [r for r in rows if r['ok']], done.returncode == 0


def run_seed(build, record, mark, seed, before, stop):
    """The rest of a seed's points. True: all of them held."""
    first = max(before, default=0) + 1
    while not stop.is_set():
        rows, good = run_batch(build, seed, first)
        with LOCK, open(record, 'a', encoding='ascii') as f:
            for row in rows:
                f.write(json.dumps({'commit': mark, **row}) + '\n')
        if not good:
            stop.set()
            return False
        if len(rows) < BATCH:
            return True
        first += BATCH
    return True


def judge(points, want):
    rows = [r for by_point in points.values() for r in by_point.values()]
    busy = sum(1 for r in rows if r['in_flight'])
    effects = sum(1 for r in rows if r['at'] == 'effect')
    print(f'kills: {len(rows)} points of {len(points)} seeds, {effects} of them at effects, {busy} '
          f'with requests in flight, {max((r["in_flight"] for r in rows), default=0)} at most')
    if len(rows) >= want:
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
    mark, seed, good, stop = commit(), 1, True, threading.Event()
    while not a.check and good:
        points = held(a.record, mark)
        if sum(len(x) for x in points.values()) >= a.points:
            break
        seeds = range(seed, seed + a.jobs)
        with concurrent.futures.ThreadPoolExecutor(a.jobs) as pool:
            good = all(pool.map(lambda s: run_seed(a.build, a.record, mark, s, points[s], stop),
                                seeds))
        seed += a.jobs
    return judge(held(a.record, mark), a.points) if good else 1


sys.exit(main())
