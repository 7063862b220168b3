"""The windows in which nobody serves: replacements, rollbacks, deaths.

`loaded` is the largest machine of the soft back end: 64 rings (4 controllers of
16 channels, 16 processors) on 4 disks, with more requests outstanding than the
server takes at once. Replacements alternate builds a and b, and a round of the
floor (floor.c: a bare hand-over of as many descriptors and bytes) follows each."""
import glob
import os
import subprocess
import tempfile
import time

from figures import Watchdog, median, quantile
from machine import Failed, Machine, make_disk, run

EXPECTED = 'scsi.GUEST_WRITE.tail'
CONTROLLERS = 4
CHANNELS = 16
WARM = int(os.environ.get('HOLDFAST_BENCH_REPLACEMENTS', '1000'))
ROLLBACKS = max(20, WARM // 10)
STANDBY_KILLS = max(10, WARM // 50)
KILLS = 5           # of one VM: the guest keeps its longest gaps
LOADED_RUNS = 4
RAM_KILLS = 5
RAM_REPLACEMENTS = 60
HUGE_MIB = 2
SMALL_DISK_MIB = 64


class Floor:
    """floor.c as a process of its own, warm as long as it lives."""

    def __init__(self, program, descriptors, size):
        self.process = subprocess.Popen([program, str(descriptors), str(size)], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(20):
            self.round()
        self.ms = []

    def round(self):
        self.process.stdin.write('\n')
        self.process.stdin.flush()
        return int(self.process.stdout.readline()) / 1e6

    def measure(self):
        self.ms.append(self.round())

    def end(self):
        self.process.stdin.close()
        self.process.wait(10)


def loaded(bench, seconds, depth=32):
    """The machine; its disks are made on first use."""
    disks = [os.path.join(bench.work, f'loaded.{i}') for i in range(CONTROLLERS)]
    for disk in disks:
        if not os.path.exists(disk):
            make_disk(disk, SMALL_DISK_MIB)
    vm = Machine(bench.a, bench.softload, disks[0],
                 f'bench seconds={seconds} depth={depth} channels={CHANNELS} '
                 f'controllers={CONTROLLERS} mix=read ring=64K', 16, '256M')
    for i, disk in enumerate(disks[1:], 1):
        vm.command += ['--disk', f'{disk},controller={i}']
    return vm


def state_bytes(tree):
    return max(int(c['bytes']) for c in tree['checkpoints'].values())


def new_gaps(tree, reason, after):
    """Rows of gaps with @reason and an epoch above @after; custody keeps 64."""
    return [g for g in tree['gaps'].values()
            if g['reason'] == reason and int(g['epoch']) > after]


def milliseconds(rows):
    return [int(g['gap_ns']) / 1e6 for g in rows]


def in_flight(rows):
    numbers = [int(g['inflight']) for g in rows]
    return f'in flight on the disks {min(numbers, default=0)} to {max(numbers, default=0)}'


def replace(bench, vm, to):
    run(bench.a, 'service', '--state', vm.state, '--to', to, '--expect-difference', EXPECTED)


def collect_gaps(vm, reason, found, seen):
    rows = new_gaps(vm.inspect(), reason, seen)
    found += rows
    return max([seen] + [int(g['epoch']) for g in rows])


def warm(bench):
    """Replacements and the floor by turns, on one machine."""
    gaps, seen, watchdog = [], 1, Watchdog()
    seconds = 20 + WARM // 20
    end = time.monotonic() + seconds - 4
    with loaded(bench, seconds) as vm:
        vm.wait_serving()
        time.sleep(4)
        tree = vm.inspect()
        size, rows = state_bytes(tree), vm.descriptors()
        floor = Floor(os.path.join(bench.tools, 'floor'), rows, size)
        for i in range(WARM):
            if time.monotonic() > end:
                break
            replace(bench, vm, bench.a if i % 2 else bench.b)
            floor.measure()
            if i % 32 == 31:
                seen = collect_gaps(vm, 'planned', gaps, seen)
            time.sleep(.01)
        collect_gaps(vm, 'planned', gaps, seen)
        floor.end()
        vm.report(seconds)
    host = watchdog.summary()
    ms = milliseconds(gaps)
    bench.figures.samples('servicing.floor_ms', 'ms', floor.ms,
                          against=f'{rows} descriptors, {size} bytes between two processes')
    bench.figures.samples(
        'servicing.warm.gap_ms', 'ms', ms, ratio=quantile(ms, .99) / quantile(floor.ms, .99),
        against=f'ratio: of p99 to the floor\'s; 64 rings, 2,048 requests outstanding, '
                f'{in_flight(gaps)}; state {size} bytes packed; {host}')


def rollbacks(bench):
    gaps, seen = [], 1
    seconds = 10 + ROLLBACKS // 8
    end = time.monotonic() + seconds - 4
    with loaded(bench, seconds) as vm:
        vm.wait_serving()
        time.sleep(2)
        for i in range(ROLLBACKS):
            if time.monotonic() > end:
                break
            replace(bench, vm, bench.b)
            run(bench.a, 'rollback', '--state', vm.state)
            if i % 16 == 15:
                seen = collect_gaps(vm, 'rollback', gaps, seen)
        collect_gaps(vm, 'rollback', gaps, seen)
        vm.report(seconds)
    bench.figures.samples('servicing.rollback_ms', 'ms', milliseconds(gaps),
                          against=f'from the owner\'s stop; 64 rings, {in_flight(gaps)}')


def standby(bench):
    if '--standby' not in run(bench.a, 'run', '--help', check=False):
        bench.figures.absent('standby.kill_ms', 'ms', '`run --standby` is not in this build')
        return
    gaps, seen, watchdog = [], 1, Watchdog()
    seconds = 8 + STANDBY_KILLS
    end = time.monotonic() + seconds - 4
    vm = loaded(bench, seconds)
    vm.command.append('--standby')
    with vm:
        vm.wait_serving()
        time.sleep(2)
        for i in range(STANDBY_KILLS):
            if time.monotonic() > end:
                break
            bench.kill_once(vm)
            time.sleep(.3)
            if i % 32 == 31:
                seen = collect_gaps(vm, 'death', gaps, seen)
        collect_gaps(vm, 'death', gaps, seen)
        vm.report(seconds)
    bench.figures.samples('standby.kill_ms', 'ms', milliseconds(gaps),
                          against=f'SIGKILL to the first look at the rings; 64 rings, '
                                  f'{in_flight(gaps)}; {watchdog.summary()}')


def killed(bench, vm, kills, before=None):
    """The rows of gaps, and ms from each SIGKILL to the next completion."""
    with vm:
        vm.wait_serving()
        if before:
            before(vm)
        time.sleep(1.5)
        deaths = []
        for _ in range(kills):
            deaths.append(bench.kill_once(vm))
            time.sleep(.3)
        rows = new_gaps(vm.inspect(), 'death', 0)
        return rows, bench.recovered(vm.report(90), deaths)


def loaded_kills(bench):
    rows, found, watchdog = [], [], Watchdog()
    for _ in range(LOADED_RUNS):
        some, ms = killed(bench, loaded(bench, 7), KILLS)
        rows += some
        found += ms
    bench.figures.samples('recovery.kill.loaded_ms', 'ms', found,
                          against=f'SIGKILL to the next completion; 64 rings, {in_flight(rows)}; '
                                  f'{watchdog.summary()}')


# ---- guest memory -------------------------------------------------------------------

def touch(vm):
    """Every page of guest RAM is there, whoever touched it."""
    for path in glob.glob(f'/proc/{vm.partition_pid()}/fd/*'):
        try:
            if 'holdfast-ram' in os.readlink(path):
                fd = os.open(path, os.O_RDWR)
                os.posix_fallocate(fd, 0, os.fstat(fd).st_size)
                os.close(fd)
                return
        except FileNotFoundError:
            continue
    raise Failed('guest RAM is not among the descriptors of the partition')


def ram_kills(bench, memory, huge):
    cmdline = f'bench depth=32 channels=4 mix=read seconds={RAM_KILLS // 2 + 5}'
    vm = Machine(bench.a, bench.softload, bench.disk, cmdline, 2, memory)
    if huge:
        vm.command.append('--hugetlb')
    return killed(bench, vm, RAM_KILLS, touch)[1]


def with_huge_pages(mib, what):
    """Reserves huge pages while @what runs; None: this host has none to give."""
    path = '/proc/sys/vm/nr_hugepages'
    with open(path, encoding='ascii') as f:
        before = f.read()
    try:
        with open(path, 'w', encoding='ascii') as f:
            f.write(str(int(before) + mib // HUGE_MIB))
        with open(path, encoding='ascii') as f:
            if int(f.read()) < int(before) + mib // HUGE_MIB:
                return None
        return what()
    except PermissionError:
        return None
    finally:
        try:
            with open(path, 'w', encoding='ascii') as f:
                f.write(before)
        except PermissionError:
            pass


def ram(bench):
    found = with_huge_pages(1100, lambda: ram_kills(bench, '1G', True))
    if found:
        bench.figures.samples('recovery.kill.ram1g_ms', 'ms', found,
                              against='SIGKILL to the next completion; 1 GiB of hugetlb RAM')
    else:
        bench.figures.absent('recovery.kill.ram1g_ms', 'ms',
                             'no 1 GiB of huge pages could be reserved')
    small, large = [], []
    for i in range(2):
        for memory, to in (('256M', small), ('2G', large))[::-1 if i else 1]:
            to += ram_kills(bench, memory, False)
    bench.figures.add('recovery.kill.slope_ms_per_gib', 'ms/GiB', n=len(small) + len(large),
                      value=(median(large) - median(small)) / 1.75,
                      against=f'4 KiB pages: medians {median(small):.2f} ms at 256 MiB, '
                              f'{median(large):.2f} ms at 2 GiB')


def ram_replacements(bench, memory):
    """Gaps of replacements with all of @memory touched, in huge pages;
    touching takes up to two seconds for a GiB."""
    seconds, gaps, seen = RAM_REPLACEMENTS // 8 + 8 + 2 * int(memory[:-1]), [], 1
    end = time.monotonic() + seconds - 4
    vm = Machine(bench.a, bench.softload, bench.disk,
                 f'bench depth=32 channels=4 mix=read seconds={seconds}', 2, memory)
    vm.command.append('--hugetlb')
    with vm:
        vm.wait_serving()
        touch(vm)
        time.sleep(1.5)
        for i in range(RAM_REPLACEMENTS):
            if time.monotonic() > end:
                break
            replace(bench, vm, bench.a if i % 2 else bench.b)
            if i % 32 == 31:
                seen = collect_gaps(vm, 'planned', gaps, seen)
        collect_gaps(vm, 'planned', gaps, seen)
        vm.report(seconds)
    return milliseconds(gaps)


def warm_ram(bench):
    """1 GiB and 4 GiB, by turns."""
    name, small, large = 'servicing.warm.ram4g_ms', [], []

    def both():
        for i in range(2):
            for memory, to in (('1G', small), ('4G', large))[::-1 if i else 1]:
                to += ram_replacements(bench, memory)
        return True

    if with_huge_pages(4200, both):
        bench.figures.samples(name, 'ms', large, ratio=median(large) / median(small),
                              against=f'4 GiB of touched hugetlb RAM; ratio: of medians, to '
                                      f'1 GiB ({median(small):.2f} ms, {len(small)} replacements)')
    else:
        bench.figures.absent(name, 'ms', 'no 4 GiB of huge pages could be reserved')


# ---- memory ---------------------------------------------------------------------------

def memory(bench, private_kib):
    """Four disks and 64 channels; with a predecessor that follows, and after it."""
    def now(vm):
        return [private_kib(pid) for pid in vm.paravisors()]

    with loaded(bench, 9, 16) as vm:
        vm.wait_serving()
        time.sleep(3)
        first = now(vm)
        run(bench.a, 'service', '--state', vm.state, '--to', bench.b, '--expect-difference',
            EXPECTED, '--probation', '1')
        time.sleep(.5)
        both = now(vm)
        time.sleep(2)
        after = now(vm)
        vm.report(30)
    bench.figures.add('rss.paravisor_mib', 'MiB', value=max(first + after) / 1024,
                      against='RssAnon and private file pages, 4 disks, 64 channels under load; '
                              'limit 16')
    bench.figures.add('rss.both_mib', 'MiB', n=len(both), value=sum(both) / 1024,
                      ratio=sum(both) / max(1, max(after)),
                      against=f'predecessor and successor after a flip; ratio to the successor '
                              f'alone, {max(after) / 1024:.1f} MiB; limit 2')
