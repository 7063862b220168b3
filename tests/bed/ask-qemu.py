#!/usr/bin/env python3
"""Ask QEMU's monitor and print what it says: where an emulated machine stands that has fallen silent.

usage: ask-qemu.py SOCKET COMMAND..."""
import socket
import sys

PROMPT = b'(qemu) '


def until_prompt(s):
    said = b''
    while not said.endswith(PROMPT):
        more = s.recv(65536)
        if not more:
            break
        said += more
    return said


def main():
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(10)
        s.connect(sys.argv[1])
        until_prompt(s)
        for command in sys.argv[2:]:
            s.sendall(command.encode() + b'\n')
            # The first line is the command, as a terminal would see it typed.
            print(until_prompt(s).decode(errors='replace').replace('\r', '').partition('\n')[2])
    return 0


sys.exit(main())
