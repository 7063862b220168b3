#!/usr/bin/env python3
"""A page's two halves as C: what lies before and behind the line DATA.
usage: embed.py PAGE.html OUT.c"""
import sys


def array(name, text):
    """Numbers: a string that long is beyond what C promises."""
    codes = [str(c) for c in text.encode('ascii')] + ['0']
    lines = [', '.join(codes[i:i + 20]) for i in range(0, len(codes), 20)]
    return f'const char {name}[] = {{\n\t' + ',\n\t'.join(lines) + '\n};\n'


source, target = sys.argv[1:]
with open(source, encoding='ascii') as f:
    head, tail = f.read().split('DATA\n')
with open(target, 'w', encoding='ascii') as f:
    f.write('/* Made from page.html. */\n#include "servicing/page.h"\n\n')
    f.write(array('page_head', head) + '\n' + array('page_tail', tail))
