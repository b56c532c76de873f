#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""dnsd.py ADDRESS PORT: an upstream name server for tests, UDP and TCP. A is 192.0.2.80, TXT says where it is from, big.*
has an answer that does not fit UDP, none.* is NXDOMAIN. Each question is printed to stderr."""
import socket
import socketserver
import struct
import sys


def answer(query, tcp):
    qid, flags, _, _, _, _ = struct.unpack("!6H", query[:12])
    pos, labels = 12, []
    while query[pos]:
        labels.append(query[pos + 1:pos + 1 + query[pos]].decode("ascii", "replace").lower())
        pos += 1 + query[pos]
    question = query[12:pos + 5]
    qtype = struct.unpack("!H", query[pos + 1:pos + 3])[0]
    print(".".join(labels), qtype, file=sys.stderr, flush=True)
    records, rcode = [], 0
    if labels[0] == "none":
        rcode = 3
    elif labels[0] == "big":
        records = [bytes([60]) + b"%060d" % i for i in range(40)]
    elif qtype == 1:
        records = [bytes([192, 0, 2, 80])]
    elif qtype == 16:
        records = [b"\x0dfrom upstream"]
    body = b"".join(b"\xc0\x0c" + struct.pack("!HHIH", qtype, 1, 60, len(r)) + r for r in records)
    truncated = 0
    if not tcp and len(body) > 400:
        body, records, truncated = b"", [], 0x200
    flags = 0x8080 | (flags & 0x0100) | truncated | rcode
    return struct.pack("!6H", qid, flags, 1, len(records), 0, 0) + question + body


class Udp(socketserver.BaseRequestHandler):
    def handle(self):
        data, sock = self.request
        sock.sendto(answer(data, False), self.client_address)


class Tcp(socketserver.StreamRequestHandler):
    def handle(self):
        head = self.rfile.read(2)
        while len(head) == 2:
            reply = answer(self.rfile.read(struct.unpack("!H", head)[0]), True)
            self.wfile.write(struct.pack("!H", len(reply)) + reply)
            head = self.rfile.read(2)


class TcpServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    address_family = socket.AF_INET
    daemon_threads = True


if __name__ == "__main__":
    import threading

    where = (sys.argv[1], int(sys.argv[2]))
    with TcpServer(where, Tcp) as tcp_server, socketserver.ThreadingUDPServer(where, Udp) as udp_server:
        threading.Thread(target=tcp_server.serve_forever, daemon=True).start()
        udp_server.serve_forever()
