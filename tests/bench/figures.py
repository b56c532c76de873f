# SPDX-License-Identifier: BSD-2-Clause
"""What the report's parts about the relay and the DC have in common: figures that programs print, NAME<TAB>VALUE<TAB>UNIT a
line, as lines of text and as a table with what is aimed at."""
import math
import os
import subprocess
import sys

LEFT_OUT = 77
UNANSWERED = 3  # tests/bench/dcload: the figure is then not a number


def measure(tools):
    """{name: (value, unit)} of programs; of those that are there, and can be run here."""
    figures = {}
    for tool in tools:
        if not os.access(tool, os.X_OK):
            continue
        done = subprocess.run([tool], stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode == LEFT_OUT:
            print(f"measure.py: {tool}: left out: {done.stdout.strip()}", file=sys.stderr)
            continue
        if done.returncode == UNANSWERED:
            print(f"measure.py: {tool}: some requests had no answer: see its rows", file=sys.stderr)
        elif done.returncode:
            sys.exit(f"measure.py: {tool}: {done.stdout.strip() or done.returncode}")
        for line in done.stdout.splitlines():
            name, value, unit = line.split("\t")
            figures[name] = (float(value), unit)
    return figures


def met(holds):
    return "met" if holds else "not met"


class Table:
    """Rows (title, what was measured, aim) of one subject."""

    def __init__(self, subject, figures):
        self.subject, self.figures, self.rows, self.lines = subject, figures, [], []

    def __contains__(self, name):
        return name in self.figures

    def value(self, name):
        """None: not measured."""
        return self.figures.get(name, (None, ""))[0]

    def add(self, title, shown, aim="", line=None):
        self.rows.append((title, shown, aim))
        self.lines.append(line or f"{title}: {shown} {aim}".rstrip())

    def figure(self, title, name, aim="", limit=None, at_least=False, form=",.0f"):
        """A row if it was measured. limit: what aim says, at most unless at_least."""
        if name not in self.figures:
            return
        value, unit = self.figures[name]
        if math.isnan(value):
            self.add(title, "some requests unanswered", f"{aim} (not met)")
            return
        if limit is not None:
            aim = f"{aim} ({met(value >= limit if at_least else value <= limit)})"
        self.add(title, f"{value:{form}} {unit}", aim)

    def report(self, about=""):
        """(lines, table), both lists."""
        if not self.rows:
            return [], []
        return self.lines, [f"| {self.subject} | measured | aim |", "|---|---:|---|",
                            *(f"| {title} | {shown} | {aim} |" for title, shown, aim in self.rows),
                            *(["", about] if about else [])]
