#!/usr/bin/env python3
"""Every allocation and many system calls of fixed scenarios fail once, one at a time.

usage: failing.py BUILD [--scenario NAME] [--every N] [--first N] [--last N]

A scenario names the process in which calls fail. First it runs whole, and counts;
then once for each call (with --every N each N-th). A clean outcome is either that
all goes as if nothing had been, or that the command ends with one line that tells
why; in both the guest of a running VM goes on to its end, nothing hangs, no fact
fails, and no process stays. Exit status 1: an outcome was not clean."""
import argparse
import mmap
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time

GUEST_SECONDS = 1    # of a guest that is not to wait until something was asked
STUCK = 40
# name: (process that is hit, what is asked of the running VM, is the guest allowed to end with it)
SCENARIOS = {
    'run': ('run', None, True),
    'partition': ('partition', None, True),
    'first owner': ('paravisor', None, True),
    'take-over': ('paravisor', 'kill', False),
    'successor': ('paravisor', 'service', False),
    'service': ('service', 'service', False),
    'archive': ('archive', 'archive', False),
}
BAD = re.compile(r'fact does not hold|signal (6|7|8|11)\b|AddressSanitizer')
CALLER = re.compile(r'^\S+\(\S*\) ?\[0x[0-9a-f]+\]$', re.MULTILINE)    # told by failing.c


def said(text):
    """What the processes themselves have told."""
    return CALLER.sub('', text).strip()


class Scenario:
    def __init__(self, build, name):
        self.build, self.name = build, name
        self.who, self.ask, self.guest_may_end = SCENARIOS[name]
        self.text = ''
        self.work = tempfile.mkdtemp(prefix='holdfast-failing-')
        self.counter = os.path.join(self.work, 'count')
        self.enough = os.path.join(self.work, 'enough')
        with open(self.counter, 'wb') as f:
            f.write(bytes(4096))

    def env(self, at):
        return dict(os.environ, LD_PRELOAD=os.path.join(self.build, 'tests/failing/libfailing.so'),
                    FAILING_FILE=self.counter, FAILING_WHO=self.who, FAILING_AT=str(at))

    def counted(self, value=None):
        with open(self.counter, 'r+b') as f, mmap.mmap(f.fileno(), 4096) as m:
            if value is not None:
                m[0:4] = struct.pack('<I', value)
            return struct.unpack('<I', m[0:4])[0]

    def holdfast(self, *arguments, env=None):
        return subprocess.run([os.path.join(self.build, 'holdfast'), *arguments], env=env,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=STUCK, check=False)

    def request(self, state, env):
        """What is asked of the VM; an outcome that is not clean, or None."""
        if self.ask == 'kill':
            self.holdfast('kill', '--state', state)
            return None
        extra = ['--to', os.path.join(self.build, 'holdfast')] if self.ask == 'service' else []
        r = self.holdfast(self.ask, '--state', state, *extra, env=env)
        if r.returncode not in (0, 1, 2):
            return f'{self.ask} ended with {r.returncode}: {r.stderr.strip()}'
        if r.returncode and not said(r.stderr):
            return f'{self.ask} failed without a word'
        return None

    def once(self, at):
        """One run with the call @at failing (0: none): what was not clean, or None."""
        state = os.path.join(self.work, 'state')
        disk = os.path.join(self.work, 'disk')
        shutil.rmtree(state, ignore_errors=True)
        if os.path.exists(self.enough):
            os.remove(self.enough)
        with open(disk, 'wb') as f:
            f.truncate(4 << 20)
        late = self.ask is not None and self.who == 'paravisor'
        # The first owner is not hit when its successor is meant: it is counted past.
        self.counted(0 if not late else 1 << 24)
        env = self.env(at)
        with open(os.path.join(self.work, 'out'), 'w+', encoding='utf-8', errors='replace') as out:
            vm = subprocess.Popen(
                [os.path.join(self.build, 'holdfast'), 'run', '--backend', 'soft', '--kernel',
                 os.path.join(self.build, 'tests/soft/softload'), '--vps', '1', '--memory', '64M',
                 '--cmdline', f'bench {self.guest_time()} depth=4 channels=1 mix=read',
                 '--disk', disk, '--state', state], stdin=subprocess.DEVNULL, stdout=out,
                stderr=subprocess.STDOUT, env=env)
            try:
                wrong = self.ask and self.asked(state, late, env)
                if self.ask:
                    time.sleep(.5)
                    with open(self.enough, 'w', encoding='ascii'):
                        pass
                status = vm.wait(timeout=STUCK)
            except subprocess.TimeoutExpired:
                return self.stuck(vm)
            out.seek(0)
            text = out.read()
        self.text = text + self.logs(state)
        return wrong or self.judge(status, self.text)

    def guest_time(self):
        # An archiver ends with its VM.
        asked = self.ask in ('kill', 'service')
        return f'seconds={STUCK} until={self.enough}' if asked else f'seconds={GUEST_SECONDS}'

    def asked(self, state, late, env):
        end = time.monotonic() + 30
        while time.monotonic() < end:
            if os.path.exists(os.path.join(state, 'control')) and \
                    self.holdfast('list', '--state', state).returncode == 0:
                break
            time.sleep(.02)
        time.sleep(.2)
        if late:
            self.counted(0)
        return self.request(state, env)

    def stuck(self, vm):
        self.holdfast('shutdown', '--state', os.path.join(self.work, 'state'), '--power-off')
        vm.kill()
        vm.wait()
        return f'stuck for {STUCK} s'

    @staticmethod
    def logs(state):
        text = ''
        for name in os.listdir(state) if os.path.isdir(state) else []:
            if name.endswith('.log'):
                with open(os.path.join(state, name), encoding='utf-8', errors='replace') as f:
                    text += f.read()
        return text

    def judge(self, status, text):
        # libev ends its process with this line; another owner takes over.
        if '(libev) cannot allocate' in text and self.who == 'paravisor':
            text = text.replace('signal 6', 'that')
        if BAD.search(text):
            return 'a process ended badly: ' + BAD.search(text).group(0)
        if status == 0:
            return None
        if not self.guest_may_end:
            return f'the guest was lost (status {status})'
        if status < 0:
            return f'run ended by signal {-status}'
        return None if said(text) else f'run failed without a word (status {status})'


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument('build')
    parser.add_argument('--scenario')
    parser.add_argument('--every', type=int, default=1)
    parser.add_argument('--first', type=int, default=1)
    parser.add_argument('--last', type=int, default=1 << 20)
    parser.add_argument('--detail', action='store_true')
    arguments = parser.parse_args()
    failed = 0
    for name in SCENARIOS:
        if arguments.scenario not in (None, name):
            continue
        s = Scenario(os.path.abspath(arguments.build), name)
        wrong = s.once(0)
        if wrong:
            sys.exit(f'{name}: without a failure: {wrong}')
        calls = s.counted() & 0xffffff
        bad = tried = 0
        for at in range(arguments.first, min(calls, arguments.last) + 1, arguments.every):
            wrong = s.once(at)
            tried += 1
            if wrong:
                bad += 1
                print(f'{name}: call {at} of {calls} in {s.who}: {wrong}', flush=True)
                if arguments.detail:
                    print(s.text, flush=True)
        print(f'{name}: {calls} calls of {s.who}, {tried} failed one at a time, '
              f'{bad} outcomes not clean', flush=True)
        failed += bad
        shutil.rmtree(s.work, ignore_errors=True)
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
