#!/usr/bin/env python3
"""Replacements and deaths in numbers, on the soft back end.

usage: servicing.py BUILD-A BUILD-B RECORD [--upgrades N] [--kills N] [--standby N] [--seconds S]

Rounds of four scenarios, each with a VM of its own and a load of --seconds:
  wide     replacements by the other build, 64 rings with 2,048 requests outstanding; each
           is followed by a round of the floor (tests/bench/floor.c)
  upgrade  replacements by the other build under verified reads and writes, 16 rings
  kill     SIGKILL of the owner with requests in flight, 4 rings, verified
  standby  the same with a follower that waits
A round holds when the guest was content (nothing lost, doubled, torn or late), its disk is
what it wrote, every replacement and death was followed by somebody who served, and nothing
was quarantined. It is one line of the record then, with its gaps as {us: times}, in two
digits; a run that was interrupted goes on where it stopped, for the same commit. wide and
upgrade share --upgrades by halves."""
import argparse
import collections
import os
import random
import subprocess
import sys
import tempfile
import time

import record

sys.path.insert(0, os.path.join(record.HERE, '..', 'bench'))
import window                                        # noqa: E402
from figures import Watchdog                         # noqa: E402
from machine import Failed, Machine, make_disk, run  # noqa: E402

EACH = 32            # custody keeps 64 gaps: they are fetched before they are written over
AT_END = 3           # seconds of load that are left alone
REASON = {'wide': 'planned', 'upgrade': 'planned', 'kill': 'death', 'standby': 'death'}


class Bench:
    """What window.loaded() asks of its caller."""

    def __init__(self, a, b, work):
        self.a, self.b = os.path.join(a, 'holdfast'), os.path.join(b, 'holdfast')
        self.softload, self.softchk = (os.path.join(a, 'tests/soft', x)
                                       for x in ('softload', 'softchk'))
        self.tools, self.work = os.path.join(a, 'tests/bench'), work


def verified(bench, seconds, channels, standby):
    """A VM whose guest checks what it reads, and a disk that can be checked behind it."""
    disk = os.path.join(bench.work, 'verified')
    if not os.path.exists(disk):
        make_disk(disk, 64)
    vm = Machine(bench.a, bench.softload, disk,
                 f'load seconds={seconds} depth=32 channels={channels} mix=rw verify '
                 f'region={32 << 20}', channels, '256M')
    if standby:
        vm.command.append('--standby')
    return vm


def replace(bench, vm, i):
    window.replace(bench, vm, bench.a if i % 2 else bench.b)
    time.sleep(.01)


def kill(bench, vm, pause):
    """One SIGKILL with requests in flight."""
    for _ in range(100):
        text = run(bench.a, 'kill', '--state', vm.state, '--inflight', check=False)
        if text.startswith('killed'):
            time.sleep(pause)
            return
        time.sleep(.01)
    raise Failed('no request was ever in flight')


def act(bench, vm, kind, most, end, dice):
    """As many as fit before @end, @most at most: their gaps, and how many there were."""
    gaps, seen, n = [], 1, 0
    floor = None
    if kind == 'wide':
        floor = window.Floor(os.path.join(bench.tools, 'floor'), vm.descriptors(),
                             window.state_bytes(vm.inspect()))
    while n < most and time.monotonic() < end:
        if REASON[kind] == 'planned':
            replace(bench, vm, n)
        else:
            kill(bench, vm, .03 if kind == 'standby' else dice.uniform(.005, .03))
        if floor:
            floor.measure()
        n += 1
        if n % EACH == 0:
            seen = window.collect_gaps(vm, REASON[kind], gaps, seen)
    if floor:
        floor.end()
    vm.wait_serving()
    window.collect_gaps(vm, REASON[kind], gaps, seen)
    return gaps, n, floor.ms if floor else []


def checked(bench, vm, kind, n, gaps, tree):
    """Raises unless everything that was done left its trace, and nothing else did."""
    own = tree['ownership']
    deaths = REASON[kind] == 'death'
    done = own['kills'] if deaths else tree['servicing']['0']['planned']
    # Who is killed before it looked at a ring has no gap of its own.
    least = n * 9 // 10 if deaths else n
    wrong = [f'{name} is {is_}, not {want}' for name, is_, want in (
        ('their number in custody', done, n),
        ('gaps seen', len(gaps), min(max(len(gaps), least), n)),
        ('faults', own['faults'], 0), ('quarantines', own['quarantines'], 0),
        ('vp_stopped', own['vp_stopped'], 0)) if is_ != want]
    if wrong:
        raise Failed(f'{kind}: ' + '; '.join(wrong))
    report = vm.report(90)
    if kind != 'wide':
        done = subprocess.run([bench.softchk, vm.disk, vm.report_path], capture_output=True,
                              text=True, check=False)
        if done.returncode:
            raise Failed(f'{kind}: the disk differs from what the guest wrote: {done.stderr}')
    return report


def two_digits(us):
    scale = 10 ** max(0, len(str(int(us))) - 2)
    return int(us / scale) * scale


def histogram(ms):
    count = collections.Counter(two_digits(x * 1000) for x in ms)
    return {str(us): count[us] for us in sorted(count)}


def one_round(bench, kind, most, seconds, seed):
    dice, start = random.Random(seed), time.monotonic()
    vm = (window.loaded(bench, seconds) if kind == 'wide' else
          verified(bench, seconds, 16 if kind == 'upgrade' else 4, kind == 'standby'))
    with vm:
        vm.wait_serving()
        time.sleep(1)
        watchdog = Watchdog()
        gaps, n, floor = act(bench, vm, kind, most, start + seconds - AT_END, dice)
        steal = watchdog.end()
        report = checked(bench, vm, kind, n, gaps, vm.inspect())
    inflight = [int(g['inflight']) for g in gaps]
    row = {'scenario': kind, 'seed': seed, 'n': n, 'seconds': round(time.monotonic() - start),
           'requests': report['ops'], 'verified': report['verified'],
           'inflight_min': min(inflight), 'inflight_max': max(inflight),
           'steal_pct': round(steal, 1), 'late_ms_max': round(max(watchdog.late_ms), 1),
           'gap_us': histogram(window.milliseconds(gaps))}
    if floor:
        row['floor_us'] = histogram(floor)
    return row


def quantile(counts, part):
    left = int(sum(counts.values()) * part)
    for us in sorted(counts):
        left -= counts[us]
        if left < 0:
            return us / 1000
    return max(counts) / 1000


def tell(rows):
    for kind in REASON:
        some = [r for r in rows if r['scenario'] == kind]
        for what, key in (('gap_ms', 'gap_us'), ('floor_ms', 'floor_us')):
            total = collections.Counter()
            for r in some:
                total.update({int(us): times for us, times in r.get(key, {}).items()})
            if total:
                print(f'{kind:8} n={sum(total.values()):6} {what} p50={quantile(total, .5):.2f} '
                      f'p99={quantile(total, .99):.2f} max={max(total) / 1000:.1f}; '
                      f'{sum(r["requests"] for r in some)} requests, '
                      f'{sum(r["verified"] for r in some)} blocks verified')


def main():
    p = argparse.ArgumentParser()
    p.add_argument('build_a')
    p.add_argument('build_b')
    p.add_argument('record')
    p.add_argument('--upgrades', type=int, default=10000)
    p.add_argument('--kills', type=int, default=100000)
    p.add_argument('--standby', type=int, default=10000)
    p.add_argument('--seconds', type=int, default=60)
    a = p.parse_args()
    want = {'wide': a.upgrades // 2, 'upgrade': a.upgrades - a.upgrades // 2,
            'kill': a.kills, 'standby': a.standby}
    mark = record.mark()
    rows = record.rows(a.record, mark)
    done = collections.Counter()
    for r in rows:
        done[r['scenario']] += r['n']
    with tempfile.TemporaryDirectory() as work:
        bench = Bench(os.path.abspath(a.build_a), os.path.abspath(a.build_b), work)
        while any(done[k] < want[k] for k in want):
            for kind in (k for k in want if done[k] < want[k]):
                try:
                    row = one_round(bench, kind, want[kind] - done[kind], a.seconds, len(rows))
                except Failed as why:
                    print(f'servicing: {kind}, seed {len(rows)}: {why}')
                    return 1
                record.add(a.record, mark, row)
                rows.append(row)
                done[kind] += row['n']
    tell(rows)
    return 0


if __name__ == '__main__':
    sys.exit(main())
