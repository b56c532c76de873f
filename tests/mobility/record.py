# SPDX-License-Identifier: BSD-2-Clause
"""What stream.c recorded, and the interruptions in it."""
import struct

GAP_NS = 10_000_000  # of a stream of 1 ms: shorter pauses are the machine's


def read(path):
    """[(number, sent, came)], ns, in the order of arrival; a last line that is not complete yet is left out."""
    with open(path, "rb") as f:
        data = f.read()
    return list(struct.iter_unpack("=QQQ", data[:len(data) // 24 * 24]))


def last(path):
    """When the latest of them came, ns; 0 if nothing did."""
    with open(path, "rb") as f:
        f.seek(max(0, f.seek(0, 2) // 24 - 1) * 24)
        line = f.read(24)
    return struct.unpack("=QQQ", line)[2] if len(line) == 24 else 0


def interruption(records, left, usable, until):
    """ms without the stream from the moment `usable` on: the time to the first arrival of what was sent since `left`,
    and any later gap up to `until`. None: nothing came at all."""
    came = sorted(c for _, sent, c in records if sent >= left and usable <= c < until)
    if not came:
        return None
    missing, before = came[0] - usable, came[0]
    for c in came[1:]:
        if c - before > GAP_NS:
            missing += c - before
        before = c
    if until - before > 5 * GAP_NS:
        missing += until - before
    return missing / 1e6


def lost(records, begin, end):
    """How many of those sent in between never came, by their numbers; and how many came twice."""
    numbers = [n for n, sent, _ in records if begin <= sent < end]
    if not numbers:
        return None, 0
    return max(numbers) - min(numbers) + 1 - len(set(numbers)), len(numbers) - len(set(numbers))


def quantile(values, q):
    """The nearest rank's; None of nothing."""
    values = sorted(values)
    return values[min(len(values) - 1, int(q * len(values)))] if values else None
