#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""flow.py NAME VIP4 VIP6 PEER=VIP4=VIP6...: one node's traffic with every peer, until it is ended: a numbered UDP
datagram over IPv4 each 40 ms, which the peer acknowledges, and TCP transfers over IPv6, one after the other, whose SHA-256
the peer tells.

  go      on standard input: every peer listens, transfers may begin
  back    prints "back MS" once every peer has acknowledged a datagram that was sent after this line
  end     no new transfers; prints a line of JSON with what was counted when those under way are done

Counted as wrong: a datagram that came twice, one for another node, one that is not as its sender made it, a transfer with
another checksum, or one that did not end within two minutes."""
import hashlib
import json
import os
import random
import select
import socket
import struct
import sys
import threading
import time

MARK = b"chaos-secret-payload"  # never to be seen on a wire
EVERY = 0.04
PORT, TCP_PORT = 5010, 5011
TRANSFER_S = 120

name, vip4, vip6 = sys.argv[1:4]
peers = {}
for text in sys.argv[4:]:
    peer, a4, a6 = text.split("=")
    peers[peer] = {"v4": a4, "v6": a6, "seq": 0, "acked": -1, "sent": {}, "seen": set()}
count = {"sent": 0, "acked": 0, "twice": 0, "misdelivered": 0, "damaged": 0, "transfers": 0, "bytes": 0, "failed": []}
ending, going = threading.Event(), threading.Event()


def datagram(kind, sender, receiver, seq):
    head = struct.pack("!c16s16sQ", kind, sender.encode(), receiver.encode(), seq)
    return head + MARK + hashlib.sha256(head).digest()


def read(data):
    """(kind, sender, receiver, number), or None if this is not what somebody sent."""
    if len(data) != 41 + len(MARK) + 32 or hashlib.sha256(data[:41]).digest() != data[-32:]:
        return None
    kind, sender, receiver, seq = struct.unpack("!c16s16sQ", data[:41])
    return kind, sender.rstrip(b"\0").decode(), receiver.rstrip(b"\0").decode(), seq


def serve():
    listener = socket.create_server((vip6, TCP_PORT), family=socket.AF_INET6, backlog=16)
    while True:
        conn, _ = listener.accept()
        threading.Thread(target=answer, args=(conn,), daemon=True).start()


def answer(conn):
    try:
        conn.settimeout(TRANSFER_S)
        digest, left = hashlib.sha256(), struct.unpack("!Q", conn.recv(8, socket.MSG_WAITALL))[0]
        while left:
            data = conn.recv(min(left, 1 << 16))
            if not data:
                return
            digest.update(data)
            left -= len(data)
        conn.sendall(digest.digest())
    except (OSError, struct.error):
        pass  # its sender counts it
    finally:
        conn.close()


def transfer(address):
    data = MARK + os.urandom(random.randrange(20000, 400000))
    with socket.create_connection((address, TCP_PORT), timeout=TRANSFER_S) as conn:
        conn.sendall(struct.pack("!Q", len(data)) + data)
        if conn.recv(32, socket.MSG_WAITALL) != hashlib.sha256(data).digest():
            raise ValueError("another checksum")
    return len(data)


def transfers():
    going.wait()
    while not ending.is_set():
        peer = random.choice(list(peers))
        try:
            count["bytes"] += transfer(peers[peer]["v6"])
            count["transfers"] += 1
        except (OSError, ValueError) as e:
            count["failed"].append(f"{name} to {peer}: {e}")
        ending.wait(0.2)


def take(sock, data, sender):
    m = read(data)
    if not m:
        count["damaged"] += 1
        return
    kind, who, to, seq = m
    if to != name or who not in peers:
        count["misdelivered"] += 1
        return
    p = peers[who]
    if kind == b"D":
        if seq in p["seen"]:
            count["twice"] += 1
        p["seen"].add(seq)
        try:
            sock.sendto(datagram(b"A", name, who, seq), sender)
        except OSError:
            pass  # no route for the moment
    elif p["sent"].pop(seq, None):
        count["acked"] += 1
        p["acked"] = max(p["acked"], seq)


def main():
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((vip4, PORT))
    threading.Thread(target=serve, daemon=True).start()
    worker = threading.Thread(target=transfers)
    worker.start()
    print("ready", flush=True)
    next_send, back, waiting = time.monotonic(), None, b""
    said = False
    while True:
        if ending.is_set() and not worker.is_alive() and not said:
            print(json.dumps(count), flush=True)  # and goes on answering the others
            said = True
        ready, _, _ = select.select([sock, 0] if not ending.is_set() else [sock], [], [],
                                    max(0, min(next_send - time.monotonic(), EVERY)))
        if sock in ready:
            data, sender = sock.recvfrom(2048)
            take(sock, data, sender)
        if 0 in ready:
            chunk = os.read(0, 4096)
            waiting += chunk
            *lines, waiting = waiting.split(b"\n")
            if b"go" in lines:
                going.set()
            if b"back" in lines:
                back = time.monotonic(), {p: peers[p]["seq"] for p in peers}
            if b"end" in lines or not chunk:
                ending.set()
                going.set()
        if back and all(peers[p]["acked"] >= seq for p, seq in back[1].items()):
            print(f"back {(time.monotonic() - back[0]) * 1000:.0f}", flush=True)
            back = None
        if time.monotonic() >= next_send:
            next_send = max(next_send + EVERY, time.monotonic())
            for peer, p in peers.items():
                p["sent"][p["seq"]] = True
                count["sent"] += 1
                try:
                    sock.sendto(datagram(b"D", name, peer, p["seq"]), (p["v4"], PORT))
                except OSError:
                    pass  # no route for the moment
                p["seq"] += 1
                p["sent"].pop(p["seq"] - 2000, None)


main()
