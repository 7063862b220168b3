#!/usr/bin/env python3
"""hostile_client.py STATE SEED SECONDS FILE...: what a mad operator would send to
DIR/control: every request and notice with random arguments, with and without a
descriptor, half packets, and requests nobody waits for. Ends the VM: never."""
import os
import random
import socket
import struct
import sys
import time

MAGIC, NOTICE = 0x44464C48, 'IIQII1024s'
CUSTODY, NOTICE_OP, SERVICE, KILL, CONSOLE, WAIT, END, DISK = range(1, 9)
SHUTDOWN, POWER_OFF = 4, 5
state, seed, seconds, files = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4:]
r = random.Random(seed)
answers = {}


def number(bits):
    return r.choice((0, 1, 2, r.getrandbits(4), 1 << r.randrange(bits), (1 << bits) - 1,
                     r.getrandbits(bits), 0x10003 % (1 << bits)))


def data():
    kind = r.randrange(4)
    if kind == 0:
        return bytes(1024)
    if kind == 1:
        return r.randbytes(1024)
    if kind == 2:  # a disk's description, of small and of extreme numbers
        return struct.pack('<QIIHHHHQQ', number(64), r.choice((0, 1, 512, 4096, number(32))), number(5),
                           number(9), number(3), number(6), number(16), number(64), number(64))
    return b'M.E.F\0' * r.randrange(1, 170)


def request():
    op = r.choice((NOTICE_OP,) * 6 + (SERVICE, DISK, DISK, DISK, CUSTODY, CONSOLE, WAIT, number(32)))
    if op in (KILL, END):
        op = NOTICE_OP
    notice = r.choice((number(32), r.randrange(0, 24)))
    while notice in (SHUTDOWN, POWER_OFF):
        notice = r.randrange(6, 20)
    argument = number(32) or 1  # 0: what the guest beside works with, which may be taken away
    size = r.choice((0, 8, 64, 1024, 1025, number(32)))
    body = struct.pack('<IIIIQ' + NOTICE, r.choice((MAGIC,) * 30 + (number(32),)), op, number(32), 0, number(64),
                       notice, argument, number(64), number(32), size, data())
    if r.randrange(40) == 0:
        body = body[:r.randrange(1, len(body))]
    return op, notice, body


def ancillary():
    if r.randrange(2):
        return []
    fds = [os.open(r.choice(files), os.O_RDONLY) for _ in range(r.choice((1, 1, 1, 2)))]
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f'{len(fds)}i', *fds))], fds


end, count = time.monotonic() + seconds, 0
while time.monotonic() < end:
    count += 1
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.settimeout(r.choice((0.0005, 0.02)))
    try:
        s.connect(state + '/control')
        for _ in range(r.choice((1, 1, 1, 4))):
            op, notice, body = request()
            anc = ancillary()
            if anc:
                s.sendmsg([body], anc[0])
                for fd in anc[1]:
                    os.close(fd)
            else:
                s.send(body)
            reply = s.recv(4096)
            if len(reply) >= 16:
                status = struct.unpack_from('<I', reply)[0]
                answers[(op, status)] = answers.get((op, status), 0) + 1
    except (TimeoutError, BlockingIOError, BrokenPipeError, ConnectionResetError):
        pass
    s.close()
print(f'{count} connections, {sum(answers.values())} answers of {len(answers)} kinds')
