#!/usr/bin/env python3
"""Mutants of the log and the pipeline: each is a change of one place, built in
a copy of the engine, and must be caught by the engine's own tests.

usage: run.py WORKDIR"""
import os
import subprocess
import sys
import time

from known import LOG
from tree import TOP, Gone, Tree

TESTS = ['log', 'world', 'lane']
# Without the loop (libev), the sandbox (libseccomp), and what only a build that counts has.
LEFT_OUT = ('loop.c', 'coverage.c', 'sandbox.c')


def build_and_run(tree, seconds):
    """True: all tests pass, each in its time (None: none is too long)."""
    parts = [f'engine/{p}' for p in sorted(os.listdir(os.path.join(tree, 'engine')))
             if p.endswith('.c') and not p.startswith('test_') and p not in LEFT_OUT]
    for test in TESTS:
        program = os.path.join(tree, 'test_' + test)
        sources = [f'engine/test_{test}.c', *parts]
        subprocess.run(['gcc', '-std=c17', '-D_GNU_SOURCE', '-O1', '-I.', f'-I{TOP}', *sources, '-o', program,
                        '-lcriterion', '-lxxhash', '-luring', '-pthread'], cwd=tree, check=True)
        try:
            r = subprocess.run([program], cwd=tree, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, timeout=seconds)
        except subprocess.TimeoutExpired:
            return False
        if r.returncode:
            return False
    return True


def main():
    tree = Tree(os.path.join(os.path.abspath(sys.argv[1]), 'tree'), ['engine'])
    survived = []
    begun = time.monotonic()
    if not build_and_run(tree.path, None):
        sys.exit('the engine itself does not pass')
    # What takes so much longer than all of it, compilers included, does not end.
    seconds = max(45, 3 * (time.monotonic() - begun))
    for name, change in LOG.items():
        try:
            with tree.changed(*change):
                passes = build_and_run(tree.path, seconds)
        except Gone as e:
            sys.exit(f'mutant "{name}": {e}')
        print(f'{name}: {"passes" if passes else "caught"}', flush=True)
        if passes:
            survived.append(name)
    print(f'mutants: {len(LOG)}, survived: {len(survived)}')
    return 1 if survived else 0


sys.exit(main())
