#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""forge.py DEVICE GATEWAY-MAC SRC SPORT DST DPORT COUNT KIND [ARGUMENT...]: COUNT UDP datagrams straight onto the wire,
from any source. KIND:
  data ID             a data packet of that Path ID (hex), with a counter far ahead and random contents
  request ID LEN      type 9 of that Path ID with random contents, LEN bytes
  probe               type 9, suite 15, to a random probe ID, with a random MAC
  unknown             data packets of random Path IDs
  options ID          data, with an IPv4 option (a hop-by-hop header over IPv6)
  fragment ID         data, as a first fragment
  nochecksum ID       data, with UDP checksum 0
  short ID            a header and nothing behind it
  badlength ID        a UDP length that is longer than the packet
  replay FILE         the payload in FILE, as it is"""
import os
import random
import socket
import struct
import sys


def checksum(data):
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def header(kind, path_id, suite=0, counter=0):
    return struct.pack("!BBHIQ", 1 << 4 | kind, suite << 4, 0, counter, path_id)


def payload(kind, args, n):
    if kind == "replay":
        with open(args[0], "rb") as f:
            return f.read()
    if kind == "unknown":
        return header(11, random.getrandbits(64), 0, n) + os.urandom(116)
    if kind == "probe":
        return header(9, random.getrandbits(64), 15) + os.urandom(48)
    path_id = int(args[0], 16)
    if kind == "request":
        return header(9, path_id) + os.urandom(int(args[1]) - 16)
    if kind == "short":
        return header(11, path_id)
    return header(11, path_id, 0, 100000 + n) + os.urandom(116)


def packet(kind, source, sport, target, dport, data):
    """IPv4 or IPv6, and the Ethernet type."""
    length = 8 + len(data) + (100 if kind == "badlength" else 0)
    udp = struct.pack("!HHHH", sport, dport, length, 0) + data
    if ":" in source:
        addresses = socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, target)
        if kind != "nochecksum":
            value = checksum(addresses + struct.pack("!IBBBB", len(udp), 0, 0, 0, 17) + udp) or 0xFFFF
            udp = udp[:6] + struct.pack("!H", value) + udp[8:]
        extra, first = b"", 17
        if kind == "options":
            extra, first = struct.pack("!BBBB4s", 17, 0, 1, 4, bytes(4)), 0
        elif kind == "fragment":
            extra, first = struct.pack("!BBHI", 17, 0, 1, 4711), 44
        return struct.pack("!IHBB", 6 << 28, len(extra) + len(udp), first, 64) + addresses + extra + udp, 0x86DD
    option = b"\x01\x01\x01\x00" if kind == "options" else b""
    flags = 0x2000 if kind == "fragment" else 0x4000
    ip = struct.pack("!BBHHHBBH4s4s", 0x45 + len(option) // 4, 0, 20 + len(option) + len(udp), 4711, flags, 64, 17, 0,
                     socket.inet_aton(source), socket.inet_aton(target)) + option
    return ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:] + udp, 0x0800


def main():
    device, gateway, source, sport, target, dport, count, kind, *args = sys.argv[1:]
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as s:
        s.bind((device, 0))
        own = s.getsockname()[4]
        for n in range(int(count)):
            ip, ethertype = packet(kind, source, int(sport), target, int(dport), payload(kind, args, n))
            s.send(bytes.fromhex(gateway.replace(":", "")) + own + struct.pack("!H", ethertype) + ip)


main()
