#!/usr/bin/env python3
"""Which rows and answers of the machines were taken, and by whom; lines and
branches of the parts that hold the truth.

usage: coverage.py BUILD-A BUILD-B OUT [--guest STATE-DIR-OR-ARCHIVE]
                   [--only unit,fuzz,sim,soft,guest] [--no-lines]

Both builds are made with -Dcoverage=true -Db_coverage=true, one of each variant.
Every source runs with its own file of counters (engine/coverage.h). A guest's log
is counted by replaying it. OUT gets rows.tsv, the pictures and pages of the
machines with the counts in them, and the uncovered branches. Exit status 1: a
source failed, or a row or an answer was taken by nobody."""
import argparse
import glob
import os
import shutil
import subprocess
import sys

import lines
import pages

SOURCES = ('unit', 'fuzz', 'sim', 'soft', 'guest')
FUZZ_RUNS = (('machine', ['seed=2', 'runs=600', 'bytes=8192']),)
SIM_SEEDS = 3


class Run:
    """What each source does, and with which builds."""

    def __init__(self, arguments):
        self.a, self.b = os.path.abspath(arguments.build_a), os.path.abspath(arguments.build_b)
        self.out = os.path.abspath(arguments.out)
        self.guests = arguments.guest
        self.root = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')
        self.failed = []

    def counters(self, source):
        return os.path.join(self.out, source + '.counters')

    def call(self, source, command, seconds, env=None):
        env = dict(os.environ, HOLDFAST_COVERAGE=self.counters(source), **(env or {}))
        log = os.path.join(self.out, source + '.log')
        with open(log, 'ab') as f:
            try:
                ok = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=f, stderr=f,
                                    env=env, cwd=self.root, timeout=seconds,
                                    check=False).returncode == 0
            except subprocess.TimeoutExpired:
                ok = False
        if not ok:
            self.failed.append(f'{source}: {" ".join(command)}: see {log}')
        return ok

    def unit(self):
        for build in (self.a, self.b):
            tests = subprocess.run(['meson', 'test', '-C', build, '--list', '--no-rebuild'],
                                   capture_output=True, text=True, check=True).stdout.split('\n')
            names = [t.split(' / ')[-1].strip() for t in tests]
            chosen = [n for n in names if n and not n.startswith(('fuzz ', 'soft hostile'))]
            self.call('unit', ['meson', 'test', '-C', build, '--no-rebuild', '--num-processes',
                               '2', *chosen], 900)

    def fuzz(self):
        for build in (self.a, self.b):
            for name, options in FUZZ_RUNS:
                self.call('fuzz', [os.path.join(build, 'fuzz/fuzz_' + name), *options], 300)

    def sim(self):
        program = os.path.join(self.b, 'holdfast')
        if subprocess.run([program, 'sim', '--help'], capture_output=True,
                          check=False).returncode == 2 and b'sim' not in subprocess.run(
                              [program, 'help'], capture_output=True, check=False).stdout:
            return
        for seed in range(1, SIM_SEEDS + 1):
            self.call('sim', [program, 'sim', '--seed', str(seed), '--events', '100000'], 120)

    def soft(self):
        lines_too = {'HOLDFAST_COVERAGE_LINES': '1'}
        for script in sorted(glob.glob(os.path.join(self.root, 'tests/e2e/soft-re*.sh')) +
                             glob.glob(os.path.join(self.root, 'tests/e2e/soft-ic.sh'))):
            self.call('soft', [script, self.a, self.b], 400, lines_too)

    def guest(self):
        for path in self.guests:
            self.call('guest', [os.path.join(self.a, 'holdfast'), 'replay', path], 600)

    def read(self, source):
        """{key: (since, detail, count)} of both variants' tables together."""
        found = {}
        for build in (self.a, self.b):
            text = subprocess.run([os.path.join(build, 'tests/coverage/rows'),
                                   self.counters(source)], capture_output=True, text=True,
                                  check=True).stdout
            for line in text.splitlines():
                *key, count = line.split(' ')
                found[tuple(key)] = found.get(tuple(key), 0) + int(count)
        return found


def table(run, counts):
    """One line a machine; columns: sources, then all of them together."""
    machines = list(dict.fromkeys(key[1] for key in counts['any']))
    sources = [s for s in counts if s != 'any']
    for kind, what in (('row', 'rows'), ('answer', 'answers to events without a row')):
        print(f'\n{what:<34}{"of":>5}' + ''.join(f'{s:>8}' for s in sources) + f'{"all":>8}')
        sums = [0] * (len(sources) + 2)
        for machine in [*machines, 'sum']:
            keys = [k for k in counts['any'] if k[0] == kind and k[1] == machine and
                    not is_bug(k)]
            cells = [len(keys)] + [sum(counts[s].get(k, 0) > 0 for k in keys)
                                   for s in [*sources, 'any']]
            if machine == 'sum':
                cells = sums
            sums = [a + b for a, b in zip(sums, cells)] if machine != 'sum' else sums
            print(f'  {machine:<32}{cells[0]:>5}' + ''.join(f'{c:>8}' for c in cells[1:]))
        print(f'coverage.{kind}s_pct {100.0 * sums[-1] / max(1, sums[0]):.1f} '
              f'({sums[-1]} of {sums[0]})')
    with open(os.path.join(run.out, 'rows.tsv'), 'w', encoding='utf-8') as f:
        f.write('\t'.join(['what', *sources]) + '\n')
        for key in counts['any']:
            f.write('\t'.join([' '.join(key), *(str(counts[s].get(key, 0)) for s in sources)])
                    + '\n')


def is_bug(key):
    """An answer that ends us: nobody may take it."""
    return key[0] == 'answer' and key[-1] == 'bug'


def never():
    """{'MACHINE STATE EVENT': why nobody can take this answer}: never.txt."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'never.txt')
    with open(path, encoding='utf-8') as f:
        lines_of = [x for x in f if x.strip() and not x.startswith('#')]
    return {a.strip(): b.strip() for a, b in (x.split('|', 1) for x in lines_of)}


def missing(counts):
    """What nobody has taken and never.txt does not excuse."""
    excused, left = never(), []
    for key in (k for k, n in counts['any'].items() if n == 0 and not is_bug(k)):
        why = excused.get(' '.join((key[1], *key[3:5]))) if key[0] == 'answer' else None
        if why:
            print('cannot be taken: ' + ' '.join(key[1:2] + key[3:]) + ': ' + why)
        else:
            left.append(key)
    if left:
        print('\ntaken by nobody:')
    for key in left:
        print('  ' + ' '.join(key[1:2] + key[3:]))
    return len(left)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument('build_a')
    parser.add_argument('build_b')
    parser.add_argument('out')
    parser.add_argument('--guest', action='append', default=[])
    parser.add_argument('--only', default=','.join(SOURCES))
    parser.add_argument('--no-lines', action='store_true')
    arguments = parser.parse_args()
    run = Run(arguments)
    shutil.rmtree(run.out, ignore_errors=True)
    os.makedirs(run.out)
    if not arguments.no_lines:
        lines.forget([run.a, run.b])
    counts = {}
    for source in SOURCES:
        if source not in arguments.only.split(','):
            continue
        getattr(run, source)()
        if os.path.exists(run.counters(source)):
            counts[source] = run.read(source)
    if not counts:
        sys.exit('coverage: no source has counted anything')
    union = {}
    for found in counts.values():
        for key, n in found.items():
            union[key] = union.get(key, 0) + n
    counts['any'] = union
    table(run, counts)
    left = missing(counts)
    pages.write(os.path.join(run.out, 'machines'), counts)
    print(f'\npictures and pages with the counts: {run.out}/machines')
    if not arguments.no_lines:
        lines.report([run.a, run.b], run.root, run.out)
    for failure in run.failed:
        print('FAILED', failure)
    return 1 if left or run.failed else 0


if __name__ == '__main__':
    sys.exit(main())
