"""Lines and branches of the parts that hold the truth, by gcovr.

A branch that only a fact() can take is the end of the process: it is left out, and so
is engine/coverage.c, which only a build that counts has.
tests/coverage/reasons.txt says why the others that stay are not taken."""
import glob
import json
import os
import re
import subprocess

PARTS = ('engine', 'statemachines', 'persist', 'servicing')
GOAL = {'engine': 95, 'statemachines': 95, 'persist/codec': 95}


def forget(builds):
    for build in builds:
        for path in glob.glob(os.path.join(build, '**', '*.gcda'), recursive=True):
            os.unlink(path)


def measure(build, root, out):
    """gcovr's records of one build, by file."""
    name = os.path.join(out, os.path.basename(build) + '.json')
    filters = [x for p in PARTS for x in ('--filter', f'{p}/(?!test_|partition/test_|coverage.c)')]
    subprocess.run(['gcovr', '--root', root, '--object-directory', build, *filters, '--json', name,
                    '--exclude-lines-by-pattern', r'.*\bfact\(.*',
                    '--exclude-unreachable-branches', '--exclude-throw-branches',
                    '--gcov-ignore-parse-errors', build],
                   check=True, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with open(name, encoding='utf-8') as f:
        return {x['file']: x for x in json.load(f)['files']}


def reasons(root):
    """[(file pattern, text pattern, why)]"""
    found = []
    with open(os.path.join(root, 'tests/coverage/reasons.txt'), encoding='utf-8') as f:
        for line in f:
            if line.strip() and not line.startswith('#'):
                path, text, why = (x.strip() for x in line.split(' | ', 2))
                found.append((re.compile(path), re.compile(text), why))
    return found


def merge(all_files):
    """{file: {line: (count, [branch counts])}}: the variants together."""
    merged = {}
    for files in all_files:
        for path, record in files.items():
            into = merged.setdefault(path, {})
            for line in record['lines']:
                if line.get('gcovr/noncode') or line.get('gcovr/excluded'):
                    continue
                n = line['line_number']
                count, branches = into.get(n, (0, []))
                here = [b['count'] for b in line.get('branches', [])]
                if len(here) == len(branches):
                    here = [x + y for x, y in zip(here, branches)]
                into[n] = (count + line['count'], here or branches)
    return merged


def summary(merged, paths):
    lines = [v for p in paths for v in merged[p].values()]
    branches = [b for _, bs in lines for b in bs]
    return (sum(c > 0 for c, _ in lines), len(lines), sum(b > 0 for b in branches),
            len(branches))


def percent(part, whole):
    return f'{100.0 * part / whole:6.1f}' if whole else '     -'


def report(builds, root, out):
    merged = merge(measure(b, root, out) for b in builds)
    why = reasons(root)
    open_branches, explained = [], 0
    for path in sorted(merged):
        source = open(os.path.join(root, path), encoding='utf-8').read().split('\n')
        for n, (_, branches) in sorted(merged[path].items()):
            left = sum(b == 0 for b in branches)
            if not left:
                continue
            text = source[n - 1].strip()
            known = next((w for p, t, w in why if p.search(path) and t.search(text)), None)
            explained += left if known else 0
            open_branches.append(f'{path}:{n}: {left} of {len(branches)}: {text}'
                                 + (f'  -- {known}' if known else ''))
    with open(os.path.join(out, 'branches.txt'), 'w', encoding='utf-8') as f:
        f.write('\n'.join(open_branches) + '\n')
    print(f'\n{"file":<34}{"lines":>8}{"%":>8}{"branches":>10}{"%":>8}')
    for part in PARTS:
        paths = sorted(p for p in merged if p.startswith(part + '/'))
        for path in [*paths, part]:
            a, b, c, d = summary(merged, paths if path == part else [path])
            print(f'{path if path != part else "all of " + part:<34}{b:>8}{percent(a, b):>8}'
                  f'{d:>10}{percent(c, d):>8}')
    for part, goal in GOAL.items():
        _, _, c, d = summary(merged, [p for p in merged if p.startswith(part)
                                      and not p.startswith('engine/partition')])
        print(f'coverage.branches_pct {part} {percent(c, d).strip()} (goal {goal})')
    print(f'branches not taken: {sum(int(x.split(": ")[1].split()[0]) for x in open_branches)}, '
          f'{explained} of them with a reason: {out}/branches.txt')
