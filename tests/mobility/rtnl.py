# SPDX-License-Identifier: BSD-2-Clause
"""What a DHCP client or a modem manager does to an interface, by rtnetlink and so within microseconds: each call returns
when the kernel has done it."""
import os
import socket
import struct

NEWLINK, GETLINK, NEWADDR, DELADDR, NEWROUTE, DELROUTE, NEWNEIGH = 16, 18, 20, 21, 24, 25, 28
REQUEST, ACK, REPLACE, CREATE = 1, 4, 0x100, 0x400
ERROR = 2
IFF_UP, IFF_RUNNING = 1, 0x40
ADDR_NODAD = 2
PERMANENT = 0x80
MAIN, BOOT, UNIVERSE, UNICAST = 254, 3, 0, 1


def attribute(kind, data):
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def packed(address):
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


class Rtnl:
    """Of the network namespace that this process is in. Raises OSError."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self.socket.bind((0, 0))
        self.number = 0

    def ask(self, kind, flags, body):
        """The messages that answer, up to the acknowledgement."""
        self.number += 1
        self.socket.send(struct.pack("=IHHII", 16 + len(body), kind, REQUEST | ACK | flags, self.number, 0) + body)
        answers = []
        while True:
            data = self.socket.recv(65536)
            while data:
                size, kind, _, number, _ = struct.unpack_from("=IHHII", data)
                message, data = data[16:size], data[(size + 3) & ~3:]
                if number != self.number:
                    continue
                if kind != ERROR:
                    answers.append(message)
                    continue
                status = -struct.unpack_from("=i", message)[0]
                if status:
                    raise OSError(status, os.strerror(status))
                return answers

    def link(self, name, up):
        self.ask(NEWLINK, 0, struct.pack("=BxHiII", 0, 0, socket.if_nametoindex(name), IFF_UP if up else 0, IFF_UP))

    def running(self, name):
        answer = self.ask(GETLINK, 0, struct.pack("=BxHiII", 0, 0, socket.if_nametoindex(name), 0, 0))[0]
        return bool(struct.unpack_from("=BxHiI", answer)[3] & IFF_RUNNING)

    def address(self, name, address, prefix, add=True):
        body = struct.pack("=BBBBi", family(address), prefix, ADDR_NODAD if ":" in address else 0, UNIVERSE,
                           socket.if_nametoindex(name))
        body += attribute(1, packed(address)) + attribute(2, packed(address))
        self.ask(NEWADDR if add else DELADDR, CREATE | REPLACE if add else 0, body)

    def default(self, name, gateway, metric, add=True):
        body = struct.pack("=BBBBBBBBI", family(gateway), 0, 0, 0, MAIN, BOOT, UNIVERSE, UNICAST if add else 0, 0)
        body += attribute(4, struct.pack("=i", socket.if_nametoindex(name))) + attribute(5, packed(gateway))
        body += attribute(6, struct.pack("=I", metric))
        self.ask(NEWROUTE if add else DELROUTE, CREATE | REPLACE if add else 0, body)

    def neighbour(self, name, address, mac):
        body = struct.pack("=BxxxiHBB", family(address), socket.if_nametoindex(name), PERMANENT, 0, 0)
        body += attribute(1, packed(address)) + attribute(2, bytes.fromhex(mac.replace(":", "")))
        self.ask(NEWNEIGH, CREATE | REPLACE, body)
