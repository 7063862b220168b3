#!/usr/bin/env python3
"""Rollbacks from builds that are bad on purpose, under verified I/O.

usage: rollbacks.py BUILD-A BUILD-SABOTAGE RECORD [--rollbacks N] [--kinds LIST]

Each is one line of the record, written when the guest of its VM has ended well;
a run that was interrupted goes on where it stopped, for the same commit. The
bound counts from the decision to take the guest back to the first look at the
rings by who has it again; how long the fault was not seen is told apart:
from the moment when the bad build began to be bad to the decision, and in
turns. A rollback that is late (--bound) or does not come ends the run."""
import argparse
import collections
import json
import os
import re
import subprocess
import sys
import tempfile
import time

import record

KINDS = ('crash@1,owner', 'wrong@40,owner', 'crash@1000,owner', 'differ@40,owner',
         'hang@100,owner', 'scribble@40,owner', 'stuck@100,owner', 'leak@1,owner')
SOON = 2000          # turns after which the one that took back has a checkpoint of its own
A_VM = 20            # rollbacks of one VM
SECONDS_EACH = 2.5   # of load, for each of them (--each): the hangs take 1 s to be seen


class Wrong(Exception):
    pass


class Ended(Exception):
    """The guest was done before all rollbacks of its VM: the rest get another VM."""


class Machine:
    """A VM whose successors are as bad as its file says."""

    def __init__(self, build, sabotage, where, rollbacks, each):
        self.exe = os.path.join(build, 'holdfast')
        self.bad = os.path.join(sabotage, 'holdfast')
        self.soft = os.path.join(build, 'tests/soft')
        self.state, self.disk = os.path.join(where, 'state'), os.path.join(where, 'disk')
        self.plan, self.report = os.path.join(where, 'plan'), os.path.join(where, 'report')
        with open(self.disk, 'wb') as f:
            f.truncate(32 << 20)
        words = (f'load depth=16 channels=2 seconds={int(each * rollbacks) + 3} bs=4096 '
                 f'mix=rw verify region=8388608 report={self.report}')
        self.run = subprocess.Popen(
            [self.exe, 'run', '--backend', 'soft', '--kernel', os.path.join(self.soft, 'softload'),
             '--vps', '2', '--memory', '64M', '--disk', self.disk, '--state', self.state,
             '--cmdline', words], env={**os.environ, 'HOLDFAST_BADBUILD': '@' + self.plan},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self.until(lambda: os.path.exists(os.path.join(self.state, 'control')), 'it starts', 60)
        self.until(lambda: self.returns() is not None, 'somebody serves', 60)

    def until(self, is_so, what, seconds):
        end = time.monotonic() + seconds
        while not is_so():
            if self.run.poll() is not None:
                raise Ended(what)
            if time.monotonic() > end:
                raise Wrong(f'waited in vain: {what}')
            time.sleep(0.02)

    def inspect(self):
        out = subprocess.run([self.exe, 'inspect', '--state', self.state, '--json'],
                             capture_output=True, text=True)
        return json.loads(out.stdout) if out.returncode == 0 else None

    def returns(self):
        tree = self.inspect()
        return tree and tree['servicing']['0']['returns']

    def returned(self, before, kind):
        """The checkpoint that its owner made first, and what is seen then, when the guest is back."""
        seen = {}

        def is_back():
            tree = seen['tree'] = self.inspect()
            return tree and tree['servicing']['0']['returns'] > before

        def has_checkpoint():
            seen['own'] = self.own_checkpoint(seen['tree']['ownership']['epoch'])
            return seen['own']

        self.until(is_back, f'{kind}: the way back', 120)
        self.until(has_checkpoint, f'{kind}: a checkpoint of its own', 120)
        tree = self.inspect()
        if tree is None:
            raise Ended(kind)
        return seen['own'], tree

    def own_checkpoint(self, epoch):
        """(generation, sequence), as paravisor.log tells, or None."""
        with open(os.path.join(self.state, 'paravisor.log'), encoding='utf-8') as f:
            found = re.findall(rf'has the guest again, in epoch {epoch}: checkpoint (\d+) of its own, '
                               r'at sequence (\d+)\n', f.read())
        return (int(found[-1][0]), int(found[-1][1])) if found else None

    def tell_logs(self):
        for name in ('partition.log', 'paravisor.log'):
            with open(os.path.join(self.state, name), encoding='utf-8') as f:
                print(''.join(f.readlines()[-8:]), end='')

    def ends(self):
        try:
            self.run.wait(20)
        except subprocess.TimeoutExpired:
            return False
        return True

    def end(self):
        if self.run.wait() != 0:
            raise Wrong('the guest was not content')
        if subprocess.run([os.path.join(self.soft, 'softchk'), self.disk, self.report],
                          stdout=subprocess.DEVNULL).returncode:
            raise Wrong('the disk differs from what the guest recorded')


def last_gap(tree):
    return max(tree['gaps'].values(), key=lambda g: g['seq'])


def checkpoint_turns(kind, own, tree):
    """Turns from the take-over to the first checkpoint of who took back: what the bad build
    has saved meanwhile is not what the next one is to load. What is in custody by now must
    agree with what was told of it."""
    generation, seq = own
    gap, slots = last_gap(tree), tree['checkpoints'].values()
    if gap['epoch'] != tree['ownership']['epoch']:
        raise Wrong(f'{kind}: somebody else serves by now: {gap}')
    if not 0 <= seq - gap['seq'] <= SOON:
        raise Wrong(f'{kind}: its first checkpoint is of turn {seq}, and it serves since {gap["seq"]}')
    if max(c['generation'] for c in slots) < generation or \
            any(c['generation'] == generation and c['seq'] != seq for c in slots):
        raise Wrong(f'{kind}: checkpoint {generation} of turn {seq} was told, there are {slots}')
    return seq - gap['seq']


def began(machine):
    """When and at which turn the last bad build began to be bad."""
    with open(os.path.join(machine.state, 'paravisor.log'), encoding='utf-8') as f:
        found = re.findall(r'badbuild: \S+ at turn (\d+), (\d+) ns', f.read())
    return (int(found[-1][0]), int(found[-1][1])) if found else (0, 0)


def one(machine, kind):
    before = machine.returns()
    if before is None:
        raise Ended(kind)
    with open(machine.plan, 'w', encoding='ascii') as f:
        f.write(kind + '\n')
    r = subprocess.run([machine.exe, 'service', '--state', machine.state, '--to', machine.bad,
                        '--follow-events', '50', '--voting', '1000000', '--probation', '60'],
                       capture_output=True, text=True)
    if r.returncode and machine.ends():
        raise Ended(kind)
    if r.returncode:
        raise Wrong(f'{kind}: not served by it: {r.stderr}')
    own, tree = machine.returned(before, kind)
    turn, ns = began(machine)
    owner = tree['ownership']
    return {'kind': kind, 'rollback_ms': (owner['served_ns'] - owner['decided_ns']) / 1e6,
            'checkpoint_turns': checkpoint_turns(kind, own, tree),
            'detection_ms': (owner['decided_ns'] - ns) / 1e6,
            'turns': last_gap(tree)['seq'] - turn, 'why': tree['servicing']['0']['why']}


def a_machine(a, first, n):
    with tempfile.TemporaryDirectory() as where:
        machine = Machine(a.build, a.sabotage, where, n, a.each)
        rows = []
        try:
            for i in range(n):
                row = one(machine, a.kinds[(first + i) % len(a.kinds)])
                if row['rollback_ms'] > a.bound:
                    raise Wrong(f'late: {row}')
                rows.append(row)
            machine.end()
        except Ended as what:
            machine.end()
            if not rows:
                raise Wrong(f'the guest ended before: {what}; give it more time (--each)') from what
        except Wrong:
            machine.tell_logs()
            raise
        finally:
            if machine.run.poll() is None:
                subprocess.run([machine.exe, 'shutdown', '--state', machine.state, '--power-off'])
                machine.run.wait()
    return rows


def quantile(values, q):
    return sorted(values)[min(len(values) - 1, int(q * len(values)))]


def tell(rows):
    by_kind = collections.defaultdict(list)
    for r in rows:
        by_kind[r['kind']].append(r)
    for kind, some in sorted(by_kind.items()):
        back, seen = [r['rollback_ms'] for r in some], [r['detection_ms'] for r in some]
        turns = [r['turns'] for r in some]
        print(f'{kind:18} n={len(some):4} rollback_ms p50={quantile(back, .5):.3f} '
              f'p99={quantile(back, .99):.3f} max={max(back):.3f}; detection_ms '
              f'p50={quantile(seen, .5):.3f} max={max(seen):.3f}; turns at most {max(turns)}')
    back = [r['rollback_ms'] for r in rows]
    own = max(r['checkpoint_turns'] for r in rows)
    print(f'{len(rows)} rollbacks: rollback_ms p50={quantile(back, .5):.3f} '
          f'p99={quantile(back, .99):.3f} max={max(back):.3f}; no guest noticed; a checkpoint of its own '
          f'after {own} turns at most')


def main():
    p = argparse.ArgumentParser()
    p.add_argument('build')
    p.add_argument('sabotage')
    p.add_argument('record')
    p.add_argument('--rollbacks', type=int, default=1000)
    p.add_argument('--kinds', type=lambda s: s.split('/'), default=KINDS)
    p.add_argument('--each', type=float, default=SECONDS_EACH, help='seconds of load')
    p.add_argument('--bound', type=float, default=1000., help='ms')
    a = p.parse_args()
    mark = record.mark()
    rows = record.rows(a.record, mark)
    while len(rows) < a.rollbacks:
        try:
            new = a_machine(a, len(rows), min(A_VM, a.rollbacks - len(rows)))
        except Wrong as why:
            print(f'rollbacks: {why}')
            return 1
        for row in new:
            record.add(a.record, mark, row)
        rows += new
    tell(rows)
    return 0


sys.exit(main())
