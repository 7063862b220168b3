#!/usr/bin/env python3
"""Style as a test: direction of includes, sizes of files and functions, words
that do not belong in a product. Prints one line a finding, exits 1 on any."""
import os
import re
import subprocess
import sys

ALLOWED = {
    'engine': {'engine'},
    'statemachines': {'engine', 'statemachines'},
    'devices': {'engine', 'statemachines', 'devices'},
    'persist': {'engine', 'persist'},
    'servicing': {'engine', 'statemachines', 'devices', 'persist', 'servicing'},
}
FILE_LINES, FUNCTION_LINES = 1000, 70
COLUMNS, TEST_COLUMNS = 100, 150
WORDS = re.compile(r'\b(TODO|FIXME|XXX|HACK)\b|\bfor now\b|\bplaceholder\b', re.I)

found = []


def say(path, line, text):
    found.append(f'{path}:{line}: {text}')


def width(line):
    n = 0
    for c in line:
        n = (n // 8 + 1) * 8 if c == '\t' else n + 1
    return n


def is_test(path):
    return os.path.basename(path).startswith('test_')


def includes(path, lines):
    part = path.split('/')[0]
    if part not in ALLOWED or is_test(path):
        return
    for i, l in enumerate(lines, 1):
        m = re.match(r'\s*#\s*include\s+"([^"]+)"', l)
        if not m:
            continue
        d = m.group(1).split('/')[0]
        if d not in ALLOWED:
            say(path, i, f'includes "{m.group(1)}": write the path from the top')
        elif d not in ALLOWED[part]:
            say(path, i, f'{part} may not include {d}')
        if '<ev.h>' in l and path != 'engine/loop.c':
            say(path, i, 'only engine/loop.c knows libev')


def functions(path, lines):
    start = None
    for i, l in enumerate(lines, 1):
        if l.startswith('{'):
            start = i
        elif l.startswith('}') and start:
            if i - start - 1 > FUNCTION_LINES:
                say(path, start, f'a function of {i - start - 1} lines (at most {FUNCTION_LINES})')
            start = None


def main():
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
    files = subprocess.run(['git', 'ls-files', '-co', '--exclude-standard'], capture_output=True,
                           text=True, check=True).stdout.split()
    n = 0
    for path in files:
        if not path.endswith(('.c', '.h', '.def', '.py', '.sh')) or not os.path.isfile(path):
            continue
        n += 1
        lines = open(path, encoding='utf-8').read().split('\n')
        if len(lines) - 1 > FILE_LINES:
            say(path, len(lines), f'{len(lines) - 1} lines (a file is a noun, under {FILE_LINES})')
        for i, l in enumerate(lines, 1):
            # A member's comment stays on its line, in headers.
            if (path.endswith('.c') or (path.endswith('.h') and '/*' not in l)) and \
                    width(l) > (COLUMNS if path.split('/')[0] in ALLOWED else TEST_COLUMNS) \
                    and '"' not in l:
                say(path, i, f'{width(l)} columns')
            if WORDS.search(l) and path != 'tests/tidy.py':
                say(path, i, 'speaks of unfinished work')
            if l != l.rstrip():
                say(path, i, 'blank at the end of the line')
        if path.endswith(('.c', '.h', '.def')):
            includes(path, lines)
        if path.endswith('.c'):
            functions(path, lines)
    for f in found:
        print(f)
    print(f'tidy: {n} files, {len(found)} findings')
    return 1 if found else 0


sys.exit(main())
