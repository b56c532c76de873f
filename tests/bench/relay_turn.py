#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""relay_turn.py SERVER PORT OWN-ADDRESS OWN-PORT PEER PEER-PORT: allocates at a TURN server without authentication, binds
channel 0x4000 to the peer (RFC 8656), and prints "bound". For each number on standard input it then sends as many
ChannelData messages of 160 bytes, 64 in a millisecond, and prints "sent". Ends with standard input."""
import os
import socket
import struct
import sys
import time

COOKIE = 0x2112A442
ALLOCATE, CHANNEL_BIND = 0x0003, 0x0009
CHANNEL_NUMBER, LIFETIME, XOR_PEER_ADDRESS, REQUESTED_TRANSPORT = 0x000C, 0x000D, 0x0012, 0x0019


def attribute(kind, value):
    return struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4)


def xor_address(host, port):
    number = struct.unpack("!I", socket.inet_aton(host))[0] ^ COOKIE
    return struct.pack("!BBHI", 0, 1, port ^ COOKIE >> 16, number)


def ask(s, method, *attributes):
    body = b"".join(attributes)
    txid = os.urandom(12)
    message = struct.pack("!HHI", method, len(body), COOKIE) + txid + body
    for _ in range(10):
        s.send(message)
        try:
            data = s.recv(2000)
        except TimeoutError:
            continue
        kind, _, _ = struct.unpack("!HHI", data[:8])
        if data[8:20] == txid:
            if kind != method | 0x0100:
                sys.exit(f"relay_turn.py: method {method:#x} is refused: {data.hex()}")
            return
    sys.exit(f"relay_turn.py: method {method:#x} is not answered")


def main():
    server, port, own, own_port, peer, peer_port = sys.argv[1:7]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind((own, int(own_port)))
        s.connect((server, int(port)))
        s.settimeout(0.5)
        ask(s, ALLOCATE, attribute(REQUESTED_TRANSPORT, bytes([17, 0, 0, 0])), attribute(LIFETIME, struct.pack("!I", 600)))
        ask(s, CHANNEL_BIND, attribute(CHANNEL_NUMBER, struct.pack("!HH", 0x4000, 0)),
            attribute(XOR_PEER_ADDRESS, xor_address(peer, int(peer_port))))
        print("bound", flush=True)
        data = struct.pack("!HH", 0x4000, 160) + bytes(160)
        for line in sys.stdin:
            due = time.monotonic()
            for i in range(int(line)):
                if i % 64 == 0:
                    due += 0.001
                    time.sleep(max(0, due - time.monotonic()))
                s.send(data)
            print("sent", flush=True)


main()
