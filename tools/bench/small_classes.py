#!/usr/bin/env python3
"""Compare the three classes of small objects, side by side: inline bytes, 1+m copies, k+m narrow cells.

    tools/bench/small_classes.py [--sizes 1KiB,4KiB,...] [--seconds S] [--disks N] [--data DIR]

One server for each class runs at the same time (all through its hidden option --small-classes INLINE:COPIES); the classes
take turns at every size, so that noise of the machine meets all of them. Syncs are counted by the kernel (perf stat on
sys_enter_fdatasync), bytes written by the device (whoever wrote them: the machine should be quiet), CPU is the server's.
Prints a table in Markdown.
"""
import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, "tests", "clients", "lib"))

from server import Server, binary  # noqa: E402

UNITS = {"KiB": 1 << 10}
INLINE_MAX, COPIES_MAX = 64 << 10, 128 << 10
CLASSES = {"inline": f"{INLINE_MAX}:0", "copies": f"0:{COPIES_MAX}", "cells": "0:0"}
LARGEST = {"inline": INLINE_MAX, "copies": COPIES_MAX, "cells": 1 << 30}


def written_bytes(path):
    """Bytes that the device below `path` has taken so far, from any process; None where the kernel doesn't say."""
    device = os.stat(path).st_dev
    with open("/proc/diskstats", encoding="ascii") as f:
        for fields in map(str.split, f):
            if (int(fields[0]), int(fields[1])) == (os.major(device), os.minor(device)):
                return int(fields[9]) * 512
    return None


class SyncCount:
    """Counts fdatasync of one process while the block runs; None where perf is not allowed."""

    def __init__(self, pid):
        self.command = ["perf", "stat", "-x", ",", "-e", "syscalls:sys_enter_fdatasync", "-p", str(pid)]
        self.count = None

    def __enter__(self):
        try:
            self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            time.sleep(0.3)
        except FileNotFoundError:
            self.process = None
        return self

    def __exit__(self, *unused):
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            for line in self.process.communicate()[1].splitlines():
                first = line.split(",")[0]
                self.count = int(first) if first.isdigit() else self.count


def bench(server, *arguments):
    command = [binary(), "bench", *arguments, "--sign", "unsigned", "--endpoint", server.url, "--json"]
    done = subprocess.run(command, env=server.client_environment(), capture_output=True, text=True)
    result = json.loads(done.stdout)
    if result["failed"]:
        raise SystemExit(f"{' '.join(arguments)}: {result['failed']} failed: {result['failure']}")
    return result


def per_request_us(result):
    return 1e6 * (result["server_cpu_seconds"] or 0) / max(1, result["requests"])


def one(server, name, size, seconds):
    """A row: the class at one size."""
    row = {"class": name, "size": size}
    for connections in (1, 32):
        common = ["--bucket", "classes", "--prefix", f"{name}-{size}-{connections}/", "--size", size, "--concurrency",
                  str(connections)]
        with SyncCount(server.process.pid) as syncs:
            before = written_bytes(server.disks[0])
            put = bench(server, "put", *common, "--duration", f"{seconds}s", "--objects", "1000000", "--keep")
        wrote = None if before is None else written_bytes(server.disks[0]) - before
        there = str(min(500, put["requests"]))
        get = bench(server, "get", *common, "--objects", there, "--duration", f"{seconds}s", "--prepared", "--keep")
        row[connections] = {
            "syncs": None if syncs.count is None else syncs.count / max(1, put["requests"]),
            "wrote": None if wrote is None else wrote / 1024 / max(1, put["requests"]), "put_us": per_request_us(put), "get_us": per_request_us(get),
            "put_ms": put["latency"]["put"]["p50_ms"], "get_ms": get["latency"]["get"]["p50_ms"],
            "put_rate": put["requests_per_second"], "get_rate": get["requests_per_second"]}
    return row


def line(row):
    alone, many = row[1], row[32]

    def number(value, digits):
        return "-" if value is None else f"{value:.{digits}f}"
    return (f"| {row['size']} | {row['class']} | {number(alone['syncs'], 1)} / {number(many['syncs'], 2)} | "
            f"{number(many['wrote'], 0)} | {many['put_us']:.0f} / {many['get_us']:.0f} | "
            f"{alone['put_ms']:.2f} / {alone['get_ms']:.2f} | {many['put_ms']:.1f} / {many['get_ms']:.2f} | "
            f"{many['put_rate']:.0f} / {many['get_rate']:.0f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1KiB,2KiB,4KiB,8KiB,16KiB,32KiB,64KiB,128KiB,256KiB")
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--disks", type=int, default=6)
    parser.add_argument("--data", default=os.path.join(ROOT, "build", "small-classes"))
    options = parser.parse_args()
    shutil.rmtree(options.data, ignore_errors=True)
    servers = {}
    try:
        for name, limits in CLASSES.items():
            disks = [os.path.join(options.data, name, f"disk{i}") for i in range(1, options.disks + 1)]
            servers[name] = Server(disks, args=["--small-classes", limits])
            servers[name].start()
        print("| size | class | syncs per PUT, 1 / 32 connections | KiB that the device wrote per PUT | CPU us PUT / GET | "
              "p50 ms PUT / GET, 1 connection | p50 ms PUT / GET, 32 connections | PUT/s / GET/s, 32 connections |")
        print("|---|---|---|---|---|---|---|---|", flush=True)
        for size in options.sizes.split(","):
            length = int(size[:-3]) * UNITS[size[-3:]]
            for name, server in servers.items():
                if length <= LARGEST[name]:
                    print(line(one(server, name, size, options.seconds)), flush=True)
    finally:
        for server in servers.values():
            server.kill()
            shutil.rmtree(server.base, ignore_errors=True)
        shutil.rmtree(options.data, ignore_errors=True)


main()
