#!/usr/bin/env python3
"""Take two faults of the emulated VMRUN out of a QEMU, which make nested guests die.

usage: mend-qemu.py BINARY

1. When an interrupt is injected at VMRUN (APM vol. 2, 15.20), the helper keeps its vector in the CPU's exception_index and
   delivers it. Nothing takes it out again before the next exit: a kick from another thread in between makes the CPU's loop
   find it there and deliver it a second time, as a fault. The store has no reader on this path, because the vector is
   passed as an argument: it becomes a no-op.
2. When an interrupt window is asked for (V_IRQ), the helper sets its bit in interrupt_request by an OR that is not atomic,
   while the thread of the timers may set another bit there. The timer's interrupt is then lost, and if that was L1's only
   one, L1 never runs again: its interrupt stays pending in the local APIC (IRR 236, ISR none) while L2 spins. The OR becomes
   a locked one of the byte in question. (QEMU's later sources have an atomic one.)

The places are looked for by the code around them and must be found exactly once; else the binary stays as it is. README.md
tells what the faults do to machines. Prints what was done. Exit status: 0 mended (now or before), 1 not."""
import re
import sys

NOP2, NOP6 = bytes.fromhex('6690'), bytes.fromhex('660f1f440000')
VECTOR = re.compile(
    rb'(\x41?\x0f\xb6[\xc0-\xff]'             # movzbl vector, %%esi
    rb'\x44?\x89[\x80-\xbf]....)'             # mov    error code, …(env)
    rb'(\x89[\x80-\xbf]....|%s)'              # mov    %%esi, exception_index
    rb'(?=\xc7[\x80-\xbf]....\x00{4}'         # movl   $0, exception_is_int
    rb'\x48\xc7[\x80-\xbf]....\xff{4}'        # movq   $-1, exception_next_eip
    rb'\xf6\x05....\x02\x0f\x85....'          # testb, jne
    rb'\xba\x01\x00\x00\x00)' % re.escape(NOP6), re.DOTALL)
VIRQ = re.compile(
    rb'(\x81[\x88-\x8b\x8d-\x8f]....\x00\x01\x00\x00'      # orl      $0x100, interrupt_request
    rb'|\xf0\x80[\x88-\x8b\x8d-\x8f]....\x01\x66\x90)',    # lock orb $1, its second byte; nop
    re.DOTALL)
NEAR = 0x400         # VIRQ lies so far before VECTOR, in the same function


def locked(code):
    """The locked OR that does what @code does."""
    if code[0] == 0xf0:
        return code
    place = int.from_bytes(code[2:6], 'little', signed=True) + 1
    return b'\xf0\x80' + code[1:2] + place.to_bytes(4, 'little', signed=True) + b'\x01' + NOP2


def main():
    path = sys.argv[1]
    with open(path, 'rb') as f:
        code = f.read()
    vectors = list(VECTOR.finditer(code))
    if len(vectors) != 1:
        print(f'not mended: {len(vectors)} places like the injection that is wrong')
        return 1
    at = vectors[0].start(2)
    windows = list(VIRQ.finditer(code, at - NEAR, at))
    if len(windows) != 1:
        print(f'not mended: {len(windows)} places like the interrupt window that is wrong')
        return 1
    with open(path, 'r+b') as f:
        f.seek(at)
        f.write(NOP6)
        f.seek(windows[0].start())
        f.write(locked(windows[0].group(0)))
    print(f'mended at {at:#x} and {windows[0].start():#x}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
