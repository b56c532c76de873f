# SPDX-License-Identifier: BSD-2-Clause
"""The report's part about the DC: figures of tests/bench/dc (one core, 100,000 nodes over real sessions),
tests/bench/dc_processes (several over one PostgreSQL) and tests/bench/dns (queries a second, against other name servers with
the same zone), with what is aimed at."""
import os

from figures import Table, measure as run, met

HERE = os.path.dirname(os.path.realpath(__file__))
THROUGH = "of three processes over one PostgreSQL, effective through all"
# title, name, aim, limit, at least (else at most), format
ROWS = [
    ("registrations on running sessions, one core", "dc_registrations", "at least 40,000 /s", 40000, True, ",.0f"),
    ("new sessions (Noise IK) of nodes that have one, both cores, without what a node computes", "dc_sessions_again", "at least 4,000 /s", 4000, True, ",.0f"),
    ("first sessions of nodes likewise, and their record from the store", "dc_sessions", "at least 4,000 /s", 4000, True, ",.0f"),
    ("new sessions of nodes that have one, a core's second of the DC", "dc_sessions_again_core", "", None, True, ",.0f"),
    ("first sessions in that", "dc_sessions_core", "", None, True, ",.0f"),
    ("directions, one core", "dc_directions", "at least 15,000 /s", 15000, True, ",.0f"),
    ("registrations at half the aimed rate, 99 % within", "dc_p99_registrations", "under 5 ms", 5, False, ".2f"),
    ("those of them that no stall of the machine made late", "dc_p99_registrations_running", "under 5 ms", 5, False, ".2f"),
    ("new sessions likewise", "dc_p99_sessions", "under 5 ms", 5, False, ".2f"),
    ("those of them that no stall of the machine made late", "dc_p99_sessions_running", "under 5 ms", 5, False, ".2f"),
    ("directions likewise", "dc_p99_directions", "under 5 ms", 5, False, ".2f"),
    ("those of them that no stall of the machine made late", "dc_p99_directions_running", "under 5 ms", 5, False, ".2f"),
    ("memory of 100,000 registered nodes", "dc_memory", "at most 200 MiB", 200, False, ",.0f"),
    ("cost of an update, 100,000 nodes against 1,000", "dc_update_cost_growth", "at most 1.5", 1.5, False, ".2f"),
    (f"a node's move, told to one {THROUGH}, median", "dc_spread_move", "within 100 ms", 100, False, ".1f"),
    ("the same, 99 % within", "dc_spread_move_p99", "100 ms", 100, False, ".1f"),
    ("a new node likewise, 99 % within", "dc_spread_arrival_p99", "100 ms", 100, False, ".1f"),
    ("a revocation likewise, 99 % within", "dc_spread_revocation_p99", "100 ms", 100, False, ".1f"),
]
SERVERS = {"named": "BIND", "knotd": "Knot"}


def measure():
    """{name: (value, unit)}"""
    return run([os.path.join(HERE, tool) for tool in ("dc", "dc_processes", "dns")])


def dns(t, prefix, title):
    """Ours, and each other server's, of which ours is to be a third."""
    ours = t.value(f"{prefix}_ntm-dc")
    if not ours:
        return
    t.figure(title, f"{prefix}_ntm-dc")
    for server, name in SERVERS.items():
        theirs = t.value(f"{prefix}_{server}")
        if theirs:
            t.add(f"the same, {name}", f"{theirs:,.0f} /s",
                  f"ours is {ours / theirs:.2f} of it, at least 0.33 ({met(3 * ours >= theirs)})")


def report(figures):
    """(lines, table), both lists."""
    t = Table("DC, sessions over loopback", figures)
    for row in ROWS:
        t.figure(*row)
    dns(t, "dns", "DNS answers by UDP, 100,000 names, each asked for before")
    dns(t, "dns_first", "DNS answers by UDP, each for the first time")
    return t.report()
