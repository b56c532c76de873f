#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""walk.py serve ADDRESS PORT BYTES: sends so many random bytes to the first that connects; prints their SHA-256.
walk.py run ADDRESS PORT BYTES AIR PLACES START=LABEL PLACE=LABEL...: fetches them, in the mobile node's namespace, and goes
to one place after another meanwhile, in equal shares of the bytes. Prints one JSON object: when how much had come, the
moves, the SHA-256."""
import hashlib
import json
import os
import socket
import sys
import threading
import time

from mobile import Mobile, read_places

PATIENCE = 20  # s without a byte
SAMPLE = 0.01


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def serve(address, port, count):
    block = memoryview(os.urandom(1 << 24))
    digest = hashlib.sha256()
    with socket.create_server((address, port), family=family(address)) as listener:
        print("ready", flush=True)
        conn, _ = listener.accept()
        sent = 0
        while sent < count:
            at = sent % len(block)
            piece = block[at:at + min(1 << 18, count - sent)]
            conn.sendall(piece)
            digest.update(piece)
            sent += len(piece)
        conn.close()
    print(digest.hexdigest(), flush=True)


class Fetch(threading.Thread):
    def __init__(self, address, port, count):
        super().__init__(daemon=True)
        self.conn = socket.create_connection((address, port), timeout=PATIENCE)
        self.count, self.got, self.samples, self.why = count, 0, [], None
        self.digest = hashlib.sha256()

    def run(self):
        last = 0.0
        try:
            while data := self.conn.recv(1 << 18):
                self.digest.update(data)
                self.got += len(data)
                now = time.monotonic()
                if now - last > SAMPLE:
                    self.samples.append((now, self.got))
                    last = now
        except OSError as e:
            self.why = f"the connection broke: {e}"
        self.samples.append((time.monotonic(), self.got))
        if not self.why and self.got != self.count:
            self.why = f"{self.got} of {self.count} bytes came"


def run(address, port, count, air, places, start, *stops):
    here, label = start.split("=")
    mobile = Mobile(air, read_places(places), here)
    fetch = Fetch(address, port, count)
    result = {"begin": time.monotonic(), "start": label, "moves": []}
    fetch.start()
    for i, stop in enumerate(stops):
        while fetch.is_alive() and fetch.got < count * (i + 1) // (len(stops) + 1):
            time.sleep(0.005)
        if not fetch.is_alive():
            break
        name, label = stop.split("=")
        left, usable = mobile.go(name)
        result["moves"].append({"left": left / 1e9, "usable": usable / 1e9, "label": label, "at": fetch.got})
    fetch.join()
    result |= {"end": time.monotonic(), "samples": fetch.samples, "sha256": fetch.digest.hexdigest(), "bytes": fetch.got,
               "why": fetch.why or (None if len(result["moves"]) == len(stops) else "it ended before all moves were made")}
    for m in result["moves"]:
        after = [t for t, n in fetch.samples if t > m["usable"] and n > m["at"]]
        m["stall_ms"] = round((after[0] - m["left"]) * 1000) if after else None
    print(json.dumps(result))


if sys.argv[1] == "serve":
    serve(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
else:
    run(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), *sys.argv[5:])
