#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""udp.py echo ADDRESS PORT: sends back what comes, until an empty datagram. udp.py ask ADDRESS PORT: asks it with many
sizes, compares. udp.py send ADDRESS PORT COUNT SIZE [random|TYPE]: COUNT datagrams, of random bytes, or with a header
of this protocol of that TYPE (or "mixed") and random bytes behind it. udp.py forge ADDRESS PORT COUNT PATH-ID EPOCH:
data of that path with high counters and wrong tags."""
import os
import random
import socket
import struct
import sys


def open_socket(address):
    return socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)


def echo(s, where):
    s.bind(where)
    while True:
        data, sender = s.recvfrom(65535)
        if not data:
            return
        s.sendto(data, sender)


def ask(s, where):
    s.settimeout(3)
    s.connect(where)
    for size in [1, 2, 63, 64, 65, 500, 1000, 1199, 1200, 1232, 1300, 1350, 1400]:
        data = os.urandom(size)
        s.send(data)
        if s.recv(65535) != data:
            sys.exit(f"udp.py: {size} bytes came back changed")
    s.send(b"")


def send(s, where, count, size, kind="random"):
    rnd = random.Random(1)
    for _ in range(count):
        n = rnd.randrange(size + 1) if kind != "full" else size
        data = rnd.randbytes(n)
        if kind != "random":
            t = rnd.choice([1, 2, 3, 4, 9, 10, 11, 15]) if kind in ("mixed", "full") else int(kind)
            # exact lengths of the handshakes are the ones that cost the receiver something
            data = {1: rnd.randbytes(152), 9: rnd.randbytes(160)}.get(t, data)
            data = struct.pack("!BBHIQ", 1 << 4 | t, 0, 0, 0, rnd.getrandbits(64)) + data[16:]
        try:
            s.sendto(data, where)
        except (BlockingIOError, ConnectionRefusedError):
            pass


def forge(s, where, count, path_id, epoch):
    for i in range(count):
        s.sendto(struct.pack("!BBHIQ", 1 << 4 | 11, epoch, 0, 1000000 + i, path_id) + os.urandom(116), where)


what, address, port = sys.argv[1:4]
with open_socket(address) as sock:
    if what == "echo":
        echo(sock, (address, int(port)))
    elif what == "ask":
        ask(sock, (address, int(port)))
    elif what == "forge":
        forge(sock, (address, int(port)), int(sys.argv[4]), int(sys.argv[5], 16), int(sys.argv[6]))
    else:
        send(sock, (address, int(port)), int(sys.argv[4]), int(sys.argv[5]), *sys.argv[6:7])
