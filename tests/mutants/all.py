#!/usr/bin/env python3
"""Mutants of everything that is a table or pure code, one at a time, each against
lint, unit tests, traces and simulation, up to the first failure.

usage: all.py WORKDIR [--sample N] [--seed S] [--known] [--only REGEX]
              [--sim-seconds S] [--record FILE] [--survivors] [--list]
              [--at-least PERCENT] [--jobs N] [--unit]

Without --sample every mutant is tried. --known: the list of known mistakes too.
--record: a line of JSON for each (commit, seed, mutant, the stage that caught it or
null, seconds); a mutant that the file holds for this commit is not tried again, so a
run that was interrupted goes on where it stopped. --survivors: tries again those whose
last line there, of whatever commit, says that they survived.
--unit: only lint and unit tests, which need a tenth of the build: for who writes
tests. What survives them is tried by the rest in a run without it.
A mutant that does not compile is no mutant (counted apart). equivalent.txt names
those that change nothing that anybody can see, each with its reason; they count
neither way. Survivors are listed by name. Exit status 1: fewer than --at-least
percent were caught (95 when not given), or the tree itself fails."""
import argparse
import json
import os
import random
import re
import subprocess
import sys
import time

import generate
import known
from tree import Gone, Tree, TOP

sys.path.insert(0, os.path.join(TOP, 'tests', 'soak'))
import record  # noqa: E402

LINT = 'tests/mutants/lint'
TESTS = ['statemachines/test_stories', 'statemachines/test_parsers', 'statemachines/test_machines',
         'fuzz/test_finds']
DEVICE_TESTS = ['devices/test_ring', 'devices/test_hands', 'devices/test_uring']
ENGINE_TESTS = ['engine/test_world', 'engine/test_edges', 'engine/test_log', 'engine/test_follow',
                'engine/test_lane', 'persist/test_persist_codec']
FUZZ = [['fuzz/fuzz_message', 'runs=1500'], ['fuzz/fuzz_machine', 'seed=7', 'runs=150', 'bytes=8192']]
SIM_TARGETS = ['holdfast', 'sim/holdfast-sim', 'sim/sim-a.so', 'sim/sim-b.so', 'sim/sim-load.so',
               'sim/sim-hostile.so', 'sim/sim-archive-a.so', 'sim/sim-archive-b.so']
SOFT_TARGETS = ['holdfast', 'holdfast-partition', 'tests/soft/softload', 'tests/soft/softchk']
SOFT = ['soft-follower', 'soft-replace']
STUCK = 240
FLAGS = ('-O1 -ftrivial-auto-var-init=pattern -fsanitize=bounds '
         '-fsanitize-undefined-trap-on-error')


class Stillborn(Exception):
    """It does not compile."""


class Bench:
    def __init__(self, work, sim_seconds, jobs, unit=False):
        self.tree = Tree(os.path.join(work, 'tree'))
        self.out = os.path.join(work, 'build')
        self.sim_seconds = sim_seconds
        self.jobs = jobs
        self.unit = unit
        # Level 2 too; a warning is no finding here. What is not initialised is the same in
        # every run, and no index leaves its array in silence.
        subprocess.run(['meson', 'setup', self.out, self.tree.path, '-Dbuildtype=plain',
                        '-Dvariant=b', '-Dwerror=false', f'-Dc_args={FLAGS}'], check=True,
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
        """(what it is, what is built for it, command, environment), in their order: lint,
        unit tests with the smoke runs of fuzzing, traces. Simulation comes behind them."""
        yield 'lint', [LINT], [LINT], None
        tests = self.targets(name)
        if not name.startswith('statemachines/'):
            tests = [t for t in tests if t not in TESTS] + TESTS
        for test in tests:
            yield os.path.basename(test), [test], [test, '--fail-fast', f'--jobs={self.jobs}'], None
        if self.unit:
            return
        for command in FUZZ:
            yield os.path.basename(command[0]), command[:1], command, None
        yield ('corpus', ['holdfast'], [os.path.join(self.tree.path, 'tests/corpus/run.sh'),
                                        self.out], None)
        for script in SOFT if self.runs_soft(name) else ():
            yield (script, SOFT_TARGETS, [os.path.join(self.tree.path, f'tests/e2e/{script}.sh'),
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
    """Who caught what. With a record: its lines are what counts."""

    def __init__(self, path, seed):
        self.path, self.seed, self.mark, self.rows = path, seed, record.mark(), {}

    def known(self):
        """{name: row} of this commit."""
        found = record.rows(self.path, self.mark) if self.path else []
        return {r['mutant']: r for r in found}

    def add(self, name, by, seconds, unit):
        row = {'seed': self.seed, 'mutant': name, 'by': by, 'seconds': round(seconds)}
        if unit and by is None:
            row['tried'] = 'unit tests'
        self.rows[name] = row
        if self.path:
            record.add(self.path, self.mark, row)

    def by(self):
        found = {}
        for row in self.rows.values():
            if row['by'] not in (None, 'compiler'):
                stage = row['by'].split(' ')[0]
                found[stage] = found.get(stage, 0) + 1
        return found

    def survivors(self):
        return [r['mutant'] for r in self.rows.values() if r['by'] is None]

    def stillborn(self):
        return sum(r['by'] == 'compiler' for r in self.rows.values())

    def tried(self):
        return len(self.rows) - self.stillborn()

    def percent(self):
        return 100.0 * sum(self.by().values()) / self.tried() if self.tried() else 100.0


def survived(path):
    """Names without lines of those whose last line says that they survived."""
    last = {}
    with open(path, encoding='ascii') as f:
        for line in f:
            row = json.loads(line)
            last[stable(row['mutant'])] = row['by'] is None
    return {name for name, alive in last.items() if alive}


def equivalents():
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'equivalent.txt')
    with open(path, encoding='utf-8') as f:
        return {line.split(' -- ')[0].strip() for line in f
                if line.strip() and not line.startswith('#')}


def stable(name):
    """A mutant's name without its line: what equivalent.txt says."""
    return re.sub(r'\.c:\d+ ', '.c ', name).strip()


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
        by = 'compiler'
    finally:
        bench.tree.write(file, original)
    result.add(name, by, time.monotonic() - begun, bench.unit)
    what = {None: 'SURVIVED', 'compiler': 'no mutant'}.get(by, 'caught')
    print(f'{what:<10}{time.monotonic() - begun:5.0f}s {name}{" -- by " + by if by else ""}',
          flush=True)


def known_mutants(bench):
    """(name, file, text of the whole file)"""
    for name, file, before, after in known.KNOWN:
        yield name, file, bench.tree.changed(file, before, after).text
    for name, (file, before, after) in known.LOG.items():
        yield name, file, bench.tree.changed(file, before, after).text


def report(result, of, arguments):
    by = result.by()
    print(f'mutants: {of} generated, {result.tried()} tried'
          f' (seed {arguments.seed}), {result.stillborn()} do not compile, '
          f'{sum(by.values())} caught ({result.percent():.1f} %)')
    print('caught by: ' + ', '.join(f'{k} {v}' for k, v in sorted(by.items(), key=lambda x: -x[1])))
    for name in result.survivors():
        print(f'survived: {name}')


def chosen_of(mutants, arguments):
    if arguments.sample is None:
        return mutants
    return random.Random(arguments.seed).sample(mutants, min(arguments.sample, len(mutants)))


def passes_itself(bench):
    try:
        by = bench.caught('')
    except Stillborn:
        by = 'compiler'
    if by:
        sys.exit(f'mutants: the tree itself does not pass ({by}); nothing can be said')


def try_all(bench, wanted, result):
    """@wanted: (name, file, text of the whole file, made when it is asked for)."""
    known_rows = result.known()
    for name, file, text in wanted:
        before = known_rows.get(name)
        if before and (bench.unit or 'tried' not in before):
            result.rows[name] = before
            continue
        try_one(bench, name, file, text(), result)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument('work')
    parser.add_argument('--sample', type=int)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--known', action='store_true')
    parser.add_argument('--only', default='.')
    parser.add_argument('--sim-seconds', type=float, default=30)
    parser.add_argument('--record')
    parser.add_argument('--survivors', action='store_true')
    parser.add_argument('--list', action='store_true')
    parser.add_argument('--at-least', type=float, default=95)
    parser.add_argument('--jobs', type=int, default=2)
    parser.add_argument('--unit', action='store_true')
    arguments = parser.parse_args()
    bench = Bench(os.path.abspath(arguments.work), arguments.sim_seconds, arguments.jobs,
                  arguments.unit)
    same = equivalents()
    mutants = [m for m in generate.named(bench.tree)
               if re.search(arguments.only, m.name) and stable(m.name) not in same]
    if arguments.list:
        print('\n'.join(m.name for m in mutants))
        return 0
    result = Result(arguments.record, arguments.seed)
    try:
        wanted = [(name, file, lambda text=text: text) for name, file, text in known_mutants(bench)
                  if re.search(arguments.only, name)]
    except Gone as e:
        sys.exit(f'mutants: {e}')
    if arguments.survivors:
        again = survived(arguments.record)
        wanted = [t for t in wanted if t[0] in again]
        chosen = [m for m in mutants if stable(m.name) in again]
    else:
        wanted = wanted if arguments.known else []
        chosen = chosen_of(mutants, arguments)
    wanted += [(m.name, m.file, lambda m=m: applied(bench, m)) for m in chosen]
    passes_itself(bench)
    try_all(bench, wanted, result)
    report(result, len(mutants), arguments)
    return 0 if result.percent() >= arguments.at_least else 1


if __name__ == '__main__':
    sys.exit(main())
