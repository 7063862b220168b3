#!/usr/bin/env python3
"""The model's transitions are those of the servicing machine: every T(FROM, EVENT,
TO) of docs/servicing.pml is a row of statemachines/servicing.def that changes the
state, and every such row is in the model."""
import pathlib
import re
import sys

root = pathlib.Path(__file__).resolve().parents[2]
table = (root / 'statemachines/servicing.def').read_text()
model = (root / 'docs/servicing.pml').read_text()
if len(sys.argv) > 1:
    model = pathlib.Path(sys.argv[1]).read_text()
rows = {(m[1], m[2], m[3]) for m in
        re.finditer(r'SM_ROW\(\d+,\s*(\w+),\s*(\w+),\s*\w+,\s*\w+,\s*(\w+)\)', table) if m[1] != m[3]}
steps = {m.groups() for m in re.finditer(r'\bT\(([A-Z_]+), ([A-Z_]+), ([A-Z_]+)\)', model)}
for missing in sorted(rows - steps):
    print('not in the model: %s --%s--> %s' % missing)
for extra in sorted(steps - rows):
    print('not in the machine: %s --%s--> %s' % extra)
if rows != steps or not rows:
    sys.exit(1)
print('%d transitions, the same in both' % len(rows))
