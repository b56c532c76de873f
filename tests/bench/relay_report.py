# SPDX-License-Identifier: BSD-2-Clause
"""The report's part about relaying: figures of tests/bench/relay (the XDP program alone) and tests/bench/relay_cpu (what
a packet costs the host, against other relays), as lines and a table with what is aimed at."""
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
PAIRS = ["v4v4", "v4v6", "v6v4", "v6v6"]
TITLES = {"v4v4": "IPv4 → IPv4", "v4v6": "IPv4 → IPv6", "v6v4": "IPv6 → IPv4", "v6v6": "IPv6 → IPv6"}
OTHERS = {"coturn": ("coturn, ChannelData", 20), "nft": ("kernel forwarding, nftables DNAT and SNAT", 3)}


def measure(build):
    """{name: (value, unit)}; empty without the tool."""
    figures = {}
    for tool in (os.path.join(build, "tests/bench/relay"), os.path.join(HERE, "relay_cpu")):
        if not os.access(tool, os.X_OK):
            continue
        done = subprocess.run([tool], stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            sys.exit(f"measure.py: {tool}: {done.stdout.strip() or done.returncode}")
        for line in done.stdout.splitlines():
            name, value, unit = line.split("\t")
            figures[name] = (float(value), unit)
    return figures


def report(figures):
    """(lines, table), both lists."""
    value = {name: v for name, (v, _) in figures.items()}
    rows = []

    def row(title, name, target, limit=None):
        if name in value:
            shown = f"{value[name]:,.0f} {figures[name][1]}"
            if limit is None:
                rows.append((title, shown, target))
            else:
                rows.append((title, shown, f"{target} ({'met' if value[name] <= limit else 'not met'})"))

    row("XDP program, 1,000,000 paths at random, IPv4 → IPv4", "relay_v4v4_random", "at most 150 ns", 150)
    base = value.get("relay_v4v4_random")
    for pair in PAIRS[1:]:
        if base and f"relay_{pair}_random" in value:
            more = (value[f"relay_{pair}_random"] / base - 1) * 100
            target = f"at most 20 % more ({'met' if more <= 20 else 'not met'})" if pair != "v6v6" else ""
            row(f"the same, {TITLES[pair]}", f"relay_{pair}_random", f"{more:+.0f} %" + (f", {target}" if target else ""))
    for pair in PAIRS:
        row(f"one hot path, {TITLES[pair]}", f"relay_{pair}_hot", *(("at most 70 ns", 70) if pair == "v4v4" else ("",)))
    row("of the first: finding the path in memory", "relay_find_random", "")
    row("one word of that memory at random, read from user space", "relay_memory_random", "")
    row("memory of 1,000,000 paths", "relay_mem_million", "at most 256 MiB", 256)
    row("CPU time of a relayed packet, ours", "relay_cpu_ours", "")
    lines = [f"{title}: {shown} {target}".rstrip() for title, shown, target in rows]
    for name, (title, target) in OTHERS.items():
        ours, theirs = value.get("relay_cpu_ours"), value.get(f"relay_cpu_{name}")
        if ours and theirs:
            ratio = theirs / ours
            rows.append((f"CPU time of a relayed packet, {title}", f"{theirs:,.0f} ns",
                         f"{ratio:.1f} × ours, at least {target} ({'met' if ratio >= target else 'not met'})"))
            lines.append(f"CPU time of a relayed packet, ns: ours {ours:,.0f}, {title} {theirs:,.0f}, ratio {ratio:.1f}")
    if not rows:
        return [], []
    about = ("CPU time of a relayed packet: of all that handles it, minus the same over a plain wire; coturn's is its "
             "process's alone, at 64,000 packets a second.")
    return lines, ["| Relay, packets of 160 bytes | measured | aim |", "|---|---:|---|",
                   *(f"| {title} | {shown} | {target} |" for title, shown, target in rows), "",
                   about]
