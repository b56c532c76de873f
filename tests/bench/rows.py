# SPDX-License-Identifier: BSD-2-Clause
"""Rows that programs of tests/bench/rows print, and what all rows of the report have in common: one list for JSON and for
the plots.

A program (executable, without a dot in its name) prints a line a row, tab-separated:

    TITLE  UNIT  high|low  OURS  [PEER=VALUE ...]        high: more is better

It ends with 0; with 77 it is left out, its last line being the reason."""
import glob
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.realpath(__file__))


def row(title, unit, better, ours, peers):
    """peers: {name: value}; ratios are ours / peer, so under 1 is good where less is better."""
    return {"figure": title, "unit": unit, "better": better, "ours": ours, "peers": peers,
            "ratios": {n: ours / v for n, v in peers.items() if v}}


def parse(line):
    title, unit, better, ours, *peers = line.split("\t")
    if better not in ("high", "low"):
        raise ValueError(f"neither high nor low: {line}")
    return row(title, unit, better, float(ours), {n: float(v) for n, v in (p.split("=") for p in peers)})


def measure(build):
    rows = []
    for tool in sorted(glob.glob(os.path.join(HERE, "rows", "*"))):
        if "." in os.path.basename(tool) or not os.access(tool, os.X_OK):
            continue
        done = subprocess.run([tool], stdout=subprocess.PIPE, text=True, check=False,
                              env={**os.environ, "NTM_BUILD": build})
        lines = done.stdout.strip().splitlines()
        if done.returncode == 77:
            print(f"  left out: {os.path.basename(tool)}: {lines[-1] if lines else ''}", file=sys.stderr)
        elif done.returncode:
            sys.exit(f"measure.py: {tool}: {done.stdout.strip() or done.returncode}")
        else:
            rows += [parse(line) for line in lines]
    return rows


def number(x):
    return f"{x:,.0f}" if abs(x) >= 100 else f"{x:,.1f}" if abs(x) >= 10 else f"{x:,.2f}"


def table(rows):
    """Of the rows of programs: what others do in the same figure stands in one column, since each has its own."""
    if not rows:
        return []
    lines = ["| figure | ours | others | ours / other |", "|---|---:|---:|---:|"]
    for r in rows:
        others = ", ".join(f"{n} {number(v)}" for n, v in r["peers"].items())
        ratios = ", ".join(f"{v:.2f}" for v in r["ratios"].values())
        lines.append(f"| {r['figure']}, {r['unit']} | {number(r['ours'])} | {others} | {ratios} |")
    return lines
