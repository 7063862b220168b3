"""Pictures (graphviz) and pages of the machines with the counts in them."""
import os
import shutil
import subprocess

GREY, RED, GREEN, THICK = '#888888', '#cc0000', '#006600', 1000000


def label(row, counts, sources):
    _, _, _, _, event, guard, action, _ = row
    text = event + ('' if guard == 'sm_always' else f' [{guard}]') + f'\\n/ {action}'
    return text + '\\n' + ' '.join(f'{s}:{counts[s].get(row, 0)}' for s in sources
                                   if counts[s].get(row, 0))


def picture(machine, counts, sources):
    keys = [k for k in counts['any'] if k[1] == machine]
    rows = [k for k in keys if k[0] == 'row']
    states = list(dict.fromkeys([k[3] for k in keys]))
    text = [f'digraph {machine} {{', '\trankdir=LR;', '\tnode [shape=box, style=rounded];']
    for state in states:
        answers = [k for k in keys if k[0] == 'answer' and k[3] == state and k[5] != 'bug']
        taken = sum(counts['any'][k] > 0 for k in answers)
        colour = GREEN if taken == len(answers) else RED
        text.append(f'\t{state} [label="{state}\\nanswers {taken}/{len(answers)}", '
                    f'color="{colour}"];')
    for row in rows:
        n = counts['any'][row]
        style = f'color="{GREEN if n else RED}", fontcolor="{"black" if n else RED}", ' \
                f'penwidth={1 + 3 * min(n, THICK) / THICK:.2f}' + \
                (', style=dashed' if row[2] != '1' else '')
        text.append(f'\t{row[3]} -> {row[7]} [label="{label(row, counts, sources)}", {style}];')
    return '\n'.join(text + ['}', ''])


def page(machine, counts, sources):
    keys = [k for k in counts['any'] if k[1] == machine]
    text = [f'# {machine}: what was taken', '',
            '| from | event | guard | action | to | ' + ' | '.join(sources) + ' |',
            '|---' * (5 + len(sources)) + '|']
    for k in keys:
        cells = k[3:8] if k[0] == 'row' else (k[3], k[4], '', k[5], '')
        text.append('| ' + ' | '.join([*cells, *(str(counts[s].get(k, 0)) for s in sources)]) +
                    ' |')
    return '\n'.join(text) + '\n'


def write(folder, counts):
    os.makedirs(folder, exist_ok=True)
    sources = [s for s in counts if s != 'any']
    dot = shutil.which('dot')
    for machine in dict.fromkeys(k[1] for k in counts['any']):
        base = os.path.join(folder, machine)
        with open(base + '.dot', 'w', encoding='utf-8') as f:
            f.write(picture(machine, counts, sources))
        with open(base + '.md', 'w', encoding='utf-8') as f:
            f.write(page(machine, counts, sources))
        if dot:
            subprocess.run([dot, '-Tsvg', base + '.dot', '-o', base + '.svg'], check=False)
