#!/usr/bin/env python3
"""Mutants of the take-over: each breaks one rule of "exactly once" in one place,
is built in a copy of the tree, and must be caught by the crash-point proof.

usage: mutants.py WORKDIR"""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'mutants'))
from tree import Gone, Tree

# name: (scenarios that must catch it between them, file, text, what the mutant has instead)
MUTANTS = {
    'redo does nothing': (
        ['write', 'message'], 'engine/lane.c',
        'h->seq <= atomic_load(&l->log.words->done)',
        'h->seq <= atomic_load(&l->log.words->done) + 1000000'),
    'DONE before the effects': (
        ['write', 'message'], 'engine/lane.c',
        '\tperform_staged(l, n, at, 0);\n',
        '\tatomic_store(&l->log.words->done, l->seq);\n\tperform_staged(l, n, at, 0);\n'),
    'the unconfirmed tail is forgotten': (
        ['read', 'write'], 'engine/lane.c',
        '\tif (l->n)\n\t\trun_recovered(l, f);\n',
        '\tif (l->n && l->seq == UINT64_MAX)\n\t\trun_recovered(l, f);\n\tl->n = 0;\n'),
    'what the kernel took is submitted again': (
        ['read', 'write'], 'devices/uring.c',
        'return placed != 0 && (uint32_t)placed - head <= *sq->kring_entries;',
        'return placed != 0 && (*sq->kring_entries == head || *sq->kring_entries != head);'),
    'redo submits what is placed already': (
        ['read', 'write'], 'devices/requests.c',
        'if (redo && uring_placed(', 'if (redo && redo != true && uring_placed('),
    'redo sends a message again': (
        ['message'], 'devices/outputs.c',
        'if ((redo && id <= atomic_load(&q->last_id)) ||\n', 'if ((redo && id == 0) ||\n'),
}
TARGETS = ['holdfast', 'holdfast-partition', 'tests/crash/crashpoints', 'tests/crash/stepguest']


def build(tree, out):
    if not os.path.exists(os.path.join(out, 'build.ninja')):
        subprocess.run(['meson', 'setup', out, tree], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(['ninja', '--quiet', '-C', out, '-j2', *TARGETS], check=True,
                   stdout=subprocess.DEVNULL)


def caught(tree, out, scenarios):
    """The scenario that fails, or None."""
    for scenario in scenarios:
        r = subprocess.run([os.path.join(tree, 'tests/crash/run.sh'), out, scenario, '--changed',
                            '--failures', '1'], stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL, timeout=300)
        if r.returncode == 1:
            return scenario
    return None


def try_mutant(tree, out, name):
    scenarios, path, text, instead = MUTANTS[name]
    try:
        with tree.changed(path, text, instead):
            build(tree.path, out)
            scenario = caught(tree.path, out, scenarios)
    except Gone as e:
        return str(e)
    print(f'{"caught  " if scenario else "SURVIVED"}  {name}'
          f'{": by " + scenario if scenario else ""}', flush=True)
    return None if scenario else f'{name} survived'


def main():
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    work = os.path.abspath(sys.argv[1])
    tree, out = Tree(os.path.join(work, 'tree')), os.path.join(work, 'build')
    wrong = [w for w in (try_mutant(tree, out, n) for n in MUTANTS
                         if len(sys.argv) < 3 or sys.argv[2] in n) if w]
    for w in wrong:
        print(w)
    return 1 if wrong else 0


sys.exit(main())
