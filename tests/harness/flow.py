#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""flow.py serve ADDRESS PORT: echoes UDP datagrams, and what comes on TCP connections, until it is ended.
flow.py run ADDRESS PORT: sends it a numbered UDP datagram and 500 bytes of TCP every 10 ms. For each line on standard
input prints "UDP-SENT UDP-LOST UDP-GAP TCP-GAP" since the line before: datagrams, and the longest times in ms that no
answer came. It does that when every datagram sent until then was answered or is lost: one that was sent 300 ms later
was answered, or none at all for 5 s. So a machine that is slow loses nothing. Ends with the line "end", by status 1 if
TCP does not give back every byte within 10 s more."""
import select
import socket
import struct
import sys
import time

TICK = 0.01
LATE = 0.3  # an answer does not come so much later than that to another datagram
SILENT = 5
BLOCK = 500


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def serve(address, port):
    udp = socket.socket(family(address), socket.SOCK_DGRAM)
    udp.bind((address, port))
    listener = socket.create_server((address, port), family=family(address))
    print("ready", flush=True)
    conns = []
    while True:
        for s in select.select([udp, listener, *conns], [], [])[0]:
            if s is udp:
                data, sender = udp.recvfrom(2000)
                udp.sendto(data, sender)
            elif s is listener:
                conns.append(listener.accept()[0])
            else:
                data = s.recv(1 << 16)
                if data:
                    s.sendall(data)
                else:
                    s.close()
                    conns.remove(s)


class Gap:
    """The longest time between answers."""

    def __init__(self):
        self.longest, self.last = 0.0, time.monotonic()

    def answer(self):
        now = time.monotonic()
        self.longest, self.last = max(self.longest, now - self.last), now

    def take(self):
        self.longest, longest = 0.0, max(self.longest, time.monotonic() - self.last)
        return longest * 1000


class Flow:
    def __init__(self, address, port):
        self.udp = socket.socket(family(address), socket.SOCK_DGRAM)
        self.udp.connect((address, port))
        self.tcp = socket.create_connection((address, port), timeout=10)
        self.tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.tcp.setblocking(False)
        self.open = {}  # number: when it was sent
        self.number = self.marked = self.answered = self.tcp_sent = self.tcp_got = 0  # answered: the latest, when it was sent
        self.marks = []  # number and time of the last datagram before it
        self.gaps = Gap(), Gap()

    def send(self):
        self.open[self.number] = time.monotonic()
        try:
            self.udp.send(struct.pack("!Q", self.number) + bytes(100))
        except OSError:
            pass  # counts as lost
        self.number += 1
        try:
            self.tcp_sent += self.tcp.send(bytes(BLOCK))
        except BlockingIOError:
            pass

    def receive(self, timeout):
        for s in select.select([self.udp, self.tcp], [], [], max(0, timeout))[0]:
            try:
                data = s.recv(1 << 16)
            except (BlockingIOError, ConnectionRefusedError):
                continue
            if s is self.udp:
                sent = self.open.pop(struct.unpack("!Q", data[:8])[0], None)
                if sent is not None:
                    self.answered = max(self.answered, sent)
                    self.gaps[0].answer()
            else:
                if not data:
                    sys.exit("flow.py: TCP was closed")
                self.tcp_got += len(data)
                self.gaps[1].answer()

    def wait(self, seconds, done=lambda: False):
        end = time.monotonic() + seconds
        while not done() and time.monotonic() < end:
            self.receive(end - time.monotonic())

    def mark(self):
        self.marks.append((self.number, time.monotonic()))

    def report(self):
        """The first mark, when nothing before it is in doubt."""
        number, at = self.marks[0]
        waiting = [n for n in self.open if n < number]
        if waiting and self.answered < at + LATE and time.monotonic() < at + SILENT:
            return
        for n in waiting:
            del self.open[n]
        print(number - self.marked, len(waiting), *(f"{g.take():.0f}" for g in self.gaps), flush=True)
        self.marked = number
        self.marks.pop(0)


def run(address, port):
    flow = Flow(address, port)
    print("ready", flush=True)
    due = time.monotonic()
    while True:
        flow.send()
        due = max(due + TICK, time.monotonic() - TICK)
        while (left := due - time.monotonic()) > 0:
            if select.select([sys.stdin], [], [], 0)[0]:
                if sys.stdin.readline() in ("", "end\n"):
                    flow.wait(10, lambda: flow.tcp_got == flow.tcp_sent)
                    sys.exit(0 if flow.tcp_got == flow.tcp_sent else
                             f"flow.py: TCP gave back {flow.tcp_got} of {flow.tcp_sent} bytes")
                flow.mark()
            flow.receive(left)
        if flow.marks:
            flow.report()


{"serve": serve, "run": run}[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
