#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Measures contenders NAME=NS-A=NS-B=ADDRESS-OF-B by turns, prints a line for each figure and each peer, and writes
report.md, report.json and plots/*.png. Medians of all rounds; every round has each contender once, so that other load on the
machine hits all alike."""
import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time

sys.dont_write_bytecode = True  # of the next import
import dc_report
import plot
import relay_report
import rows

TITLES = {"raw": "raw wire", "vxlan": "VXLAN", "wg": "wireguard-go", "nebula": "nebula", "ours": "ours",
          "kernel": "ours, kernel lane alone", "user": "ours, datapath = user"}
ORDER = ["ours", "kernel", "user", "raw", "vxlan", "wg", "nebula"]
# name: (title, unit, digits); rates are better high, times low
FIGURES = {
    "tcp": ("TCP, one flow", "Mbit/s", 0),
    "rtt": ("round trip, median of pings", "µs", 0),
    "rttload": ("round trip under one flow of TCP, median of pings", "µs", 0),
    "udp64": ("UDP, 64 bytes, loss under 0.1 %", "packets/s", 0),
    "udp1300": ("UDP, 1,300 bytes, loss under 0.1 %", "packets/s", 0),
    "udpgso": ("UDP, 1,300 bytes, sent with GSO, loss under 0.1 %", "packets/s", 0),
}
# Linux's own choice of congestion control, whatever this host's is.
FLOW = ("iperf3", "-C", "cubic", "-c")


def in_ns(ns, *argv, **kw):
    return subprocess.run(["ip", "netns", "exec", ns, *argv], capture_output=True, text=True, check=True, **kw).stdout


class Server:
    """A process in a namespace, ended with the block."""

    def __init__(self, ns, *argv):
        self.argv = ["ip", "netns", "exec", ns, *argv]

    def __enter__(self):
        self.p = subprocess.Popen(self.argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return self

    def __exit__(self, *_):
        self.p.terminate()
        self.p.wait()


def listens(ns, proto, port):
    end = time.monotonic() + 5
    while f":{port} " not in in_ns(ns, "ss", "-Hln" + proto):
        if time.monotonic() > end:
            sys.exit(f"measure.py: nothing listens on port {port}")
        time.sleep(0.02)


def tcp(c, args):
    with Server(c["b"], "iperf3", "-s", "-1", "-p", "5201"):
        listens(c["b"], "t", 5201)
        out = json.loads(in_ns(c["a"], *FLOW, c["addr"], "-p", "5201", "-t", str(args.seconds), "-O", "1", "-J"))
    return out["end"]["sum_received"]["bits_per_second"] / 1e6


def rtt(c, args):
    out = in_ns(c["a"], "ping", "-i", "0.002", "-c", str(args.pings), c["addr"])
    return statistics.median(float(t) for t in re.findall(r"time=([0-9.]+) ms", out)) * 1000


def rttload(c, args):
    with Server(c["b"], "iperf3", "-s", "-1", "-p", "5201"):
        listens(c["b"], "t", 5201)
        with Server(c["a"], *FLOW, c["addr"], "-p", "5201", "-t", str(10 * args.seconds)):
            time.sleep(1)  # slow start is over
            out = in_ns(c["a"], "ping", "-i", "0.01", "-c", str(args.seconds * 50), c["addr"])
    return statistics.median(float(t) for t in re.findall(r"time=([0-9.]+) ms", out)) * 1000


def udp(size, how="send"):
    def measure(c, args):
        tool = os.path.join(args.build, "tests/bench/udprate")
        with Server(c["b"], tool, "recv", c["addr"], "5300"):
            listens(c["b"], "u", 5300)
            return float(in_ns(c["a"], tool, how, c["addr"], "5300", str(size)).split()[0])
    return measure


MEASURE = {"tcp": tcp, "rtt": rtt, "rttload": rttload, "udp64": udp(64), "udp1300": udp(1300),
           "udpgso": udp(1300, "gso")}


def aead(args):
    """Figures of tests/bench/aead: {name: (value, unit)}."""
    tool = os.path.join(args.build, "tests/bench/aead")
    if not os.access(tool, os.X_OK):
        return {}
    figures = {}
    for line in subprocess.run([tool], capture_output=True, text=True, check=True).stdout.splitlines():
        name, value, unit = line.split("\t")
        figures[name] = (float(value), unit)
    return figures


def number(x, digits):
    return f"{x:,.{digits}f}"


def report(names, median, aead_figures, relay_figures, dc_figures, args):
    peers = [n for n in names if n != "ours"]
    lines, table = [], []
    table.append("| figure | " + " | ".join(TITLES[n] for n in names) + " | " +
                 " | ".join(f"ours / {TITLES[n]}" for n in peers) + " |")
    table.append("|---|" + "---:|" * (len(names) + len(peers)))
    for fig, (title, unit, digits) in FIGURES.items():
        if fig not in median:
            continue
        m = median[fig]
        for peer in peers:
            lines.append(f"{title}, {unit}: ours {number(m['ours'], digits)}, {TITLES[peer]} {number(m[peer], digits)}, "
                         f"ratio {m['ours'] / m[peer]:.2f}")
        table.append(f"| {title}, {unit} | " + " | ".join(number(m[n], digits) for n in names) + " | " +
                     " | ".join(f"{m['ours'] / m[p]:.2f}" for p in peers) + " |")
    crypto = ["| ChaCha20-Poly1305, one packet | BPF at tc | BPF at XDP | same C, native, no vectors | OpenSSL | "
              "tc / native | tc / OpenSSL |", "|---|---:|---:|---:|---:|---:|---:|"]
    sizes = sorted({int(n.rsplit("_", 1)[1]) for n in aead_figures})
    for size in sizes:
        v = {s: aead_figures[f"aead_{s}_{size}"][0] for s in ("bpf_tc", "bpf_xdp", "native", "openssl")}
        lines.append(f"AEAD in BPF, {size:,} bytes, ns: ours {v['bpf_tc']:,.0f}, native {v['native']:,.0f}, "
                     f"ratio {v['bpf_tc'] / v['native']:.2f}")
        lines.append(f"AEAD in BPF, {size:,} bytes, ns: ours {v['bpf_tc']:,.0f}, OpenSSL {v['openssl']:,.0f}, "
                     f"ratio {v['bpf_tc'] / v['openssl']:.2f}")
        crypto.append(f"| {size:,} bytes, ns | {v['bpf_tc']:,.0f} | {v['bpf_xdp']:,.0f} | {v['native']:,.0f} | "
                      f"{v['openssl']:,.0f} | {v['bpf_tc'] / v['native']:.2f} | {v['bpf_tc'] / v['openssl']:.2f} |")
    about = (f"Linux {platform.release().split('-')[0]}, {machine()['processor'] or platform.machine()}, {os.cpu_count()} CPUs with both ends of every tunnel on them; "
             f"veth wire with `tso off gso off gro on tx-udp-segmentation off`, on which both lanes take packets in at tc (`xdp_mode = tc`), "
             f"the kernel lane alone at XDP; TCP with cubic; median of {args.rounds} alternated rounds.")
    relay_lines, relay_table = relay_report.report(relay_figures)
    dc_lines, dc_table = dc_report.report(dc_figures)
    return lines + relay_lines + dc_lines, "\n".join([about, "", *table, *(["", *crypto] if sizes else []),
                                           *(["", *relay_table] if relay_table else []),
                                           *(["", *dc_table] if dc_table else []), ""])


def machine():
    """What a figure depends on, to be read beside it."""
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        model = re.search(r"^model name\s*: (.*)$", f.read(), re.M)
    with open("/proc/meminfo", encoding="utf-8") as f:
        kib = int(f.readline().split()[1])
    return {"kernel": platform.release(), "architecture": platform.machine(), "cpus": os.cpu_count(),
            "processor": model.group(1) if model else "", "memory_mib": kib // 1024,
            "date": time.strftime("%Y-%m-%d %H:%M", time.gmtime())}


def all_rows(median, aead_figures, relay_figures):
    out = []
    for fig, (title, unit, _) in FIGURES.items():
        if fig in median:
            m = median[fig]
            out.append(rows.row(title, unit, "low" if fig == "rtt" else "high", m["ours"],
                                {TITLES[n]: v for n, v in m.items() if n != "ours"}))
    for size in sorted({int(n.rsplit("_", 1)[1]) for n in aead_figures}):
        v = {s: aead_figures[f"aead_{s}_{size}"][0] for s in ("bpf_tc", "native", "openssl")}
        out.append(rows.row(f"ChaCha20-Poly1305 in BPF, {size:,} bytes", "ns", "low", v["bpf_tc"],
                            {"native": v["native"], "OpenSSL": v["openssl"]}))
    cpu = {n[len("relay_cpu_"):]: v for n, (v, _) in relay_figures.items() if n.startswith("relay_cpu_")}
    if "ours" in cpu:
        out.append(rows.row("CPU time of a relayed packet", "ns", "low", cpu.pop("ours"),
                            {{"nft": "kernel forwarding"}.get(n, n): v for n, v in cpu.items()}))
    return out


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--build", default="build")
    p.add_argument("--out", default="build/bench")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--udp-rounds", type=int, default=3)
    p.add_argument("--seconds", type=int, default=4, help="of a TCP run")
    p.add_argument("--pings", type=int, default=1000)
    p.add_argument("--only", help="figures, comma-separated: " + ",".join([*FIGURES, "aead", "relay", "dc", "rows"]))
    p.add_argument("contender", nargs="+")
    args = p.parse_args()
    contenders = {}
    for text in args.contender:
        name, a, b, addr = text.split("=")
        contenders[name] = {"a": a, "b": b, "addr": addr}
    names = [n for n in ORDER if n in contenders]
    wanted = args.only.split(",") if args.only else [*FIGURES, "aead", "relay", "dc", "rows"]

    samples, median = {}, {}
    for fig in FIGURES:
        if fig not in wanted:
            continue
        samples[fig] = {n: [] for n in names}
        for i in range(args.udp_rounds if fig.startswith("udp") else args.rounds):
            for n in names[i % len(names):] + names[:i % len(names)]:
                try:
                    samples[fig][n].append(MEASURE[fig](contenders[n], args))
                except subprocess.CalledProcessError as e:
                    sys.exit(f"measure.py: {fig} of {n}: {e.stderr or e.stdout or e}")
                print(f"  round {i + 1}: {fig} {TITLES[n]} {samples[fig][n][-1]:,.0f}", file=sys.stderr, flush=True)
        median[fig] = {n: statistics.median(samples[fig][n]) for n in names}
    aead_figures = aead(args) if "aead" in wanted else {}

    relay_figures = relay_report.measure(args.build) if "relay" in wanted else {}
    dc_figures = dc_report.measure() if "dc" in wanted else {}

    more = rows.measure(args.build) if "rows" in wanted else []
    lines, text = report(names, median, aead_figures, relay_figures, dc_figures, args)
    text += "".join("\n" + line for line in rows.table(more)) + ("\n" if more else "")
    lines += [f"{r['figure']}, {r['unit']}: ours {rows.number(r['ours'])}" +
              "".join(f", {n} {rows.number(v)}, ratio {r['ratios'].get(n, 0):.2f}" for n, v in r["peers"].items())
              for r in more]
    os.makedirs(args.out, exist_ok=True)
    with open(os.path.join(args.out, "report.md"), "w", encoding="utf-8") as f:
        f.write(text)
    path = os.path.join(args.out, "report.json")
    with open(path, "w", encoding="utf-8") as f:
        json.dump({"machine": machine(), "rows": all_rows(median, aead_figures, relay_figures) + more,
                   "samples": samples, "relay": {n: v for n, (v, _) in relay_figures.items()},
                   "dc": {n: v for n, (v, _) in dc_figures.items()}}, f, indent=1)
    subprocess.run([sys.executable, plot.__file__, path, os.path.join(args.out, "plots")], check=True)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
