#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""relay_frame.py DST-MAC SRC-MAC FROM PORT TO PORT PATH-ID: writes one Ethernet frame with an IPv4 UDP datagram of
160 bytes, a data packet of this protocol."""
import socket
import struct
import sys

LEN = 160


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def main():
    dst, src, saddr, sport, daddr, dport, path_id = sys.argv[1:8]
    payload = struct.pack("!BBHIQ", 1 << 4 | 11, 0, 0, 1, int(path_id, 16)) + bytes(LEN - 16)
    udp = struct.pack("!HHHH", int(sport), int(dport), 8 + len(payload), 0) + payload
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0x4000, 64, 17, 0,
                     socket.inet_aton(saddr), socket.inet_aton(daddr))
    ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
    mac = [bytes.fromhex(m.replace(":", "")) for m in (dst, src)]
    sys.stdout.buffer.write(mac[0] + mac[1] + b"\x08\x00" + ip + udp)


main()
