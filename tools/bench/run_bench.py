#!/usr/bin/env python3
"""Measure a release build on this machine and write docs/PERFORMANCE.md: machine, commit, every command, every figure.

    tools/bench/run_bench.py [--quick] [--disks N] [--data DIR] [--output FILE]

--quick measures for shorter and lists 100,000 keys instead of a million. The server runs on N directories (default 6)
below DIR (default ./build/bench), so on the disk that holds it; client and server share the machine. Nothing is tuned:
every write is durable before it is acknowledged.
"""
import argparse
import datetime
import json
import os
import platform
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, "tests", "clients", "lib"))

from server import Server, binary  # noqa: E402

MIB = 1 << 20


class Bench:
    def __init__(self, server):
        self.server, self.rows, self.commands = server, [], []

    def run(self, *arguments):
        command = [binary(), "bench", *arguments, "--endpoint", self.server.url, "--json"]
        shown = "cairn bench " + " ".join(arguments)
        print("+", shown, flush=True)
        before = self.resident()
        done = subprocess.run(command, env=self.server.client_environment(), capture_output=True, text=True)
        if not done.stdout.strip():
            raise SystemExit(f"{shown}: status {done.returncode}: {done.stderr.strip()}")
        result = json.loads(done.stdout)
        result["grown_bytes"] = max(0, (result["server_peak_rss_bytes"] or 0) - before)
        self.commands.append(shown)
        if result["failed"]:
            print(f"  {result['failed']} FAILED: {result['failure']}", flush=True)
        return result

    def resident(self):
        with open(f"/proc/{self.server.process.pid}/statm", encoding="ascii") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def row(self, what, result, figure, goal, reached):
        op = {"put": "put", "get": "get", "list": "list", "stat": "stat", "delete": "delete"}[result["operation"]]
        latency = result["latency"].get(op, {"p50_ms": 0, "p99_ms": 0, "p999_ms": 0})
        memory = result["server_peak_rss_bytes"] or 0
        self.rows.append((what, figure, goal, "yes" if reached and not result["failed"] else "**no**",
                          result["sign"] if op == "put" else "-",
                          f"{latency['p50_ms']:.2f} / {latency['p99_ms']:.2f} / {latency['p999_ms']:.2f}",
                          f"{result['server_cpu_seconds'] or 0:.1f} / {result['client_cpu_seconds']:.1f}",
                          f"{memory / MIB:.0f}", str(result["failed"])))
        print(f"  {what}: {figure} (goal {goal})", flush=True)


def measure(bench, quick):
    seconds = "5s" if quick else "20s"
    one = ["--bucket", "bench-one", "--size", "1GiB", "--objects", "1", "--concurrency", "1"]
    for sign in ("unsigned", "payload"):
        r = bench.run("put", *one, "--sign", sign, "--keep")
        bench.row("one PUT of 1 GiB", r, f"{r['sent_mib_per_second']:.0f} MiB/s, memory +{r['grown_bytes'] / MIB:.0f} MiB",
                  "memory +64 MiB at most", r["grown_bytes"] <= 64 * MIB)
    r = bench.run("get", *one, "--prepared")
    bench.row("one GET of 1 GiB", r, f"{r['received_mib_per_second']:.0f} MiB/s, memory +{r['grown_bytes'] / MIB:.0f} MiB",
              "memory +64 MiB at most", r["grown_bytes"] <= 64 * MIB)
    r = bench.run("put", "--bucket", "bench-many", "--size", "16MiB", "--objects", "256", "--concurrency", "64", "--sign",
                  "unsigned")
    peak = r["server_peak_rss_bytes"] or 0
    bench.row("64 concurrent PUTs of 16 MiB", r, f"{peak / MIB:.0f} MiB resident, {r['sent_mib_per_second']:.0f} MiB/s",
              "at most 1024 MiB resident", peak <= 1024 * MIB)
    small = ["--bucket", "bench-small", "--size", "4KiB", "--concurrency", "32"]
    for sign in ("unsigned", "payload"):
        r = bench.run("put", *small, "--duration", seconds, "--sign", sign)
        bench.row("4 KiB PUT, 32 connections", r, f"{r['requests_per_second']:.0f}/s", "5000/s",
                  r["requests_per_second"] >= 5000)
    r = bench.run("get", *small, "--objects", "20000", "--duration", seconds)
    bench.row("4 KiB GET, 32 connections", r, f"{r['requests_per_second']:.0f}/s", "20000/s",
              r["requests_per_second"] >= 20000)
    large = ["--bucket", "bench-large", "--size", "10MiB", "--concurrency", "8"]
    for sign in ("unsigned", "payload"):
        r = bench.run("put", *large, "--objects", "100" if quick else "400", "--sign", sign)
        bench.row("10 MiB PUT, 8 connections", r, f"{r['sent_mib_per_second']:.0f} MiB/s", "400 MiB/s",
                  r["sent_mib_per_second"] >= 400)
    r = bench.run("get", *large, "--objects", "100", "--duration", seconds)
    bench.row("10 MiB GET, 8 connections", r, f"{r['received_mib_per_second']:.0f} MiB/s", "1229 MiB/s",
              r["received_mib_per_second"] >= 1228.8)
    listings(bench, quick)


def listings(bench, quick):
    for keys in (10000, 100000 if quick else 1000000):
        name = ["--bucket", f"bench-list-{keys}", "--size", "1B", "--objects", str(keys)]
        bench.run("put", *name, "--concurrency", "64", "--sign", "unsigned", "--keep")
        r = bench.run("list", *name, "--concurrency", "1", "--duration", "5s", "--prepared", "--keep")
        p50 = r["latency"]["list"]["p50_ms"]
        bench.row(f"page of 1,000 of {keys:,} keys", r, f"{p50:.2f} ms", "under 10 ms", p50 < 10)


def machine(data):
    cpu = "unknown"
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as f:
        for line in f:
            if line.startswith("model name"):
                cpu = line.split(":", 1)[1].strip()
                break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30
    system = subprocess.run(["stat", "-f", "-c", "%T", data], capture_output=True, text=True).stdout.strip()
    return f"{cpu}, {os.cpu_count()} CPUs, {memory} GiB memory, Linux {platform.release()}, file system {system}"


def sync_speed(data):
    """How many 4 KiB writes with fdatasync the disk does one after the other: the ground everything stands on."""
    path, count = os.path.join(data, "sync-probe"), 200
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    start = datetime.datetime.now()
    for i in range(count):
        os.pwrite(fd, b"x" * 4096, i * 4096)
        os.fdatasync(fd)
    spent = (datetime.datetime.now() - start).total_seconds()
    os.close(fd)
    os.remove(path)
    return count / spent


def write(path, bench, data, disks, syncs, quick):
    commit = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty", "--abbrev=12"], capture_output=True,
                            text=True).stdout.strip()
    names = ("what", "figure", "goal", "reached", "bodies", "p50 / p99 / p99.9 ms", "CPU s server / client",
             "peak resident MiB of the server", "failed")
    lines = ["# Performance", "", "Written by `make bench`; measured, not estimated.", "",
             f"- Machine: {machine(data)}; client and server share it.",
             f"- Disk: {syncs:.0f} writes of 4 KiB with fdatasync per second, one after the other, on the file system of the data.",
             f"- Commit: {commit}; release build; {disks} directories on one file system; the default erasure code for {disks}.",
             f"- Command: `tools/bench/run_bench.py{' --quick' if quick else ''}`, "
             f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d}.",
             "- Every acknowledgement is durable: shards and metadata are synced first. `bodies` says how the client signed:",
             "  `payload` hashes every body with SHA-256 (on both sides), `unsigned` is UNSIGNED-PAYLOAD. Memory of one stream is the",
             "  highest resident memory during the transfer, less that before it.", "",
             "| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join(row) + " |" for row in bench.rows]
    lines += ["", "Commands:", "", "```"] + bench.commands + ["```", ""]
    notes = os.path.join(ROOT, "docs", "performance-notes.md")
    if os.path.exists(notes):
        with open(notes, encoding="utf-8") as f:
            lines += [f.read().rstrip(), ""]
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(lines))
    print(f"wrote {path}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--disks", type=int, default=6)
    parser.add_argument("--data", default=os.path.join(ROOT, "build", "bench"))
    parser.add_argument("--output", default=os.path.join(ROOT, "docs", "PERFORMANCE.md"))
    options = parser.parse_args()
    shutil.rmtree(options.data, ignore_errors=True)
    os.makedirs(options.data)
    syncs = sync_speed(options.data)
    try:
        with Server([os.path.join(options.data, f"disk{i}") for i in range(1, options.disks + 1)]) as server:
            bench = Bench(server)
            measure(bench, options.quick)
    finally:
        shutil.rmtree(options.data, ignore_errors=True)
    write(options.output, bench, ROOT, options.disks, syncs, options.quick)
    sys.exit(0 if all(row[8] == "0" for row in bench.rows) else 1)


main()
