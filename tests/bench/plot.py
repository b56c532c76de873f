#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""plot.py report.json DIRECTORY: a picture for each row of the report that has others beside ours, bars that begin at
zero; named after the figure."""
import json
import os
import re
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../mobility"))
from png import LETTERS, Picture  # noqa: E402

WIDTH, LEFT, RIGHT, TOP, BAR, GAP = 1100, 230, 190, 60, 34, 14
INK, OURS, OTHER = (60, 60, 60), (40, 100, 170), (185, 195, 205)


def words(text):
    """What the letters of the picture can say of it."""
    text = text.replace("µ", "u").replace("→", "-")
    return "".join(c if c in LETTERS else " " for c in text)


def number(x):
    return f"{x:,.0f}" if abs(x) >= 100 else f"{x:.1f}" if abs(x) >= 10 else f"{x:.2f}"


def plot(row, path):
    bars = [("ours", row["ours"]), *row["peers"].items()]
    most = max(v for _, v in bars) or 1
    p = Picture(WIDTH, TOP + len(bars) * (BAR + GAP) + GAP)
    p.text(20, 18, words(f"{row['figure']}, {row['unit']}"))
    for i, (name, value) in enumerate(bars):
        y = TOP + i * (BAR + GAP)
        label = words(name)
        p.text(LEFT - 14 - p.text_width(label), y + 10, label)
        wide = max(1, int((WIDTH - LEFT - RIGHT) * value / most))
        p.box(LEFT, y, wide, BAR, OURS if name == "ours" else OTHER)
        p.text(LEFT + wide + 10, y + 10, number(value))
    p.box(LEFT - 2, TOP - 6, 2, len(bars) * (BAR + GAP), INK)
    p.write(path)


def main():
    with open(sys.argv[1], encoding="utf-8") as f:
        rows = json.load(f)["rows"]
    os.makedirs(sys.argv[2], exist_ok=True)
    for old in os.listdir(sys.argv[2]):
        if old.endswith(".png"):
            os.remove(os.path.join(sys.argv[2], old))
    for row in rows:
        if row["peers"]:
            name = re.sub(r"[^a-z0-9]+", "-", row["figure"].lower()).strip("-")
            plot(row, os.path.join(sys.argv[2], name + ".png"))


if __name__ == "__main__":
    main()
