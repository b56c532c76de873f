#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""plot.py FILE.png: what walk.py prints, from standard input, as a picture: throughput over time, the moves marked."""
import json
import sys

from png import Picture

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 1200, 420, 90, 20, 50, 50
STEP = 0.1  # s
INK, FILL, LINE, GRID, MARK = (60, 60, 60), (190, 215, 240), (40, 100, 170), (225, 225, 225), (200, 60, 40)


def rates(samples, begin, end):
    """Mbit/s in steps of time: what came in each, an arrival being spread over the time since the one before."""
    out = [0.0] * (int((end - begin) / STEP) + 1)
    before, count = begin, 0
    for at, total in samples:
        amount, first, last = total - count, int((before - begin) / STEP), int((at - begin) / STEP)
        if last - first > 1:  # nothing came for a while, and then this
            first = last
        for i in range(first, last + 1):
            out[min(i, len(out) - 1)] += amount / (last - first + 1)
        before, count = at, total
    return [b * 8 / STEP / 1e6 for b in out]


def nice(limit, steps):
    """A round distance of marks, so that there are about so many."""
    for base in (0.1, 1, 10, 100, 1000, 10000):
        for n in (1, 2, 5):
            if limit / (n * base) <= steps:
                return n * base
    return limit


def plot(walk, path):
    begin, end = walk["begin"], walk["end"]
    series = rates(walk["samples"], begin, end)
    top = max(series) * 1.1 or 1
    p = Picture(WIDTH, HEIGHT)
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x_of(t):
        return LEFT + int((t - begin) / (end - begin) * wide)

    def y_of(rate):
        return TOP + high - int(rate / top * high)

    step = nice(top, 5)
    for i in range(int(top / step) + 1):
        p.box(LEFT, y_of(i * step), wide, 1, GRID)
        label = f"{i * step:g}"
        p.text(LEFT - 10 - p.text_width(label), y_of(i * step) - 7, label)
    p.text(8, 12, "Mbit/s")
    for x in range(LEFT, LEFT + wide):
        rate = series[min(len(series) - 1, int((x - LEFT) / wide * (end - begin) / STEP))]
        y = y_of(rate)
        p.box(x, y, 1, TOP + high - y, FILL)
        p.box(x, y - 1, 1, 3, LINE)
    step = nice(end - begin, 12)
    for i in range(int((end - begin) / step) + 1):
        label = f"{i * step:g}"
        p.box(x_of(begin + i * step), TOP + high, 1, 6, INK)
        p.text(x_of(begin + i * step) - p.text_width(label) // 2, TOP + high + 12, label)
    p.text(WIDTH - RIGHT - 12, HEIGHT - 18, "s")
    p.box(LEFT, TOP + high, wide, 2, INK)
    labels = [(begin, walk["start"])] + [(m["usable"], m["label"]) for m in walk["moves"]]
    for i, (at, label) in enumerate(labels):
        if i:
            for y in range(TOP - 30, TOP + high, 8):
                p.box(x_of(at), y, 2, 5, MARK)
        p.text(x_of(at) + 6, TOP - 28, label, MARK if i else INK)
    p.write(path)


if __name__ == "__main__":
    plot(json.load(sys.stdin), sys.argv[1])
