#!/usr/bin/env python3
"""The table of differences between two disks, and whether each is explained.

usage: sg-compare.py HOLDFAST.txt REFERENCE.txt EXPLAINED.txt TABLE.txt

A difference is a line "command | Holdfast | reference | reason". Where both
succeed or fail alike, lines of the output are compared one by one ("-": there is
no such line); where they end otherwise, the whole answers are one difference.
EXPLAINED has such lines, TABLE gets those of this run: a reason that is missing
is "?". Exit status 1: a difference without a reason, or a reason without one."""
import difflib
import re
import sys

NORMAL = (
    (r'/dev/sd[a-z]\b', '/dev/sdX'),
    (r'[\s ]+', ' '),
    (r'\|', '!'),
)


def normal(line):
    for pattern, to in NORMAL:
        line = re.sub(pattern, to, line)
    return line.strip()


def read(path):
    """{command: (lines, status)}, in the order of the file."""
    answers, name, lines = {}, None, []
    with open(path, encoding='utf-8', errors='replace') as f:
        for line in f:
            word, _, rest = line.rstrip('\n').partition(' ')
            if word == 'begin':
                name, lines = rest, []
            elif word == '|':
                if normal(rest):
                    lines.append(normal(rest))
            elif word == 'end':
                answers[name] = lines, rest
    return answers


def key(line):
    """What a line is about: two lines of one key are one difference."""
    return re.split(r'[:=]', line)[0]


def changed(ours, theirs):
    """Pairs of lines of a stretch that differs; None: there is no such line."""
    left = list(theirs)
    for line in ours:
        other = next((x for x in left if key(x) == key(line)), None)
        if other is not None:
            left.remove(other)
        yield line, other
    for line in left:
        yield None, line


def compare(ours, theirs):
    if ours[1] != theirs[1]:
        yield tuple(f'{" / ".join(lines)[:160]} (status {status})'.strip()
                    for lines, status in (ours, theirs))
        return
    matcher = difflib.SequenceMatcher(None, ours[0], theirs[0], autojunk=False)
    for tag, a, b, c, d in matcher.get_opcodes():
        if tag != 'equal':
            yield from changed(ours[0][a:b], theirs[0][c:d])


def differences(ours, theirs):
    for name in ours:
        for a, b in compare(ours[name], theirs[name]):
            yield f'{name} | {a or "-"} | {b or "-"}'


def explained(path):
    reasons = {}
    with open(path, encoding='utf-8') as f:
        for number, line in enumerate(f, 1):
            if line.startswith('#') or not line.strip():
                continue
            difference, _, reason = line.strip().rpartition(' | ')
            if difference.count(' | ') != 2 or not reason:
                sys.exit(f'{path}:{number}: not "command ! Holdfast ! reference ! reason"'
                         .replace('!', '|'))
            reasons[difference] = reason
    return reasons


def main():
    ours, theirs = read(sys.argv[1]), read(sys.argv[2])
    if list(ours) != list(theirs) or not ours:
        sys.exit('the two disks were not asked the same')
    reasons = explained(sys.argv[3])
    found = list(differences(ours, theirs))
    with open(sys.argv[4], 'w', encoding='utf-8') as table:
        print('# command | Holdfast | reference | reason', file=table)
        for difference in found:
            print(f'{difference} | {reasons.get(difference, "?")}', file=table)
    unexplained = [d for d in found if d not in reasons]
    stale = [d for d in reasons if d not in found]
    for d in unexplained:
        print(f'without a reason: {d}')
    for d in stale:
        print(f'a reason without a difference: {d}')
    alike = sum(1 for name in ours if not list(compare(ours[name], theirs[name])))
    print(f'sg: {len(ours)} commands, {alike} answered alike, {len(found)} differences in '
          f'{len(ours) - alike}, {len(unexplained)} of them without a reason, '
          f'{len(stale)} reasons too many')
    return 1 if unexplained or stale else 0


if __name__ == '__main__':
    sys.exit(main())
