#!/usr/bin/env python3
"""Measure what small objects take on disk: the growth of all DIRs from N/2 to N objects, metadata and everything included.

    tools/bench/space.py [--objects N] [--size SIZE] [--disks N] [--data DIR] [--step N] [--json]

Counted are the allocated blocks of every file below the DIRs (a hard-linked file once), less the blocks that are
preallocated and unwritten (`filefrag -v`). Before each reading the script waits until the sum rests. Exit status 1 when
the growth is more than --limit (default 4) times the bytes of the objects.
"""
import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, "tests", "clients", "lib"))

from server import Server, binary  # noqa: E402

UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20}
REST_SECONDS = 15


def kind(path):
    for part in reversed(path.split(os.sep)[:-1]):
        if part == "store":
            return "state store"
        if part.startswith("checkpoint-"):
            return "checkpoints"
        if part in ("segments", "index"):
            return part
    return "log" if os.path.basename(path).startswith("log-") else "other"


def unwritten_bytes(path):
    """Preallocated blocks that were never written: extents flagged so by the file system."""
    out = subprocess.run(["filefrag", "-b1", "-v", path], capture_output=True, text=True).stdout
    total = 0
    for line in out.splitlines():
        if "unwritten" in line:
            found = re.match(r"\s*\d+:\s*\d+\.\.\s*\d+:\s*\d+\.\.\s*\d+:\s*(\d+):", line)
            total += int(found.group(1)) if found else 0
    return total


def measure(disks, exact):
    """Bytes by kind. A file of the store that a checkpoint links is counted as the store's."""
    sums, seen = {}, set()
    for disk in disks:
        for folder, folders, names in os.walk(disk):
            folders.sort(reverse=True)  # the store before the checkpoints that link to it
            for name in names:
                path = os.path.join(folder, name)
                try:
                    status = os.lstat(path)
                except FileNotFoundError:
                    continue
                if (status.st_dev, status.st_ino) in seen:
                    continue
                seen.add((status.st_dev, status.st_ino))
                used = status.st_blocks * 512
                what = kind(path)
                if exact and used > 0 and what in ("segments", "log", "state store"):
                    used -= unwritten_bytes(path)
                sums[what] = sums.get(what, 0) + used
    return sums


def settled(disks):
    last, since, begin = None, time.monotonic(), time.monotonic()
    while time.monotonic() - since < REST_SECONDS and time.monotonic() - begin < 300:
        now = sum(measure(disks, False).values())
        if now != last:
            last, since = now, time.monotonic()
        time.sleep(1)
    return measure(disks, True)


def put(server, count, size, prefix):
    command = [binary(), "bench", "put", "--bucket", "space", "--prefix", prefix, "--size", size, "--objects", str(count),
               "--concurrency", "64", "--sign", "unsigned", "--keep", "--endpoint", server.url, "--json"]
    result = json.loads(subprocess.run(command, env=server.client_environment(), capture_output=True, text=True).stdout)
    if result["failed"]:
        raise SystemExit(f"{result['failed']} writes failed: {result['failure']}")
    return result


def size_bytes(text):
    found = re.fullmatch(r"(\d+)(B|KiB|MiB)", text)
    if not found:
        raise SystemExit(f"{text}: not a size such as 4KiB")
    return int(found.group(1)) * UNITS[found.group(2)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=1000000)
    parser.add_argument("--size", default="4KiB")
    parser.add_argument("--disks", type=int, default=6)
    parser.add_argument("--data", default=os.path.join(ROOT, "build", "space"))
    parser.add_argument("--limit", type=float, default=4)
    parser.add_argument("--step", type=int, default=0, help="also read after every so many objects")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    size, half = size_bytes(options.size), options.objects // 2
    shutil.rmtree(options.data, ignore_errors=True)
    disks = [os.path.join(options.data, f"disk{i}") for i in range(1, options.disks + 1)]
    readings = []
    try:
        with Server(disks) as server:
            step = options.step or half
            for at in range(0, options.objects, step):
                put(server, min(step, options.objects - at), options.size, f"at{at:09}/")
                now = settled(disks) if (at + step) % half == 0 else measure(disks, True)
                readings.append((min(at + step, options.objects), now))
                print(f"{at + step:>9} objects: " + ", ".join(f"{k} {v / 2**20:.0f} MiB" for k, v in sorted(now.items()) if v),
                      file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(options.data, ignore_errors=True)
    before = next(sums for count, sums in readings if count >= half)
    after = readings[-1][1]
    written = (options.objects - half) * size
    grown = {k: (after.get(k, 0) - before.get(k, 0)) / written for k in sorted({*before, *after})}
    total = sum(grown.values())
    if options.json:
        print(json.dumps({"objects": options.objects, "object_bytes": size, "growth_ratio": total, "by_kind": grown}))
    else:
        print(f"growth from {half:,} to {options.objects:,} objects of {options.size}: {total:.2f} times their bytes")
        for name, ratio in grown.items():
            print(f"  {name:<12} {ratio:.2f}")
    sys.exit(0 if total <= options.limit else 1)


main()
