#!/usr/bin/env python3
"""Mutants of the log and the pipeline: each is a change of one place, built in
a copy of the engine, and must be caught by the engine's own tests.

usage: run.py WORKDIR"""
import os
import subprocess
import sys

from tree import Gone, Tree

# name: (file, text that stands there once, what the mutant has instead)
MUTANTS = {
    'drop one log record': (
        'engine/log.c', '\tmake_place(lw, log_cost(len));\n\tput(lw, &copy, payload);',
        '\tif (h->seq == 9 && h->type == LOG_EVENT)\n\t\treturn;\n'
        '\tmake_place(lw, log_cost(len));\n\tput(lw, &copy, payload);'),
    'reorder two log records': (
        'engine/lane.c', '\t\tret_at[i] = append_turn(l, type, ev.seq, ev.time_ns, &t);',
        '\t\tret_at[i] = append_turn(l, type, ev.seq == 9 ? 10 : ev.seq == 10 ? 9 : ev.seq, ev.time_ns, &t);'),
    'skip one append': (
        'engine/lane.c', '\tmemcpy(payload + sizeof(c), t->effects, t->bytes);\n',
        '\tif (seq == 9)\n\t\treturn l->staged[0];\n\tmemcpy(payload + sizeof(c), t->effects, t->bytes);\n'),
    'effects before the confirm is committed': (
        'engine/lane.c', '\tperform_staged(l, n, at, 0);\n',
        '\tl->log.words->tail -= 8;\n\tperform_staged(l, n, at, 0);\n\tl->log.words->tail += 8;\n'),
    'DONE before the effects': (
        'engine/lane.c', '\tperform_staged(l, n, at, 0);\n',
        '\tatomic_store(&l->log.words->done, l->seq);\n\tperform_staged(l, n, at, 0);\n'),
    'redo forgets the last turn': (
        'engine/lane.c', 'h->seq <= atomic_load(&l->log.words->done)',
        'h->seq <= atomic_load(&l->log.words->done) + 1'),
    'the source position is not saved': (
        'engine/world.c', '\t\tw->lane.source_pos[ev->source] = ev->source_pos;\n',
        '\t\tw->lane.source_pos[ev->source] = ev->source_pos / 2 * 2;\n'),
    'the chain forgets the payload': (
        'engine/log.c', 'return h->len ? XXH3_64bits_withSeed(payload, h->len, chain) : chain;',
        'return payload || !payload ? chain : 0;'),
}
TESTS = ['log', 'world', 'lane']
# Without the loop (libev), the sandbox (libseccomp), and what only a build that counts has.
LEFT_OUT = ('loop.c', 'coverage.c', 'sandbox.c')


def build_and_run(tree):
    """True: all tests pass."""
    parts = [f'engine/{p}' for p in sorted(os.listdir(os.path.join(tree, 'engine')))
             if p.endswith('.c') and not p.startswith('test_') and p not in LEFT_OUT]
    for test in TESTS:
        program = os.path.join(tree, 'test_' + test)
        sources = [f'engine/test_{test}.c', *parts]
        subprocess.run(['gcc', '-std=c17', '-D_GNU_SOURCE', '-O1', '-I.', *sources, '-o', program,
                        '-lcriterion', '-lxxhash', '-luring', '-pthread'], cwd=tree, check=True)
        try:
            r = subprocess.run([program], cwd=tree, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, timeout=45)
        except subprocess.TimeoutExpired:
            return False
        if r.returncode:
            return False
    return True


def main():
    tree = Tree(os.path.join(os.path.abspath(sys.argv[1]), 'tree'), ['engine'])
    survived = []
    if not build_and_run(tree.path):
        sys.exit('the engine itself does not pass')
    for name, change in MUTANTS.items():
        try:
            with tree.changed(*change):
                passes = build_and_run(tree.path)
        except Gone as e:
            sys.exit(f'mutant "{name}": {e}')
        print(f'{name}: {"passes" if passes else "caught"}', flush=True)
        if passes:
            survived.append(name)
    print(f'mutants: {len(MUTANTS)}, survived: {len(survived)}')
    return 1 if survived else 0


sys.exit(main())
