#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""mitm.py IF-A IF-B SEED: the wire between two interfaces, which belongs to an attacker. Every frame is passed on, but to
datagrams of UDP port 4680 more happens: some come again, at once and later, also back to where they came from, and from an
address of the attacker's; some are held back and come after others; of some, copies come cut short, made longer, or with bits
flipped, with right checksums; of a few, only such a copy. Says "elsewhere" once it has sent MANY from its own address. Ends with
SIGTERM and prints, as JSON, how often it did what."""
import collections
import json
import random
import select
import signal
import socket
import struct
import sys
import time

PORT = 4680
KEPT = 2000  # frames to be replayed later
ELSEWHERE_S = 5  # only what is so old comes from elsewhere, too: whoever is first with a packet may move its endpoint
MANY = 20
ELSEWHERE = 0x77  # last byte of the attacker's address, the rest is the sender's
ETH_P_ALL = 3

rnd = random.Random(int(sys.argv[3]))
count = collections.Counter()


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


class Datagram:
    """A frame with UDP in it, unfragmented and without options; take() says whether it is one."""

    def take(self, frame):
        self.frame, proto = frame, frame[12:14]
        if proto == b"\x08\0" and len(frame) >= 42 and frame[14] == 0x45 and frame[23] == 17 and not frame[20] & 0x3F:
            self.l4 = 34
        elif proto == b"\x86\xdd" and len(frame) >= 62 and frame[20] == 17:
            self.l4 = 54
        else:
            return False
        ports = struct.unpack_from("!HH", frame, self.l4)
        return PORT in ports

    def payload(self):
        return self.frame[self.l4 + 8:]

    def with_payload(self, data, source=None):
        """The frame with another payload, or last byte of the source, lengths and checksums right."""
        head, n = bytearray(self.frame[:self.l4 + 8]), len(data) + 8
        if source:
            head[29 if self.l4 == 34 else 37] = source
        struct.pack_into("!H", head, self.l4 + 4, n)
        struct.pack_into("!H", head, self.l4 + 6, 0)
        if self.l4 == 34:
            struct.pack_into("!H", head, 16, n + 20)
            struct.pack_into("!H", head, 24, 0)
            struct.pack_into("!H", head, 24, ~checksum(bytes(head[14:34])) & 0xFFFF)
            pseudo = bytes(head[26:34])
        else:
            struct.pack_into("!H", head, 18, n)
            pseudo = bytes(head[22:54])
        total = checksum(pseudo + struct.pack("!HH", 17, n) + bytes(head[self.l4:]) + data)
        struct.pack_into("!H", head, self.l4 + 6, (~total & 0xFFFF) or 0xFFFF)
        return bytes(head) + data


def flipped(data):
    if not data:
        return data
    out = bytearray(data)
    for _ in range(rnd.choice([1, 1, 1, 8])):
        bit = rnd.randrange(len(out) * 8)
        out[bit // 8] ^= 1 << bit % 8
    return bytes(out)


def changed(datagram):
    """(what was done, frame)"""
    data, what = datagram.payload(), rnd.choice(["flipped", "flipped", "cut", "longer", "header"])
    if what == "flipped":
        data = flipped(data)
    elif what == "cut":
        data = data[:rnd.randrange(len(data) + 1)]
    elif what == "longer":
        data = data + rnd.randbytes(rnd.randrange(1, max(2, min(64, 1460 - len(data)))))
    else:
        data = flipped(data[:16]) + data[16:]
    return what, datagram.with_payload(data)


def main():
    ends = []
    for name in sys.argv[1:3]:
        s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        s.setsockopt(263, 23, 1)  # SOL_PACKET, PACKET_IGNORE_OUTGOING
        s.bind((name, 0))
        ends.append(s)
    kept = [[], []]  # (when, frame) by the end that they came from
    held = [[], []]
    datagram = Datagram()

    def put(end, frame):
        try:
            ends[end].send(frame)
        except OSError:
            count["refused"] += 1

    def keep(came, frame):
        item = time.monotonic(), frame
        if len(kept[came]) < KEPT:
            kept[came].append(item)
        else:
            kept[came][rnd.randrange(KEPT)] = item

    def from_elsewhere(came):
        when, frame = rnd.choice(kept[came])
        old = Datagram()
        if time.monotonic() - when < ELSEWHERE_S or not old.take(frame):
            return []
        count["from elsewhere"] += 1
        if count["from elsewhere"] == MANY:
            print("elsewhere", flush=True)
        return [old.with_payload(old.payload(), ELSEWHERE)]

    def attack(came):
        """What to send instead of the datagram, to the other end."""
        frame, out = datagram.frame, []
        if rnd.random() < 0.01:
            what, other = changed(datagram)
            count[f"replaced, {what}"] += 1
            return [other]
        if rnd.random() < 0.1 and len(held[came]) < 40:
            held[came].append([rnd.randrange(1, 30), frame])
            count["held"] += 1
        else:
            out.append(frame)
        if rnd.random() < 0.2:
            what, other = changed(datagram)
            count[what] += 1
            out.insert(rnd.randrange(len(out) + 1), other)
        if rnd.random() < 0.1:
            out.append(frame)
            count["again"] += 1
        if kept[came] and rnd.random() < 0.1:
            out.append(rnd.choice(kept[came])[1])
            count["again, later"] += 1
        if kept[came] and rnd.random() < 0.1:
            out += from_elsewhere(came)
        if kept[came] and rnd.random() < 0.02:  # to its own sender: addresses and ports as in an answer
            own = rnd.choice(kept[came])[1]
            at, n = (26, 4) if own[12:14] == b"\x08\0" else (22, 16)
            l4 = at + 2 * n
            back = own[6:12] + own[:6] + own[12:at] + own[at + n:l4] + own[at:at + n] + own[l4 + 2:l4 + 4] + own[l4:l4 + 2] + own[l4 + 4:]
            put(came, back)
            count["back to its sender"] += 1
        keep(came, frame)
        return out

    def release(came):
        for item in held[came]:
            item[0] -= 1
        out = [item[1] for item in held[came] if item[0] <= 0]
        held[came][:] = [item for item in held[came] if item[0] > 0]
        return out

    def end(*_):
        print(json.dumps(count), flush=True)
        sys.exit(0)

    signal.signal(signal.SIGTERM, end)
    print("ready", flush=True)
    while True:
        for s in select.select(ends, [], [], 0.05)[0] or ends:
            came = ends.index(s)
            try:
                frame = s.recv(65535, socket.MSG_DONTWAIT)
            except BlockingIOError:
                for late in release(came):  # nothing else is under way
                    put(1 - came, late)
                continue
            out = attack(came) if datagram.take(frame) else [frame]
            for frame in out + release(came):
                count["sent"] += 1
                put(1 - came, frame)


main()
