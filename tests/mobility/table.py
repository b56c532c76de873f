#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""table.py [--brief]: the records of `run`, one JSON object a line, from standard input as a Markdown table; --brief as
lines of text, and status 1 if a connection did not survive or a route is not the one wanted."""
import json
import sys

from record import quantile

RTT = 20  # ms, of world.sh
PAUSE = 5  # ms: netdelay's LATE_US
PLACE = {"g1": "G", "g2": "G", "g1v6": "G", "g2v6": "IPv6", "g1x": "dual", "g2v4": "IPv4", "a1": "P(A)", "a2": "P(A)", "b": "P(B)",
         "c": "P(C)", "lte": "G, 2nd uplink", "ltec": "P(C), 2nd uplink"}
CN = {"cn": "G", "gateway": "general", "cna": "P(A)", "cn4": "G, IPv4 only"}


def ms(value):
    return "–" if value is None else f"{value:.0f}"


def rows(record):
    """One for each pattern in it: the moves that are of that pattern."""
    ways = {}
    for i, move in enumerate(record["moves"]):
        pattern = record["there"] if i % 2 == 0 else record["back"]
        if pattern != "-":
            ways.setdefault(pattern, []).append((i, move))
    for pattern, moves in ways.items():
        figures = {name: {way: [s[way][i] for i, _ in moves] for way in ("down", "up")}
                   for name, s in record["streams"].items()}
        both = {name: [None if d is None or u is None else max(d, u) for d, u in zip(f["down"], f["up"])]
                for name, f in figures.items()}
        routes = [m["route"] for _, m in moves]
        want = record["want"]["to" if moves[0][0] % 2 == 0 else "from"]
        yield {"pattern": pattern, "moves": moves, "want": want, "routes": routes, "figures": figures, "both": both,
               "missed": [r for r in routes if not r.startswith(want)],
               "dead": sum(v is None for v in both["ntm"])}


def share(routes):
    """The routes reached, the commonest first; how many of each unless there is one."""
    counts = sorted(((routes.count(r), r) for r in set(routes)), reverse=True)
    return counts[0][1] if len(counts) == 1 else "; ".join(f"{r} ({n})" for n, r in counts)


def spread(values):
    """Median / 99th percentile of the moves that the stream survived."""
    alive = [v for v in values if v is not None]
    return f"{ms(quantile(alive, 0.5))} / {ms(quantile(alive, 0.99))}" if alive else "–"


def survived(record):
    return record["tcp"] is not None and record["tcp"]["why"] is None


def stalls(record):
    """The long ones of the TCP connection, each with the move before its end."""
    found = []
    for ms, end in (record["tcp"] or {}).get("stalls", []):
        before = [i for i, m in enumerate(record["moves"]) if m["left"] < end * 1e9]
        where = f"to {record['moves'][before[-1]]['to']}, move {before[-1] + 1}" if before else "before the first move"
        found.append(f"{ms} ms ({where})")
    return " of " + ", ".join(found) if found else ""


def brief(record):
    good = survived(record)
    print(f"  {record['group']}: TCP {'survived' if good else record['tcp']}, longest stall "
          f"{(record['tcp'] or {}).get('stall_ms')} ms{stalls(record)}; lost down, up: "
          + "; ".join(f"{name} {s['lost'][0][0]}, {s['lost'][1][0]}" for name, s in record["streams"].items()))
    for row in rows(record):
        text = "; ".join(f"{name} {spread(values)}: {' '.join(ms(v) for v in values[:10])}" for name, values in row["both"].items())
        print(f"    {row['pattern']}: {share(row['routes'])}, interruption in ms: {text}")
        if row["missed"] or row["dead"]:
            print(f"    {row['pattern']}: wanted {row['want']}; {row['dead']} moves without any stream afterwards")
            good = False
    return good


def table(records):
    print("| pattern | move | CN | route expected | route reached | TCP survived | interruption, ms: median / p99 | to CN | from CN "
          "| wireguard-go | moves |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    every = []
    for record in records:
        for row in rows(record):
            first = row["moves"][0][1]
            figures, both = row["figures"]["ntm"], row["both"]["ntm"]
            if not record["group"].startswith(("mbb", "carrier")):
                every += [(v, m.get("paused_ms", 0)) for v, (_, m) in zip(both, row["moves"]) if v is not None]
            wg = spread(row["both"]["wg"]) if "wg" in row["both"] else ""
            dead = f", {row['dead']} never" if row["dead"] else ""
            print(f"| {row['pattern']} | {PLACE[first['from']]} → {PLACE[first['to']]} | {CN[record['cn']]} | {row['want']} "
                  f"| {share(row['routes'])} | {'yes' if survived(record) else '**no**'} | {spread(both)}{dead} "
                  f"| {spread(figures['up'])} | {spread(figures['down'])} | {wg} | {len(row['moves'])} |")
    print()
    on_time = [v for v, paused in every if paused < PAUSE]
    every = [v for v, _ in every]
    if every:
        print(f"All moves with one uplink: median {ms(quantile(every, 0.5))} ms, p99 {ms(quantile(every, 0.99))} ms "
              f"(round trip {RTT} ms; wanted: {RTT + 20} and {2 * RTT + 50}).")
    if on_time and len(on_time) < len(every):
        print(f"In {len(every) - len(on_time)} of these {len(every)} moves the wire itself was more than {PAUSE} ms late, because "
              f"the machine stood still. The others: median {ms(quantile(on_time, 0.5))} ms, p99 {ms(quantile(on_time, 0.99))} ms.")
    for record in records:
        if record["group"].startswith("mbb"):
            (down, twice_down), (up, twice_up) = record["streams"]["ntm"]["lost"]
            where = "through the relay" if record["want"]["to"] == "relay" else "directly"
            print(f"Two uplinks, {where}: {len(record['moves'])} moves, {up} datagrams to the CN lost, {down} from it; "
                  f"{twice_up + twice_down} came twice.")


if sys.argv[1:] == ["--brief"]:
    sys.exit(0 if all([brief(json.loads(line)) for line in sys.stdin]) else 1)
table([json.loads(line) for line in sys.stdin])
