#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""tcp.py serve ADDRESS PORT: takes one connection, prints the SHA-256 of what came, tells the sender the count.
tcp.py send ADDRESS PORT: sends standard input, fails unless the server counted as much."""
import hashlib
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
    data = sys.stdin.buffer.read()
    with socket.create_connection((address, int(port)), timeout=30) as conn:
        conn.sendall(data)
        conn.shutdown(socket.SHUT_WR)
        answer = conn.recv(64)
    if answer.strip() != b"%d" % len(data):
        sys.exit(f"tcp.py: server got {answer!r} of {len(data)} bytes")
