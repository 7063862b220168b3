#!/usr/bin/env python3
"""Take one store out of an emulator's VMRUN, which makes nested guests die.

usage: mend-qemu.py BINARY

When an interrupt is injected at VMRUN (APM vol. 2, 15.20), QEMU's helper keeps its vector in the CPU's exception_index
and delivers it. Nothing takes it out again before the next exit: a kick from another thread in between makes the CPU's
loop find it there and deliver it a second time, as a fault. README.md tells what that does to machines. The store has
no reader on this path, because the vector is passed as an argument; the helper is right without it.

The place is looked for by the code around it: the vector's store, exception_is_int = 0, exception_next_eip = -1, a look
at the log's mask, and the call's second argument. It must be found exactly once; else the binary stays as it is.
Prints what was done. Exit status: 0 mended (now or before), 1 not."""
import re
import sys

NOP6 = bytes.fromhex('660f1f440000')
PLACE = re.compile(
    rb'(\x41?\x0f\xb6[\xc0-\xff]'             # movzbl vector, %esi
    rb'\x44?\x89[\x80-\xbf]....)'             # mov    error code, …(env)
    rb'(\x89[\x80-\xbf]....|%s)'              # mov    %%esi, exception_index
    rb'(?=\xc7[\x80-\xbf]....\x00{4}'         # movl   $0, exception_is_int
    rb'\x48\xc7[\x80-\xbf]....\xff{4}'        # movq   $-1, exception_next_eip
    rb'\xf6\x05....\x02\x0f\x85....'          # testb, jne
    rb'\xba\x01\x00\x00\x00)' % re.escape(NOP6), re.DOTALL)


def main():
    path = sys.argv[1]
    with open(path, 'rb') as f:
        code = f.read()
    found = list(PLACE.finditer(code))
    if len(found) != 1:
        print(f'not mended: {len(found)} places like the one that is wrong')
        return 1
    at = found[0].start(2)
    if found[0].group(2) != NOP6:
        with open(path, 'r+b') as f:
            f.seek(at)
            f.write(NOP6)
    print(f'mended at {at:#x}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
