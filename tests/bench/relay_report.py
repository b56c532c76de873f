# SPDX-License-Identifier: BSD-2-Clause
"""The report's part about relaying: figures of tests/bench/relay (the XDP program alone) and tests/bench/relay_cpu (what
a packet costs the host, against other relays), as lines and a table with what is aimed at."""
import os

from figures import Table, measure as run, met

HERE = os.path.dirname(os.path.realpath(__file__))
PAIRS = ["v4v4", "v4v6", "v6v4", "v6v6"]
TITLES = {"v4v4": "IPv4 → IPv4", "v4v6": "IPv4 → IPv6", "v6v4": "IPv6 → IPv4", "v6v6": "IPv6 → IPv6"}
OTHERS = {"coturn": ("coturn, ChannelData", 20), "nft": ("kernel forwarding, nftables DNAT and SNAT", 3)}


def measure(build):
    """{name: (value, unit)}; empty without the tool."""
    return run([os.path.join(build, "tests/bench/relay"), os.path.join(HERE, "relay_cpu")])


def report(figures):
    """(lines, table), both lists."""
    t = Table("Relay, packets of 160 bytes", figures)
    t.figure("XDP program, 1,000,000 paths at random, IPv4 → IPv4", "relay_v4v4_random", "at most 150 ns", 150)
    base = t.value("relay_v4v4_random")
    for pair in PAIRS[1:]:
        name = f"relay_{pair}_random"
        if base and name in t:
            more = (t.value(name) / base - 1) * 100
            t.figure(f"the same, {TITLES[pair]}", name,
                     f"{more:+.0f} %" + (f", at most 20 % more ({met(more <= 20)})" if pair != "v6v6" else ""))
    for pair in PAIRS:
        t.figure(f"one hot path, {TITLES[pair]}", f"relay_{pair}_hot", *(("at most 70 ns", 70) if pair == "v4v4" else ()))
    t.figure("of the first: finding the path in memory", "relay_find_random")
    t.figure("one word of that memory at random, read from user space", "relay_memory_random")
    t.figure("memory of 1,000,000 paths", "relay_mem_million", "at most 256 MiB", 256)
    t.figure("CPU time of a relayed packet, ours", "relay_cpu_ours")
    for name, (title, target) in OTHERS.items():
        ours, theirs = t.value("relay_cpu_ours"), t.value(f"relay_cpu_{name}")
        if ours and theirs:
            ratio = theirs / ours
            t.add(f"CPU time of a relayed packet, {title}", f"{theirs:,.0f} ns",
                  f"{ratio:.1f} × ours, at least {target} ({met(ratio >= target)})",
                  f"CPU time of a relayed packet, ns: ours {ours:,.0f}, {title} {theirs:,.0f}, ratio {ratio:.1f}")
    return t.report("CPU time of a relayed packet: of all that handles it, minus the same over a plain wire; coturn's is its "
                    "process's alone, at 64,000 packets a second.")
