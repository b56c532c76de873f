# SPDX-License-Identifier: BSD-2-Clause
"""The report's part about the DC: figures of tests/bench/dc (one core, 100,000 nodes over real sessions) and
tests/bench/dns (queries a second, against other name servers with the same zone), with what is aimed at."""
import math
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
# title, name, aim, limit, at least (else at most), format
ROWS = [
    ("registrations on running sessions, one core", "dc_registrations", "at least 40,000 /s", 40000, True, ",.0f"),
    ("new sessions (Noise IK) of nodes that have one, both cores", "dc_sessions_again", "at least 4,000 /s", 4000, True, ",.0f"),
    ("first sessions of nodes, and their record from the store", "dc_sessions", "at least 4,000 /s", 4000, True, ",.0f"),
    ("new sessions of nodes that have one, a core's second of the DC", "dc_sessions_again_core", "", None, True, ",.0f"),
    ("first sessions likewise", "dc_sessions_core", "", None, True, ",.0f"),
    ("directions, one core", "dc_directions", "at least 15,000 /s", 15000, True, ",.0f"),
    ("registrations at half the aimed rate, 99 % within", "dc_p99_registrations", "under 5 ms", 5, False, ".2f"),
    ("new sessions likewise", "dc_p99_sessions", "under 5 ms", 5, False, ".2f"),
    ("directions likewise", "dc_p99_directions", "under 5 ms", 5, False, ".2f"),
    ("memory of 100,000 registered nodes", "dc_memory", "at most 200 MiB", 200, False, ",.0f"),
    ("cost of an update, 100,000 nodes against 1,000", "dc_update_cost_growth", "at most 1.5", 1.5, False, ".2f"),
]
UNANSWERED = 3  # tests/bench/dcload: the figure is then not a number
SERVERS = {"named": "BIND", "knotd": "Knot"}


def measure():
    """{name: (value, unit)}"""
    figures = {}
    for tool in (os.path.join(HERE, "dc"), os.path.join(HERE, "dns")):
        done = subprocess.run([tool], stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode == UNANSWERED:
            print(f"measure.py: {tool}: some requests had no answer: see its rows", file=sys.stderr)
        elif done.returncode:
            sys.exit(f"measure.py: {tool}: {done.stdout.strip() or done.returncode}")
        for line in done.stdout.splitlines():
            name, value, unit = line.split("\t")
            figures[name] = (float(value), unit)
    return figures


def report(figures):
    """(lines, table), both lists."""
    rows = []
    for title, name, aim, limit, at_least, form in ROWS:
        if name in figures:
            value, unit = figures[name]
            if math.isnan(value):
                rows.append((title, "some requests unanswered", f"{aim} (not met)"))
                continue
            if limit is None:
                rows.append((title, f"{value:{form}} {unit}", aim))
                continue
            met = value >= limit if at_least else value <= limit
            rows.append((title, f"{value:{form}} {unit}", f"{aim} ({'met' if met else 'not met'})"))
    ours = figures.get("dns_ntm-dc", (0, ""))[0]
    if ours:
        rows.append(("DNS answers by UDP, 100,000 names", f"{ours:,.0f} /s", ""))
    for server, title in SERVERS.items():
        theirs = figures.get(f"dns_{server}", (0, ""))[0]
        if ours and theirs:
            rows.append((f"the same, {title}", f"{theirs:,.0f} /s",
                         f"ours is {ours / theirs:.2f} of it, at least 0.33 ({'met' if 3 * ours >= theirs else 'not met'})"))
    if not rows:
        return [], []
    return ([f"{title}: {shown} {aim}".rstrip() for title, shown, aim in rows],
            ["| DC, sessions over loopback | measured | aim |", "|---|---:|---|",
             *(f"| {title} | {shown} | {aim} |" for title, shown, aim in rows)])
