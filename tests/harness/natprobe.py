#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""natprobe.py serve ADDRESS: on UDP ports 4001 and 4002, tells each sender the address that it came from; the text
"other" is answered from the other port, "ADDRESS PORT" sends a datagram there.
natprobe.py ask SERVER OTHER-SERVER: prints what a NAT between here and two servers does, as RFC 4787 names it:
MAPPING (endpoint-independent or -dependent) FILTERING (endpoint-independent or address-and-port-dependent) and whether
the address is translated."""
import select
import socket
import sys


def udp(address, port=0):
    s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    s.bind((address, port))
    return s


def serve(address):
    socks = [udp(address, 4001), udp(address, 4002)]
    print("ready", flush=True)
    while True:
        for s in select.select(socks, [], [])[0]:
            data, sender = s.recvfrom(200)
            words = data.decode().split()
            if words == ["other"]:
                socks[1 - socks.index(s)].sendto(b"from elsewhere", sender)
            elif len(words) == 2:
                s.sendto(b"from elsewhere", (words[0], int(words[1])))
            else:
                s.sendto(f"{sender[0]} {sender[1]}".encode(), sender)


def asked(s, server, port):
    """The own address as the server sees it."""
    for _ in range(5):
        s.sendto(b"", (server, port))
        if select.select([s], [], [], 0.5)[0]:
            host, seen = s.recv(200).decode().split()
            return host, int(seen)
    sys.exit(f"natprobe.py: no answer from {server}:{port}")


def ask(server, other):
    s = udp("::" if ":" in server else "0.0.0.0")
    s.connect((server, 4001))
    own = s.getsockname()
    s = udp(own[0], own[1] + 1 if own[1] < 65535 else 20000)
    own = s.getsockname()
    first = asked(s, server, 4001)
    s.sendto(b"other", (server, 4001))
    port_filtered = not select.select([s], [], [], 0.3)[0]
    if not port_filtered:
        s.recv(200)
    with udp("::" if ":" in other else "0.0.0.0") as side:  # the other server has not heard of s yet
        side.sendto(f"{first[0]} {first[1]}".encode(), (other, 4001))
        address_filtered = not select.select([s], [], [], 0.3)[0]
    if not address_filtered:
        s.recv(200)
    seen = {first, asked(s, server, 4002), asked(s, other, 4001)}
    filtering = {(False, False): "endpoint-independent", (False, True): "address-dependent"}.get(
        (port_filtered, address_filtered), "address-and-port-dependent")
    print("endpoint-independent" if len(seen) == 1 else "endpoint-dependent", filtering,
          "translated" if first[0] != own[0] else "untranslated")


if sys.argv[1] == "serve":
    serve(sys.argv[2])
else:
    ask(*sys.argv[2:4])
