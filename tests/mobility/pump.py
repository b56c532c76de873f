#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""pump.py serve ADDRESS PORT: sends back all that comes on each TCP connection, until it is ended.
pump.py run ADDRESS PORT BYTES-PER-SECOND BURST: keeps that much random data going to it and back, BURST bytes at a time if
that is more than what has come due since the last look, until standard input ends;
then waits for the rest, compares checksums, prints {"bytes": N, "stall_ms": longest time without a byte, "stalls": [[ms,
its end by CLOCK_MONOTONIC, s]] of the long ones, "why": null, or what is wrong}, and ends by status 1 if anything is."""
import hashlib
import json
import os
import select
import socket
import sys
import time

PATIENCE = 15  # s without a byte, at the end
TICK = 0.005
LONG = 0.5  # s


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def serve(address, port):
    listener = socket.create_server((address, port), family=family(address))
    print("ready", flush=True)
    waiting = {}  # connection: bytes not sent back yet
    while True:
        full = [c for c in waiting if len(waiting[c]) > 1 << 22]
        readable, writable, _ = select.select([listener, *(c for c in waiting if c not in full)],
                                              [c for c in waiting if waiting[c]], [])
        if listener in readable:
            conn = listener.accept()[0]
            conn.setblocking(False)
            waiting[conn] = bytearray()
            readable.remove(listener)
        for conn in set(readable) | set(writable):
            try:
                if conn in readable:
                    data = conn.recv(1 << 16)
                    if not data:
                        raise ConnectionResetError
                    waiting[conn] += data
                if waiting[conn]:
                    del waiting[conn][:conn.send(waiting[conn])]
            except BlockingIOError:
                pass
            except OSError:
                conn.close()
                del waiting[conn]


def report(count, stall, stalls, why):
    print(json.dumps({"bytes": count, "stall_ms": round(stall * 1000), "stalls": stalls, "why": why}), flush=True)
    sys.exit(1 if why else 0)


def run(address, port, rate, burst):
    conn = socket.create_connection((address, port), timeout=10)
    conn.setblocking(False)
    print("ready", flush=True)
    sent, got = hashlib.sha256(), hashlib.sha256()
    n_sent = n_got = 0
    stall, stalls, pending = 0.0, [], b""
    block = os.urandom(1 << 16)
    start = heard = time.monotonic()
    ending = False
    while not ending or n_got < n_sent:
        now = time.monotonic()
        due = not ending and (now - start) * rate > n_sent + len(pending) + burst
        if due and not pending:
            pending = os.urandom(16) + block[:max(1, min(len(block), int((now - start) * rate) - n_sent)) - 1]
        readable, writable, _ = select.select([conn] if ending else [conn, sys.stdin], [conn] if pending else [], [], TICK)
        if sys.stdin in readable and not sys.stdin.readline():
            ending, pending = True, b""
        try:
            if conn in readable:
                data = conn.recv(1 << 18)
                if not data:
                    report(n_got, stall, stalls, "the connection was closed")
                got.update(data)
                n_got += len(data)
                silent, heard = time.monotonic() - heard, time.monotonic()
                stall = max(stall, silent)
                if silent > LONG:
                    stalls.append([round(silent * 1000), round(heard, 3)])
            if conn in writable and pending:
                n = conn.send(pending)
                sent.update(pending[:n])
                n_sent, pending = n_sent + n, pending[n:]
        except BlockingIOError:
            pass
        except OSError as e:
            report(n_got, stall, stalls, f"the connection broke: {e}")
        if ending and time.monotonic() - heard > PATIENCE:
            report(n_got, time.monotonic() - heard, stalls, f"only {n_got} of {n_sent} bytes came back")
    report(n_got, stall, stalls, None if sent.digest() == got.digest() else "the checksums differ")


if sys.argv[1] == "serve":
    serve(sys.argv[2], int(sys.argv[3]))
else:
    run(sys.argv[2], *map(int, sys.argv[3:6]))
