#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Moves the mobile node back and forth, and times for each of its peers from when the new address is usable: until a packet
from there has left the node, until one arrives at the peer, and until the peer sends there, all by the kernel's stamps. Runs
in the mobile node's network namespace; two others are entered to listen: the network's, where the node's wire ends (at the
node it would take a tenth of its time), and the peers'. Prints one JSON object."""
import argparse
import ctypes
import json
import os
import socket
import struct
import time

from mobile import Mobile, read_places
from record import quantile

SO_TIMESTAMPNS, SO_RCVBUFFORCE = 35, 33
PATIENCE = 5  # s, in which all is written down and nothing is looked at
OUTER_UDP = struct.Struct("!9xB2x4s4sHH")  # IPv4 without options: protocol, addresses; ports


def listen(interface, namespace):
    """A packet socket in another network namespace."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    libc = ctypes.CDLL(None, use_errno=True)
    there = os.open(f"/var/run/netns/{namespace}", os.O_RDONLY)
    if libc.setns(there, 0):
        raise OSError(ctypes.get_errno(), "setns")
    os.close(there)
    s = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
    s.bind((interface, 3))
    if libc.setns(home, 0):
        raise OSError(ctypes.get_errno(), "setns")
    os.close(home)
    s.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    s.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
    s.setblocking(False)
    return s


def packets(s):
    """(leaves this host, source address and port, destination address and port, CLOCK_REALTIME in ns) of UDP over IPv4."""
    while True:
        try:
            data, control, _, sender = s.recvmsg(64, 64)
        except BlockingIOError:
            return
        if len(data) < OUTER_UDP.size or data[0] != 0x45:
            continue
        protocol, source, destination, sport, dport = OUTER_UDP.unpack_from(data)
        if protocol == socket.IPPROTO_UDP:
            seconds, ns = struct.unpack("=qq", control[0][2][:16])
            yield sender[2] == socket.PACKET_OUTGOING, (source, sport), (destination, dport), seconds * 10**9 + ns


def first(s, address, since):
    """{peer: ms after `since`}: of the first packet from the address that arrives, and of the first to it that leaves."""
    address, there, back = socket.inet_aton(address), {}, {}
    for out, source, destination, at in packets(s):
        if source[0] == address and not out:
            there.setdefault(destination, (at - since) / 1e6)
        elif destination[0] == address and out:
            back.setdefault(source, (at - since) / 1e6)
    return there, back


def summary(kind, moves):
    quantiles = (("first", 0), ("p50", 0.5), ("p99", 0.99), ("all", 1))
    return {f"{kind}_{name}_ms": [quantile(list(t.values()), q) for t in moves] for name, q in quantiles}


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
    sent, told, followed, missing = [], [], [], 0
    for i in range(args.moves):
        place = places[there[i % 2]]
        far, near = listen("eth0", args.peers), listen(place.iface + "_b", args.air)
        _, usable = mobile.go(place.name)
        since = usable + time.time_ns() - time.monotonic_ns()
        time.sleep(PATIENCE)
        came, back = first(far, place.v4, since)
        gone, _ = first(near, place.v4, since)
        far.close()
        near.close()
        missing += args.paths - len(back)
        # of the peers alone: the node tells its DC, too
        sent.append({peer: gone[peer] for peer in back})
        told.append({peer: came[peer] for peer in back})
        followed.append(back)
    print(json.dumps({"paths": args.paths, "moves": args.moves, "missing": missing, **summary("sent", sent),
                      **summary("told", told), **summary("followed", followed)}))


main()
