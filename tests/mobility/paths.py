#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Moves the mobile node back and forth, and times from when until each peer sends to its new address. Runs in the mobile
node's network namespace; the peers' is entered to listen on their interface. Prints one JSON object."""
import argparse
import ctypes
import json
import os
import select
import socket
import struct
import time

from mobile import Mobile, read_places
from record import quantile

SO_TIMESTAMPNS = 35
PATIENCE = 5  # s


def listen(namespace, interface):
    """A packet socket in another network namespace; it stays there."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open(f"/var/run/netns/{namespace}", os.O_RDONLY)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(there, 0):
        raise OSError(ctypes.get_errno(), "setns")
    s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
    s.bind((interface, 3))
    if libc.setns(home, 0):
        raise OSError(ctypes.get_errno(), "setns")
    s.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    s.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
    return s


def first_sent(s, address, want, since):
    """{port of a peer: ns after `since`, CLOCK_REALTIME, when it first sent to the address}, and the same of when something
    from the address came to it"""
    wanted, found, told, end = socket.inet_aton(address), {}, {}, time.monotonic() + PATIENCE
    while len(found) < want and time.monotonic() < end:
        if not select.select([s], [], [], 0.1)[0]:
            continue
        data, control, _, sender = s.recvmsg(64, 64)
        seconds, ns = struct.unpack("=qq", control[0][2][:16])
        if sender[2] != socket.PACKET_OUTGOING and data[9] == 17 and data[12:16] == wanted:
            told.setdefault(data[22:24], seconds * 10**9 + ns - since)
        if sender[2] != socket.PACKET_OUTGOING or data[9] != 17 or data[16:20] != wanted:
            continue
        found.setdefault(data[20:22], seconds * 10**9 + ns - since)
    return found, told


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("air")
    p.add_argument("places")
    p.add_argument("peers", help="their namespace")
    p.add_argument("paths", type=int)
    p.add_argument("moves", type=int)
    p.add_argument("at", help="a place")
    p.add_argument("other")
    args = p.parse_args()
    places = read_places(args.places)
    mobile = Mobile(args.air, places, args.at)
    there = [args.other, args.at]
    times, heard, missing = [], [], 0
    for i in range(args.moves):
        s = listen(args.peers, "eth0")
        _, usable = mobile.go(there[i % 2])
        since = usable + time.time_ns() - time.monotonic_ns()
        found, told = first_sent(s, places[there[i % 2]].v4, args.paths, since)
        s.close()
        missing += args.paths - len(found)
        heard.append([v / 1e6 for v in told.values()])
        times.append([v / 1e6 for v in found.values()])
        time.sleep(3)
    print(json.dumps({"paths": args.paths, "moves": args.moves, "missing": missing,
                      "first_ms": [min(t) for t in times], "p50_ms": [quantile(t, 0.5) for t in times],
                      "p99_ms": [quantile(t, 0.99) for t in times], "all_ms": [max(t) for t in times],
                      "told_p50_ms": [quantile(t, 0.5) for t in heard], "told_all_ms": [max(t) for t in heard]}))


main()
