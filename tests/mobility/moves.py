#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Moves the mobile node between two places again and again, under a UDP stream and a TCP connection, and measures each
move. Runs in its network namespace; prints one JSON object."""
import argparse
import json
import signal
import subprocess
import sys
import time

import record
from mobile import Mobile, read_places

PATIENCE = 5  # s
FOLLOWS = 3  # s; copies are to be sent for longer


def arguments():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--air", required=True, help="namespace of the bridges")
    p.add_argument("--places", required=True)
    p.add_argument("--build", required=True)
    p.add_argument("--ntm", required=True, help="runtime directory of the node")
    p.add_argument("--dir", required=True, help="for records")
    p.add_argument("--between", nargs=2, required=True, metavar="PLACE", help="it is at the first")
    p.add_argument("--moves", type=int, default=2, help="between the two, forth and back in turns")
    p.add_argument("--wire", metavar="FILE", help="what netdelay prints: when the machine stood still")
    p.add_argument("--settle", type=float, default=1.0, help="seconds between moves")
    p.add_argument("--rate", type=int, default=250000, help="bytes a second by TCP, each way; 0: no TCP")
    p.add_argument("--burst", type=int, default=0, help="least bytes that TCP is given at a time")
    p.add_argument("--want", nargs=2, required=True, metavar="ROUTE", help="at each place; it has 5 s to get there")
    p.add_argument("--peer", required=True, help="whose path it is, a name; \"gateway\": that to the gateway")
    p.add_argument("--overlap", type=float, help="make before break, both uplinks up for so long")
    p.add_argument("--follows", metavar="DIR", help="with --overlap: first until the peer, an agent with that runtime "
                   "directory, sends to the new uplink (it has 3 s), and is asked whether it goes on to")
    p.add_argument("--carrier", action="store_true", help="with --overlap: the first uplink loses its carrier")
    p.add_argument("--tell-wg", metavar="INTERFACE", help="wireguard-go keeps the address that it sent from until it is told")
    p.add_argument("--stream", action="append", nargs=3, required=True, metavar=("NAME", "ADDRESS", "FILE"),
                   help="a stream's server on port 5100, and where it records")
    p.add_argument("--tcp", metavar="ADDRESS", help="pump.py's server, on port 5101")
    return p.parse_args()


def begin(command, **kw):
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **kw)
    if child.stdout.readline().strip() != "ready":
        child.kill()
        sys.exit(f"moves.py: does not begin: {' '.join(command)}")
    return child


def route(args):
    """What the node says of its path: route, kind where that says more, family of the endpoint."""
    out = subprocess.run([f"{args.build}/ntm", "-r", args.ntm, "paths", "--json"], capture_output=True, text=True,
                         timeout=5, check=False)
    if out.returncode:
        return "unknown"
    up = [p for p in json.loads(out.stdout) if p["state"] == "up"]
    if args.peer == "gateway":
        up = [p for p in up if p.get("gateway")]
    else:
        up = [p for p in up if p["peer"].split(".")[0] == args.peer and not p.get("gateway")]
    if not up:
        return "none"
    p = up[-1]
    family = "IPv6" if p["endpoint"].startswith("[") else "IPv4"
    what = "gateway" if args.peer == "gateway" else p["route"]
    if p.get("kind") in ("lan", "punched"):
        what += " " + {"lan": "LAN"}.get(p["kind"], p["kind"])
    return f"{what}, {family}"


def sends_to(args, place):
    """The peer sends to that place, now."""
    out = subprocess.run([f"{args.build}/ntm", "-r", args.follows, "paths", "--json"], capture_output=True, text=True,
                         timeout=5, check=True)
    return any(p["endpoint"].split(":")[0] == place.v4 for p in json.loads(out.stdout) if p["state"] == "up")


def follows(args, place):
    """The peer sends to that place within some seconds, and goes on to during the overlap."""
    end = time.monotonic() + FOLLOWS
    while not (there := sends_to(args, place)) and time.monotonic() < end:
        time.sleep(0.01)
    end = time.monotonic() + args.overlap
    seen = [there]
    while time.monotonic() < end:
        seen.append(sends_to(args, place))
        time.sleep(0.01)
    return seen.count(False) <= 1  # a machine that stands still for a second lets it go for a moment


def settled(args, want):
    """The route wanted, or that after some seconds."""
    end = time.monotonic() + PATIENCE
    while not (reached := route(args)).startswith(want) and time.monotonic() < end:
        time.sleep(0.1)
    return reached


def resumed(files, usable):
    """Waits, for some seconds, until something came after that moment in each of the streams' records."""
    end = time.monotonic() + PATIENCE
    while not all(record.last(f) > usable for f in files) and time.monotonic() < end:
        time.sleep(0.01)


def pauses(path):
    """[(begin, end)], ns: when the wire was late."""
    found = []
    with open(path, encoding="ascii") as f:
        for line in f:
            words = line.split()
            if len(words) == 4 and words[0] == "late":
                found.append((int(words[3]) - 1000 * int(words[1]), int(words[3])))
    return found


def main():
    args = arguments()
    mobile = Mobile(args.air, read_places(args.places), args.between[0])
    streams = []
    for name, address, theirs in args.stream:
        ours = f"{args.dir}/{name}.down"
        streams.append((name, ours, theirs, begin([f"{args.build}/tests/mobility/stream", "run", address, "5100", ours])))
    tcp = None
    if args.tcp and args.rate:
        tcp = begin([f"{sys.path[0]}/pump.py", "run", args.tcp, "5101", str(args.rate), str(args.burst)], stdin=subprocess.PIPE)
    time.sleep(args.settle)
    begun = time.monotonic_ns()
    log = []
    for i in range(args.moves):
        old, new = args.between if i % 2 == 0 else reversed(args.between)
        followed = []
        if args.overlap is None:
            left, usable = mobile.go(new)
        elif args.carrier:
            left, usable = mobile.lose(new, args.overlap)
        else:
            left, usable = mobile.prefer(new, args.overlap, args.follows and (lambda p: followed.append(follows(args, p))))
        if args.tell_wg:
            subprocess.run(["wg", "set", args.tell_wg, "listen-port", "51820"], check=True)
        time.sleep(args.settle)
        resumed(streams[0][1:3], usable)
        until = time.monotonic_ns()
        reached = settled(args, args.want[1 - i % 2])
        if args.carrier:
            mobile.mend()
            time.sleep(args.settle)
        log.append({"from": old, "to": new, "left": left, "usable": usable, "until": until, "route": reached,
                    "followed": followed[0] if followed else None,
                    "late": time.monotonic_ns() - until > 100_000_000})
    ended = time.monotonic_ns()
    result = {"moves": log, "streams": {}, "tcp": None}
    if tcp:
        try:
            result["tcp"] = json.loads(tcp.communicate("\n", timeout=60)[0])
        except (json.JSONDecodeError, subprocess.TimeoutExpired) as e:
            tcp.kill()
            result["tcp"] = {"why": f"no report: {type(e).__name__}"}
    time.sleep(0.2)
    for name, ours, theirs, child in streams:
        child.send_signal(signal.SIGTERM)
        child.wait()
        down, up = record.read(ours), record.read(theirs)
        figures = result["streams"][name] = {"down": [], "up": [], "lost": [record.lost(r, begun, ended) for r in (down, up)]}
        for m in log:
            for way, records in (("down", down), ("up", up)):
                figures[way].append(record.interruption(records, m["left"], m["usable"], m["until"]))
    still = pauses(args.wire) if args.wire else []
    for m in log:
        # what delays an answer on its way within the time in which it is awaited
        m["paused_ms"] = max((min(e, m["usable"] + 300_000_000) - max(b, m["left"]) for b, e in still
                              if e > m["left"] and b < m["usable"] + 300_000_000), default=0) / 1e6
    print(json.dumps(result))


main()
