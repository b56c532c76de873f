#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""udp.py echo ADDRESS PORT: sends back what comes, until an empty datagram. udp.py ask ADDRESS PORT: asks it with many
sizes, compares. udp.py send ADDRESS PORT COUNT SIZE [random|TYPE]: COUNT datagrams, of random bytes, or with a header
of this protocol of that TYPE (or "mixed") and random bytes behind it. udp.py forge ADDRESS PORT COUNT PATH-ID EPOCH:
data of that path with high counters and wrong tags. udp.py flood ADDRESS PORT RATE SECONDS PATH-ID EPOCH: forgeries at RATE a
second: by turns such data, data of unknown paths, and Tunnel Requests; prints how many."""
import os
import random
import socket
import struct
import sys
import time


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


def flood(s, where, rate, seconds, path_id, epoch):
    s.connect(where)
    tail = os.urandom(116)
    made = [struct.pack("!BBHIQ", 1 << 4 | 11, epoch, 0, 1000000 + i, path_id) + tail if i % 3 == 0 else
            struct.pack("!BBHIQ", 1 << 4 | 11, epoch, 0, i, random.getrandbits(64)) + tail if i % 3 == 1 else
            struct.pack("!BBHIQ", 1 << 4 | 9, 0, 0, 0, random.getrandbits(64)) + os.urandom(144) for i in range(3000)]
    begin, sent = time.monotonic(), 0
    while (past := time.monotonic() - begin) < seconds:
        due = int(past * rate)
        for _ in range(min(due - sent, 500)):
            try:
                s.send(made[sent % len(made)])
            except (BlockingIOError, ConnectionRefusedError):
                pass
            sent += 1
        if sent >= due:
            time.sleep(0.002)
    print(sent)


what, address, port = sys.argv[1:4]
with open_socket(address) as sock:
    if what == "echo":
        echo(sock, (address, int(port)))
    elif what == "ask":
        ask(sock, (address, int(port)))
    elif what == "forge":
        forge(sock, (address, int(port)), int(sys.argv[4]), int(sys.argv[5], 16), int(sys.argv[6]))
    elif what == "flood":
        flood(sock, (address, int(port)), int(sys.argv[4]), float(sys.argv[5]), int(sys.argv[6], 16), int(sys.argv[7]))
    else:
        send(sock, (address, int(port)), int(sys.argv[4]), int(sys.argv[5]), *sys.argv[6:7])
