#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""tcp.py serve ADDRESS PORT: takes one connection, prints the SHA-256 of what came, tells the sender the count.
tcp.py send ADDRESS PORT: sends standard input, fails unless the server counted as much.
tcp.py flood ADDRESS PORT FILE: sends until FILE is there, fails as send does, prints the SHA-256 of what it sent."""
import hashlib
import itertools
import os
import socket
import sys

what, address, port = sys.argv[1:4]
family = socket.AF_INET6 if ":" in address else socket.AF_INET
if what == "serve":
    with socket.create_server((address, int(port)), family=family) as listener:
        conn, _ = listener.accept()
        digest, count = hashlib.sha256(), 0
        while True:
            data = conn.recv(1 << 18)
            if not data:
                break
            digest.update(data)
            count += len(data)
        conn.sendall(b"%d\n" % count)
        conn.close()
    print(digest.hexdigest())
else:
    if what == "send":
        source = [sys.stdin.buffer.read()]
    else:
        block = os.urandom(1 << 20)
        source = itertools.takewhile(lambda _: not os.path.exists(sys.argv[4]),
                                     (b"%d " % i + block for i in itertools.count()))
    digest, count = hashlib.sha256(), 0
    with socket.create_connection((address, int(port)), timeout=30) as conn:
        for data in source:
            conn.sendall(data)
            if what == "flood":
                digest.update(data)
            count += len(data)
        conn.shutdown(socket.SHUT_WR)
        answer = conn.recv(64)
    if answer.strip() != b"%d" % count:
        sys.exit(f"tcp.py: server got {answer!r} of {count} bytes")
    if what == "flood":
        print(digest.hexdigest())
