"""Mutants of the machines: every row, guard, effect, statement and field.

A mutant is (name, file, offset, length, text instead). Rows come from the .def
files; guards, actions and what they call from the .c files beside them; a field
that is not saved is one that the codec is made to pass over. What is generated
follows the tree: nothing here knows a machine."""
import glob
import os
import re
from collections import namedtuple

Mutant = namedtuple('Mutant', 'name file at length text')

ROW = re.compile(r'^SM_ROW\((\d+),\s*(\w+),\s*(\w+),\s*(\w+),\s*(\w+),\s*(\w+)\)', re.M)
STATE = re.compile(r'^SM_STATE\((\d+),\s*(\w+),\s*(\d+),\s*(SM_\w+),', re.M)
FIELD = re.compile(r'^SM_(?:FIELD|ARRAY)\((\d+),\s*(\w+),\s*(\w+),', re.M)
KIND = re.compile(r'^MACHINE\((\d+),\s*(\w+),', re.M)
OTHERWISE = {'SM_IGNORE': 'SM_REJECT', 'SM_REJECT': 'SM_IGNORE', 'SM_DEFER': 'SM_IGNORE'}
OPERATORS = {' < ': ' <= ', ' <= ': ' < ', ' > ': ' >= ', ' >= ': ' > ', ' == ': ' != ',
             ' != ': ' == ', ' && ': ' || ', ' || ': ' && '}
DECLARES = re.compile(r'\s*(static|const|struct|enum|union|u?int\d*_t|unsigned|bool|size_t|char|int|'
                      r'sm_blob|return|break|case|default|goto|continue|for|while|do|else|if|switch'
                      r'|_Static_assert|#)\b')


def line_of(text, at):
    return text.count('\n', 0, at) + 1


def row(machine, m, group, text, instead):
    since, start, event, guard, action, to = m.groups()
    name = f'{machine}: row {start} on {event} [{guard}] / {action} -> {to}: {text}'
    begin, end = m.span(group)
    return Mutant(name, f'statemachines/{machine}.def', begin, end - begin, instead)


def retiring(code):
    """Functions that end with the instance's end whatever they find: where a row with
    such an action leads to, nobody can tell."""
    functions = {name: code[begin:end] for name, _, begin, end in bodies(masked(code))}
    found, before = {'sm_retire'}, set()
    while found != before:
        before = set(found)
        calls = re.compile(r'^\t(?:%s)\(cx\);' % '|'.join(sorted(before)), re.M)
        found |= {name for name, body in functions.items() if calls.search(body) and 'return' not in body}
    return found


def rows(machine, text, code):
    found = list(ROW.finditer(text))
    states = [m.group(2) for m in STATE.finditer(text)]
    ends = retiring(code)
    ignoring = {m.group(2) for m in STATE.finditer(text) if m.group(4) == 'SM_IGNORE'}
    for i, m in enumerate(found):
        since, start, event, guard, action, to = m.groups()
        # A row that does nothing says only what a state that ignores says without it.
        if not (action == 'sm_nothing' and start == to and guard == 'sm_always' and
                start in ignoring):
            yield row(machine, m, 0, 'gone', '')
        if guard != 'sm_always':
            yield row(machine, m, 4, 'without its guard', 'sm_always')
        if action != 'sm_nothing':
            yield row(machine, m, 5, 'without its action', 'sm_nothing')
        other = start if to != start else states[(states.index(to) + 1) % len(states)]
        if action not in ends:
            yield row(machine, m, 6, f'to {other}', other)
        following = found[i + 1] if i + 1 < len(found) else None
        if following and following.group(2, 3) == (start, event) and \
                following.start() - m.end() < 3:
            both = text[m.end():following.start()]
            name = f'{machine}: rows {start} on {event} [{guard}] and ' \
                   f'[{following.group(4)}]: exchanged'
            yield Mutant(name, f'statemachines/{machine}.def', m.start(),
                         following.end() - m.start(), following.group(0) + both + m.group(0))


def states(machine, text):
    for m in STATE.finditer(text):
        instead = OTHERWISE.get(m.group(4))
        if instead:
            yield Mutant(f'{machine}: state {m.group(2)}: other events {instead}',
                         f'statemachines/{machine}.def', m.start(4), len(m.group(4)), instead)


def fields(machine, kind, text, codec):
    """The codec passes over one field: written by nobody, so read as absent."""
    place = '\t\tif (d->fields[i].since > level)\n\t\t\tcontinue;\n'
    at = codec.index(place)
    for m in FIELD.finditer(text):
        yield Mutant(f'{machine}: field {m.group(3)}: not saved', 'persist/codec.c', at, 0,
                     f'\t\tif (d->kind == {kind} && d->fields[i].id == {m.group(1)})\n'
                     '\t\t\tcontinue;\n')


def masked(text):
    """Comments, strings and preprocessor lines as blanks; lengths stay."""
    def blank(m):
        return re.sub(r'[^\n]', ' ', m.group(0))
    return re.sub(r'/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|^\s*#[^\n]*', blank, text,
                  flags=re.S | re.M)


def bodies(code):
    """(name of the function, begin, end) of every function's body."""
    for m in re.finditer(r'^([^\n;{}]*?(\w+)\([^;{}]*\))\n\{\n', code, re.M):
        end = code.find('\n}', m.end() - 1)
        yield m.group(2), m.group(1), m.end(), end + 1


def statements(code, begin, end):
    """Simple statements of a body: (begin, end)."""
    at = begin
    for m in re.finditer(r'[;{}]|^\s*(?:case [^\n]*|default):$', code[begin:end], re.M):
        stop = begin + m.end()
        piece = code[at:stop]
        if m.group(0) == ';':
            first = len(piece) - len(piece.lstrip())
            control = re.match(r'\s*(?:else\s+)?(?:if|while|for) \(', piece)
            if control:
                first = behind_brackets(piece)
                first += len(piece[first:]) - len(piece[first:].lstrip())
            rest = piece[first:]
            if re.match(r'else\b', rest):
                first += 4 + len(rest[4:]) - len(rest[4:].lstrip())
            yield at + first, stop
        at = stop


def behind_brackets(piece):
    depth, at = 0, piece.index('(')
    for i in range(at, len(piece)):
        depth += {'(': 1, ')': -1}.get(piece[i], 0)
        if depth == 0:
            return i + 1
    return len(piece)


def shown(text):
    text = re.sub(r'\s+', ' ', text).strip()
    return text if len(text) <= 60 else text[:57] + '...'


def code_mutants(name, text):
    code = masked(text)
    for function, head, begin, end in bodies(code):
        where = os.path.basename(name)

        def made(at, stop, instead, what, function=function):
            return Mutant(f'{where}:{line_of(text, at)} {function}(): {what}', name, at, stop - at,
                          instead)
        for at, stop in statements(code, begin, end):
            piece = code[at:stop]
            m = re.match(r'return\b(.*);$', piece, re.S)
            if m and ' bool ' in f' {head}' and m.group(1).strip() not in ('true', 'false'):
                yield made(at, stop, f'return !({text[at + 6:stop - 1].strip()});',
                           f'"{shown(text[at:stop])}": the opposite')
            elif m and m.group(1).strip() in ('true', 'false'):
                other = {'true': 'false', 'false': 'true'}[m.group(1).strip()]
                yield made(at, stop, f'return {other};', f'"{shown(piece)}": the opposite')
            elif not DECLARES.match(piece) and ('=' in piece or '(' in piece or '++' in piece):
                yield made(at, stop, ';', f'"{shown(text[at:stop])}": gone')
        for m in re.finditer(r' (?:<=?|>=?|==|!=|&&|\|\|) ', code[begin:end]):
            at = begin + m.start()
            yield made(at, at + len(m.group(0)), OPERATORS[m.group(0)],
                       f'"{shown(line_at(text, at))}":{m.group(0)}becomes{OPERATORS[m.group(0)]}')
        for m in re.finditer(r'(?<= [-+] )\d+(?=[;,)\] ])', code[begin:end]):
            at = begin + m.start()
            yield made(at, at + len(m.group(0)), str(int(m.group(0)) + 1),
                       f'"{shown(line_at(text, at))}": {m.group(0)} becomes {int(m.group(0)) + 1}')


def line_at(text, at):
    return text[text.rfind('\n', 0, at) + 1:text.find('\n', at)]


def everything(tree):
    """All mutants of @tree, in a fixed order."""
    kinds = {m.group(2): m.group(1) for m in KIND.finditer(tree.read('statemachines/machines.def'))}
    codec = tree.read('persist/codec.c')
    for machine, kind in kinds.items():
        text = tree.read(f'statemachines/{machine}.def')
        yield from rows(machine, text, tree.read(f'statemachines/{machine}.c'))
        yield from states(machine, text)
        yield from fields(machine, kind, text, codec)
    for path in sorted(glob.glob(os.path.join(tree.path, 'statemachines', '*.c'))):
        name = os.path.relpath(path, tree.path)
        if os.path.basename(name).startswith('test_'):
            continue
        yield from code_mutants(name, tree.read(name))


def named(tree):
    """All of them, with names that differ: the second of a line says so."""
    times = {}
    for m in everything(tree):
        times[m.name] = times.get(m.name, 0) + 1
        yield m if times[m.name] == 1 else m._replace(name=f'{m.name} ({times[m.name]})')
