#!/usr/bin/env python3
"""Mutants of everything that is a table or pure code, one at a time, each against
build, traces, unit tests, lint, fuzzing and simulation, up to the first failure.

usage: all.py WORKDIR [--sample N] [--seed S] [--known] [--only REGEX]
              [--sim-seconds S] [--record FILE] [--list] [--at-least PERCENT] [--jobs N]
              [--unit]

Without --sample every mutant is tried. --known: the list of known mistakes first.
--unit: only unit tests and stories, which need a tenth of the build: for who writes
tests; what survives may still be caught by the rest.
A mutant that does not compile is no mutant (counted apart). equivalent.txt names
those that change nothing that anybody can see, each with its reason; they count
neither way. Survivors are listed by name. Exit status 1: fewer than --at-least
percent were caught (95 when not given), or the tree itself fails."""
import argparse
import os
import random
import re
import subprocess
import sys
import time

import generate
import known
from tree import Gone, Tree, TOP

TESTS = ['statemachines/test_stories', 'statemachines/test_parsers', 'statemachines/test_machines',
         'fuzz/test_finds']
DEVICE_TESTS = ['devices/test_ring', 'devices/test_hands', 'devices/test_uring']
ENGINE_TESTS = ['engine/test_world', 'engine/test_lane', 'engine/test_log',
                'persist/test_persist_codec']
FUZZ = [['fuzz/fuzz_message', 'runs=1500'], ['fuzz/fuzz_machine', 'seed=7', 'runs=150', 'bytes=8192']]
SIM_TARGETS = ['holdfast', 'sim/holdfast-sim', 'sim/sim-a.so', 'sim/sim-b.so', 'sim/sim-load.so',
               'sim/sim-hostile.so']
SOFT_TARGETS = ['holdfast', 'holdfast-partition', 'tests/soft/softload', 'tests/soft/softchk']
STUCK = 240


class Stillborn(Exception):
    """It does not compile."""


class Bench:
    def __init__(self, work, sim_seconds, jobs, unit=False):
        self.tree = Tree(os.path.join(work, 'tree'))
        self.out = os.path.join(work, 'build')
        self.sim_seconds = sim_seconds
        self.jobs = jobs
        self.unit = unit
        # Level 2 too; a warning is no finding here.
        subprocess.run(['meson', 'setup', self.out, self.tree.path, '-Dbuildtype=plain',
                        '-Dvariant=b', '-Dwerror=false', '-Dc_args=-O1'], check=True,
                       stdout=subprocess.DEVNULL,
                       env=dict(os.environ, CC=os.environ.get('CC', 'gcc')))

    def targets(self, name):
        found = list(TESTS)
        if not name.startswith('statemachines/'):
            found += DEVICE_TESTS + ENGINE_TESTS
        return found

    def runs_soft(self, name):
        return name.startswith(('devices/', 'servicing/'))

    def build(self, targets):
        if subprocess.run(['ninja', '--quiet', '-C', self.out, f'-j{self.jobs}', *targets],
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                          check=False).returncode:
            raise Stillborn

    def passes(self, command, env=None, seconds=STUCK):
        command = [os.path.join(self.out, command[0]) if '/' not in command[0] or
                   not os.path.isabs(command[0]) else command[0], *command[1:]]
        try:
            return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                  stdin=subprocess.DEVNULL, timeout=seconds, cwd=self.out,
                                  env=dict(os.environ, **(env or {})),
                                  check=False).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def stages(self, name):
        """(what it is, what is built for it, command, environment): cheapest first."""
        tests = self.targets(name)
        if not name.startswith('statemachines/'):
            tests = [t for t in tests if t not in TESTS] + TESTS
        for test in tests:
            yield os.path.basename(test), [test], [test, '--fail-fast', f'--jobs={self.jobs}'], None
        if self.unit:
            return
        yield 'lint', ['holdfast'], ['holdfast', 'machines', '--lint'], None
        for command in FUZZ:
            yield os.path.basename(command[0]), command[:1], command, None
        if self.runs_soft(name):
            yield ('soft', SOFT_TARGETS, [os.path.join(self.tree.path, 'tests/e2e/soft-replace.sh'),
                                          self.out, self.out],
                   {'REPLACEMENTS': '2', 'KILLS': '2', 'SECONDS_OF_LOAD': '6'})

    def caught(self, name):
        """The stage that fails, or None. What a stage needs is built when it is reached."""
        for stage, targets, command, env in self.stages(name):
            self.build(targets)
            if not self.passes(command, env):
                return stage
        if self.unit:
            return None
        self.build(SIM_TARGETS)
        return self.simulated()

    def simulated(self):
        listed = subprocess.run([os.path.join(self.out, 'holdfast'), 'help'],
                                capture_output=True, text=True, check=False).stdout
        if not re.search(r'^  sim\b', listed, re.M):
            return None
        until, seed = time.monotonic() + self.sim_seconds, 1
        while time.monotonic() < until:
            if not self.passes(['holdfast', 'sim', '--seed', str(seed), '--events', '200000']):
                return f'sim --seed {seed}'
            seed += 1
        return None


class Result:
    def __init__(self):
        self.by, self.survivors, self.stillborn = {}, [], 0

    def tried(self):
        return sum(self.by.values()) + len(self.survivors)

    def percent(self):
        return 100.0 * sum(self.by.values()) / self.tried() if self.tried() else 100.0


def equivalents():
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'equivalent.txt')
    with open(path, encoding='utf-8') as f:
        return {line.split(' -- ')[0].strip() for line in f
                if line.strip() and not line.startswith('#')}


def stable(name):
    """A mutant's name without its line: what equivalent.txt says."""
    return re.sub(r'\.c:\d+ ', '.c ', name)


def applied(bench, mutant):
    text = bench.tree.read(mutant.file)
    return text[:mutant.at] + mutant.text + text[mutant.at + mutant.length:]


def try_one(bench, name, file, mutated, result):
    original = bench.tree.read(file)
    begun = time.monotonic()
    bench.tree.write(file, mutated)
    try:
        by = bench.caught(file)
    except Stillborn:
        result.stillborn += 1
        print(f'no mutant       {name}: it does not compile', flush=True)
        return
    finally:
        bench.tree.write(file, original)
    if by:
        result.by[by.split(' ')[0]] = result.by.get(by.split(' ')[0], 0) + 1
    else:
        result.survivors.append(name)
    print(f'{"caught" if by else "SURVIVED":<10}{time.monotonic() - begun:5.0f}s {name}'
          f'{" -- by " + by if by else ""}', flush=True)


def known_mutants(bench):
    for name, file, before, after in known.KNOWN:
        change = bench.tree.changed(file, before, after)
        yield name, file, change.text


def report(result, of, arguments):
    lines = [f'mutants: {of} generated, {result.tried()} tried'
             f' (seed {arguments.seed}), {result.stillborn} do not compile, '
             f'{sum(result.by.values())} caught ({result.percent():.1f} %)',
             'caught by: ' + ', '.join(f'{k} {v}' for k, v in sorted(result.by.items(),
                                                                    key=lambda x: -x[1])),
             *(f'survived: {s}' for s in result.survivors)]
    print('\n'.join(lines))
    if arguments.record:
        commit = subprocess.run(['git', 'rev-parse', '--short', 'HEAD'], cwd=TOP, text=True,
                                capture_output=True, check=False).stdout.strip()
        with open(arguments.record, 'a', encoding='utf-8') as f:
            f.write(f'# commit {commit}, {time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())}\n')
            f.write('\n'.join(lines) + '\n\n')


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument('work')
    parser.add_argument('--sample', type=int)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--known', action='store_true')
    parser.add_argument('--only', default='.')
    parser.add_argument('--sim-seconds', type=float, default=30)
    parser.add_argument('--record')
    parser.add_argument('--list', action='store_true')
    parser.add_argument('--at-least', type=float, default=95)
    parser.add_argument('--jobs', type=int, default=2)
    parser.add_argument('--unit', action='store_true')
    arguments = parser.parse_args()
    bench = Bench(os.path.abspath(arguments.work), arguments.sim_seconds, arguments.jobs,
                  arguments.unit)
    same = equivalents()
    mutants = [m for m in generate.everything(bench.tree)
               if re.search(arguments.only, m.name) and stable(m.name) not in same]
    if arguments.list:
        print('\n'.join(m.name for m in mutants))
        return 0
    chosen = mutants
    if arguments.sample is not None:
        chosen = random.Random(arguments.seed).sample(mutants, min(arguments.sample, len(mutants)))
    try:
        by = bench.caught('')
    except Stillborn:
        by = 'compiler'
    if by:
        sys.exit(f'mutants: the tree itself does not pass ({by}); nothing can be said')
    result = Result()
    try:
        if arguments.known:
            for name, file, text in known_mutants(bench):
                try_one(bench, name, file, text, result)
    except Gone as e:
        sys.exit(f'mutants: {e}')
    for m in chosen:
        try_one(bench, m.name, m.file, applied(bench, m), result)
    report(result, len(mutants), arguments)
    return 0 if result.percent() >= arguments.at_least else 1


if __name__ == '__main__':
    sys.exit(main())
