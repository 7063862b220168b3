#!/usr/bin/env python3
"""make bench: prints a table and writes OUT.json.

Whatever is compared is measured in turns (A B, B A, ...) on the same file in
the same run, and a ratio is the median of the pairs' ratios, so that a machine
that is shared slows both. A part that fails is named below the table and the
exit status is 1; the figures of the others stand.

usage: bench.py BUILD-A BUILD-B OUT.json"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

import window
from figures import Figures, Watchdog, median
from machine import Failed, Machine, fio, make_disk, run

DISK_MIB = 1024
FAST_DISK_MIB = 256
PAIRS = 4
SECONDS = 6
SHORT = 4
KILLS = 5       # of one VM
KILL_RUNS = 4
BOOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../bed/boot.sh')
BED_SECONDS = 300   # the kernel and the emulator may have to be fetched first
FOUR_RINGS = 'bench depth=32 channels=4 mix=read'


class Bench:
    def __init__(self, build_a, build_b, work):
        self.build_a = build_a
        self.a = os.path.join(build_a, 'holdfast')
        self.b = os.path.join(build_b, 'holdfast')
        self.softload = os.path.join(build_a, 'tests/soft/softload')
        self.tools = os.path.join(build_a, 'tests/bench')
        self.work = work
        self.disk = os.path.join(work, 'disk')
        self.figures = Figures()
        self.nolog = self.beside_partition('holdfast-nolog')
        self.recording = None

    def beside_partition(self, name):
        """`run` starts the partition that lies beside it."""
        folder = os.path.join(self.work, name)
        os.mkdir(folder)
        program = os.path.join(folder, 'holdfast')
        shutil.copy2(os.path.join(self.tools, name), program)
        shutil.copy2(os.path.join(self.build_a, 'holdfast-partition'), folder)
        return program

    def guest(self, cmdline, holdfast=None, disk=None, vps=1):
        return Machine(holdfast or self.a, self.softload, disk or self.disk, cmdline, vps)

    def load(self, cmdline, holdfast=None, disk=None):
        with self.guest(f'bench seconds={SECONDS} {cmdline}', holdfast, disk) as vm:
            return vm.report(SECONDS + 60)

    def tool(self, name, *arguments):
        """Lines of JSON of a C benchmark, by their names."""
        text = run(os.path.join(self.tools, name), *map(str, arguments), seconds=60)
        return {line['name']: line for line in map(json.loads, text.splitlines())}

    # ---- engine and log -----------------------------------------------------------

    def log(self):
        for name, ring in (('log.ns_per_record', 2 << 20), ('log.ns_per_record.ring', 32 << 20)):
            line = self.tool('logcost', ring, 128, 1, 3)[name[:17]]
            self.figures.add(name, 'ns', n=line['n'], p50=line['p50'], p99=line['p99'],
                             max=line['max'], value=line['p50'],
                             against=f'append+commit, 128 bytes of payload, ring of {ring >> 20} '
                                     'MiB, blocks of 1024; limit 30')

    def record(self):
        """A stretch of a real log, taken while the guest reads and writes."""
        path = os.path.join(self.work, 'recording')
        with self.guest('bench seconds=30 depth=32 channels=2 mix=rw') as vm:
            vm.wait_serving()
            end = time.monotonic() + 25
            while True:
                time.sleep(1)
                if int(vm.inspect()['stats']['checkpoints']) >= 3:
                    break
                if time.monotonic() > end:
                    raise Failed('three checkpoints were not made in 25 s')
            run(os.path.join(self.tools, 'turns'), 'take', vm.state, path)
        self.recording = path

    def engine(self):
        self.record()
        line = self.tool('turns', 'step', self.recording, 4)
        ns, shape = line['step'], line['recording']
        self.figures.add('engine.turns_per_s', 'turns/s', n=ns['n'], p50=1e9 / ns['p50'],
                         p99=1e9 / ns['p99'], max=1e9 / ns['max'], value=1e9 / ns['value'],
                         against=f'world_turn over {shape["turns"]} recorded turns, batches of '
                                 f'{shape["turns"] / shape["batches"]:.1f}; p99 and max: slowest '
                                 'batches')
        with_log, without = [], []
        for i in range(PAIRS):
            order = (('turns', with_log), ('turns-nolog', without))
            for name, to in order if i % 2 else order[::-1]:
                to.append(self.tool(name, 'lane', self.recording, 2))
        self.stall([x['stall'] for x in with_log], [x['stall'] for x in without])
        lines = [x['lane']['p50'] for x in with_log]
        bare = [x['lane']['p50'] for x in without]
        per_turn = shape['records'] / shape['turns']
        mean_record = shape['bytes'] / shape['records']
        self.figures.samples('engine.lane_ns_per_turn', 'ns', lines, ratio=median(
            [a / b for a, b in zip(lines, bare)]), against='the same without a log')
        self.figures.samples('log.ns_per_record.lane', 'ns',
                             [(a - b) / per_turn for a, b in zip(lines, bare)],
                             against=f'in the pipeline, {mean_record:.0f} bytes a record on '
                                     'average')

    def stall(self, logged, bare):
        """How long a batch can take: checkpoints are packed by the lane itself."""
        def part(rows, key):
            return median([r[key] for r in rows])
        self.figures.add('log.stall_us', 'us', n=sum(r['n'] for r in logged),
                         p50=part(logged, 'p50'), p99=part(logged, 'p99'),
                         max=max(r['max'] for r in logged), value=part(logged, 'value'),
                         ratio=part(logged, 'value') / part(bare, 'value'),
                         against=f'a batch of the pipeline, with the checkpoints it packs; value: '
                                 f'p99.99; without a log p99.99 {part(bare, "value"):.1f}, max '
                                 f'{max(r["max"] for r in bare):.1f}; an archiver only reads')

    def cost(self, holdfast, disk):
        """IOPS, and CPU time of the paravisor a turn: the second is not disturbed
        by who else uses the machine."""
        with self.guest(f'bench seconds={SHORT} depth=32 channels=1 mix=read', holdfast,
                        disk) as vm:
            vm.wait_serving()
            time.sleep(.5)
            before = vm.spent()
            time.sleep(SHORT - 1.5)
            after = vm.spent()
            iops = vm.report(60)['iops']
        return iops, (after[0] - before[0]) / max(1, after[1] - before[1])

    def overhead(self):
        """What logging takes where the disk is fastest: a file in memory."""
        folder = '/dev/shm' if os.access('/dev/shm', os.W_OK) else self.work
        lost, cpu, logged = [], [], []
        with tempfile.NamedTemporaryFile(prefix='hfbench', dir=folder) as fast:
            make_disk(fast.name, FAST_DISK_MIB)
            for i in range(3 * PAIRS):
                order = (self.a, self.nolog)
                got = {h: self.cost(h, fast.name) for h in (order if i % 2 else order[::-1])}
                lost.append(100. * (1. - got[self.a][0] / got[self.nolog][0]))
                cpu.append(100. * (got[self.a][1] / got[self.nolog][1] - 1.))
                logged.append(got[self.a][0])
        where = f'append that keeps nothing; disk in {folder}'
        self.figures.samples('log.iops_overhead_pct', '%', lost, against=f'{where}, '
                             f'{median(logged):.0f} IOPS with the log; limit 5')
        self.figures.samples('log.cpu_overhead_pct', '%', cpu,
                             against=f'{where}; CPU time of the paravisor a turn')

    # ---- storage --------------------------------------------------------------------

    def storage_pair(self, mix, depth):
        """PAIRS runs of each; reports and fio's."""
        rw = 'randread' if mix == 'read' else 'randwrite'
        ours, theirs = [], []
        for i in range(PAIRS):
            steps = [lambda: ours.append(self.load(f'depth={depth} channels=1 mix={mix}')),
                     lambda: theirs.append(fio(self.disk, rw, depth, SECONDS))]
            for step in steps if i % 2 else steps[::-1]:
                step()
        return ours, theirs

    def latency(self, name, ours, theirs):
        def part(rows, key):
            return [r['latency_us'][key] for r in rows]
        self.figures.add(name, 'us', n=sum(r['ops'] for r in ours), p50=median(part(ours, 'p50')),
                         p99=median(part(ours, 'p99')), max=max(part(ours, 'max')),
                         value=median(part(ours, 'p50')),
                         ratio=median([a / b for a, b in zip(part(ours, 'p50'),
                                                             part(theirs, 'p50'))]),
                         against=f'fio: p50 {median(part(theirs, "p50")):.1f}, p99 '
                                 f'{median(part(theirs, "p99")):.1f}, max '
                                 f'{max(part(theirs, "max")):.0f} us')

    def storage(self):
        for mix in ('read', 'write'):
            ours, theirs = self.storage_pair(mix, 32)
            iops, base = [r['iops'] for r in ours], [r['iops'] for r in theirs]
            self.figures.samples(f'storage.file.{mix}4k', 'iops', iops, ratio=median(
                [a / b for a, b in zip(iops, base)]),
                against=f'fio io_uring O_DIRECT, same file: {median(base):.0f}')
            self.latency(f'storage.file.{mix}4k.depth32_us', ours, theirs)
        ours, theirs = self.storage_pair('read', 1)
        self.latency('storage.file.read4k.depth1_us', ours, theirs)

    # ---- servicing --------------------------------------------------------------------

    def kill_once(self, vm):
        """One SIGKILL with requests in flight; when it was sent."""
        before = int(vm.listed()['epoch'])
        for _ in range(200):
            text = run(self.a, 'kill', '--state', vm.state, '--inflight', check=False)
            if text.startswith('killed'):
                vm.wait_serving(before)
                return int(vm.inspect()['ownership']['death_ns'])
            time.sleep(.01)
        raise Failed('no request was ever in flight')

    @staticmethod
    def recovered(report, deaths):
        """ms from each SIGKILL to the next completion. The guest keeps its longest
        gaps, so a run has few kills."""
        found = []
        for at in deaths:
            found += [(g['end_ns'] - at) / 1e6 for g in report['gaps']
                      if g['end_ns'] - g['us'] * 1000 <= at < g['end_ns']]
        return found

    def kills(self):
        """One VM: the tree of `inspect` at its end, and its recoveries."""
        with self.guest(f'{FOUR_RINGS} seconds=8', vps=2) as vm:
            vm.wait_serving()
            time.sleep(1)
            deaths = []
            for _ in range(KILLS):
                deaths.append(self.kill_once(vm))
                time.sleep(.2)
            return vm.inspect(), self.recovered(vm.report(60), deaths)

    def servicing(self):
        rows, recovered = [], []
        watchdog = Watchdog()
        for _ in range(KILL_RUNS):
            tree, found = self.kills()
            rows += window.new_gaps(tree, 'death', 0)
            recovered += found
        self.figures.samples('servicing.cold.gap_ms', 'ms', window.milliseconds(rows),
                             against=f'SIGKILL to the first look at the rings, 4 rings, '
                                     f'{window.in_flight(rows)}; {watchdog.summary()}')
        self.figures.samples('recovery.kill_ms', 'ms', recovered,
                             against=f'SIGKILL to the next completion, depth 32 on 4 rings, '
                                     f'{KILLS * KILL_RUNS} kills')
        window.loaded_kills(self)
        window.warm(self)
        window.rollbacks(self)
        window.standby(self)

    def ram(self):
        window.ram(self)
        window.warm_ram(self)

    # ---- replay, fuzzing, simulation --------------------------------------------------

    def replay(self):
        """One core runs a guest's log again."""
        with self.guest('bench seconds=8 depth=32 channels=2 mix=rw') as vm:
            vm.wait_serving()
            with subprocess.Popen([self.a, 'archive', '--state', vm.state],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as archive:
                vm.report(60)
                archive.wait(60)
            rates = []
            for _ in range(3):
                text = run(self.a, 'replay', '--state', vm.state, '--verify', seconds=120)
                events, rate = re.search(r'events=(\d+) .*rate=(\d+)/s', text).groups()
                rates.append(float(rate))
            seek = json.loads(run(self.a, 'replay', '--state', vm.state, '--seek-bench', '200',
                                  seconds=120).splitlines()[-1])
        self.figures.add('replay.events_per_s', 'events/s', n=int(events), p50=median(rates),
                         max=max(rates), value=median(rates),
                         against='replay --verify of a loaded guest\'s archive: read, stepped, '
                                 'effects compared, states compared; limit 2 million')
        self.figures.add('replay.seek_ms', 'ms', n=seek['n'], p50=seek['p50'], p99=seek['p99'],
                         max=seek['max'], value=seek['p50'],
                         against=f'any of {events} events behind the index; limit 50')

    def fuzz(self, name, build, what):
        text = run(os.path.join(build, 'fuzz/fuzz_machine'), 'seconds=4', 'runs=100000000',
                   seconds=60)
        words = dict(re.findall(r'(\w+)=(\d+)', text))
        self.figures.add(name, 'transitions/s', n=int(words['transitions']),
                         value=float(words['per_second']), against=what)

    def explore(self):
        self.fuzz('fuzz.transitions_per_s', self.build_a, 'fuzz_machine, one core')
        sanitized = os.path.join(os.path.dirname(self.build_a), 'asan')
        if os.path.exists(os.path.join(sanitized, 'fuzz/fuzz_machine')):
            self.fuzz('fuzz.transitions_per_s.sanitized', sanitized,
                      'the same by clang with AddressSanitizer and UBSan')
        else:
            self.figures.absent('fuzz.transitions_per_s.sanitized', 'transitions/s',
                                'there is no build with sanitizers')
        self.figures.absent('sim.events_per_s.sanitized', 'events/s',
                            'fibers and the allocator of sanitizers disagree: sim has none')
        self.simulate()

    def simulate(self):
        """Virtual time ends with the guest; what a run takes is all of its process."""
        text = run(self.a, 'sim', '--seed', '1', '--seeds', '4', seconds=120)
        self.figures.samples('sim.events_per_s', 'events/s', numbers('rate', text),
                             against='holdfast sim, seeds 1 to 4, all faults')
        self.figures.samples('sim.speedup.dense', 'x', numbers('speedup', text),
                             against='the same runs: the guest makes 100,000 events in 1 to 6 '
                                     'virtual seconds, as fast as its processors go')
        text = run(self.a, 'sim', '--seed', '1', '--seeds', '4', '--disk-ms', '10', seconds=240)
        rates = ' to '.join(f'{x:.0f}' for x in sorted(numbers('per_s', text))[::3])
        self.figures.samples('sim.speedup', 'x', numbers('speedup', text),
                             against='virtual time of a loaded guest by processor time; loaded: '
                                     '4 requests of 4 KiB in flight, reads verified, on a disk '
                                     'that does one after the other in 10 ms; seeds 1 to 4, all '
                                     f'faults, {rates} events a virtual second')

    def boot(self):
        """Figures of the nested bed, or why there are none."""
        out = os.path.join(self.work, 'bed')
        found, why = {}, ''
        os.mkdir(out)
        try:
            run(BOOT, self.build_a, out, seconds=BED_SECONDS)
            with open(os.path.join(out, 'boot.json'), encoding='utf-8') as f:
                found = json.load(f)
        except Failed as e:
            why = str(e)
        for name, unit, what in (
                ('boot.exits', 'exits', 'that reach the partition'),
                ('boot.to_sda_ms', 'ms', 'from `holdfast run` to the guest that has its disks; '
                                         'the time is the emulator\'s')):
            if name in found:
                self.figures.add(name, unit, n=1, value=float(found[name]),
                                 against=f'stock guest, 2 processors, nested bed; {what}')
            else:
                self.figures.absent(name, unit, why)

    # ---- sizes --------------------------------------------------------------------------

    def memory(self):
        window.memory(self, private_kib)

    def sizes(self):
        for name, program in (('holdfast', 'size.holdfast_kib'),
                              ('holdfast-partition', 'size.partition_kib')):
            stripped = os.path.join(self.work, 'stripped')
            run('strip', '-o', stripped, os.path.join(self.build_a, name))
            self.figures.add(program, 'KiB', value=os.path.getsize(stripped) / 1024,
                             against='stripped, linked dynamically')


def numbers(word, text):
    """Of each run of `holdfast sim`."""
    return [float(x) for x in re.findall(rf'\b{word}=([\d.]+)', text)]


def private_kib(pid):
    """Anonymous memory and private pages of files; custody, guest RAM and rings
    are shared mappings and counted once elsewhere."""
    total, shared = 0, False
    with open(f'/proc/{pid}/smaps', encoding='ascii', errors='replace') as f:
        for line in f:
            head = re.match(r'[0-9a-f]+-[0-9a-f]+ (\S+)', line)
            if head:
                shared = head.group(1).endswith('s')
            elif not shared and line.startswith(('Private_Clean:', 'Private_Dirty:')):
                total += int(line.split()[1])
    return total


def main():
    build_a, build_b, out = sys.argv[1:]
    only = re.compile(os.environ.get('HOLDFAST_BENCH_ONLY', '.'))
    work = tempfile.mkdtemp(prefix='bench-work', dir=os.path.dirname(os.path.abspath(out)))
    failures = []
    begin = time.monotonic()
    watchdog = Watchdog()
    try:
        bench = Bench(os.path.abspath(build_a), os.path.abspath(build_b), work)
        make_disk(bench.disk, DISK_MIB)
        for part in ('log', 'sizes', 'memory', 'boot', 'explore', 'engine', 'replay', 'overhead',
                     'servicing', 'ram', 'storage'):
            if not only.search(part):
                continue
            print(f'{part}:', flush=True)
            try:
                getattr(bench, part)()
            except Failed as e:
                failures.append(f'{part}: {e}')
                print(f'  FAILED: {e}', flush=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    watchdog.report(bench.figures)
    bench.figures.save(out)
    bench.figures.table([
        f'{time.monotonic() - begin:.0f} s; disk: a file of {DISK_MIB} MiB, O_DIRECT, '
        'uniformly random blocks',
        *(f'FAILED {f}' for f in failures)])
    return 1 if failures else 0


if __name__ == '__main__':
    sys.exit(main())
