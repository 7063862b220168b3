#!/usr/bin/env python3
"""One byte changed anywhere in ring, checkpoint, LMDB file, exported log, half of the
changes with every checksum made to fit (tests/e2e/mutate.sh). A round of ROUND changes,
of a VM of its own, that were all refused with a word or came to what the log says is one
line of the record file, so that a run that was interrupted goes on where it stopped.

usage: mutations.py BUILD-A BUILD-B TOOLS RECORD [--mutations N] [--check]

TOOLS is the build whose programs do the loads and replays: one with sanitizers. --check
only looks at the record."""
import argparse
import os
import re
import subprocess
import sys

import record

ROUND = {'COUNT': 500, 'ARCHIVE_COUNT': 300, 'EXPORT_COUNT': 200}
SMALL = {'KEEP': '2M', 'EXPORT_EVENTS': '1000', 'SECONDS_OF_LOAD': '600'}
SECONDS = 1500
CUSTODY = re.compile(r'^(ring|slot|slot head|words) +refused=(\d+) \((\d+) by a fact\) same=(\d+) '
                     r'shorter=(\d+) legal=(\d+)$', re.M)
FILES = re.compile(r'^(archive|export) mutations=(\d+) refused=(\d+) equal=(\d+)(?: shorter=(\d+))?',
                   re.M)


def one_round(a, b, tools, seed):
    """The round as the record has it, or None: a change was taken for the truth."""
    env = dict(os.environ, SEED=str(seed), **SMALL, **{k: str(v) for k, v in ROUND.items()})
    done = subprocess.run(['timeout', str(SECONDS), 'tests/e2e/mutate.sh', a, b, tools], env=env,
                          capture_output=True, text=True, check=False)
    row = {'seed': seed, 'tools': os.path.basename(os.path.realpath(tools)), 'mutations': 0}
    for m in CUSTODY.finditer(done.stdout):
        row[m[1]] = {k: int(n) for k, n in zip(('refused', 'by_a_fact', 'same', 'shorter', 'legal'),
                                                m.groups()[1:])}
    for m in FILES.finditer(done.stdout):
        row[m[1]] = {'refused': int(m[3]), 'equal': int(m[4]), 'shorter': int(m[5] or 0)}
    kinds = [row[k] for k in ('ring', 'slot', 'slot head', 'words', 'archive', 'export') if k in row]
    row['mutations'] = sum(n for kind in kinds for k, n in kind.items() if k != 'by_a_fact')
    if done.returncode or row['mutations'] != sum(ROUND.values()):
        print(done.stdout[-3000:], done.stderr[-1000:], sep='\n')
        return None
    return row


def main():
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), '../..'))
    p = argparse.ArgumentParser()
    p.add_argument('a')
    p.add_argument('b')
    p.add_argument('tools')
    p.add_argument('record')
    p.add_argument('--mutations', type=int, default=10**4)
    p.add_argument('--check', action='store_true')
    o = p.parse_args()
    mark = record.mark()
    rows = record.rows(o.record, mark)
    while not o.check and sum(r['mutations'] for r in rows) < o.mutations:
        row = one_round(o.a, o.b, o.tools, len(rows) + 1)
        if row is None:
            return 1
        record.add(o.record, mark, row)
        rows.append(row)
    made = sum(r['mutations'] for r in rows)
    print(f'mutations: {made} in {len(rows)} rounds')
    return 0 if made >= o.mutations else 1


sys.exit(main())
