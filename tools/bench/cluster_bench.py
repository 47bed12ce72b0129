#!/usr/bin/env python3
"""Measure a cluster on this machine beside `cairn server`: 3 voters, 6 storage nodes of two disks each, a gateway, on loopback.

    tools/bench/cluster_bench.py [--seconds 10] [--lost-gib 1]

Prints Markdown: throughput and latency of 4 KiB and 10 MiB objects through both, in turns; memory of each role idle and loaded;
the time to full strength after a node is lost for good (its data directory and disk removed), and the latency of a writer
meanwhile. Client and servers share the machine; every write is durable before it is acknowledged.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, "tests", "clients", "lib"))

from server import Server, binary  # noqa: E402

MIB, REPAIR_WAIT = 1 << 20, "10s"
ROLES = {"metadata": "voter", "storage-node": "storage node", "gateway": "gateway"}


class Cluster:
    def __init__(self, folder):
        self.folder = folder
        self.shown = json.loads(self.tool("up", "--json", "--voters", "3", "--nodes", "6", "--disks", "2", "--gateways", "1",
                                          "--repair-wait", REPAIR_WAIT))
        self.url = self.shown["gateways"][0]
        self.environment = dict(os.environ, CAIRN_ACCESS_KEY=self.shown["access_key"],
                                CAIRN_SECRET_KEY=self.shown["secret_key"])

    def tool(self, *words):
        return subprocess.run([os.path.join(ROOT, "deploy", "local-cluster"), *words, "--dir", self.folder], check=True,
                              env=dict(os.environ, CAIRN_BINARY=binary()), capture_output=True, text=True).stdout

    def status(self):
        return json.loads(subprocess.run([binary(), "status", "--json", "--admin", self.shown["admin"]], env=self.environment,
                                         check=True, capture_output=True, text=True).stdout)

    def resident(self):
        """The largest of each role, MiB."""
        largest = {}
        for process in self.shown["processes"]:
            with open(f"/proc/{process['pid']}/statm", encoding="ascii") as f:
                mib = int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MIB
            largest[process["role"]] = max(largest.get(process["role"], 0), mib)
        return largest


def bench(url, environment, *words):
    done = subprocess.run([binary(), "bench", *words, "--endpoint", url, "--json"], env=environment, capture_output=True, text=True)
    if not done.stdout.strip():
        raise SystemExit(f"cairn bench {' '.join(words)}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def row(what, results):
    cells = []
    for one in results:
        latency = one["latency"][one["operation"]]
        rate = one["sent_mib_per_second"] + one["received_mib_per_second"]
        figure = f"{rate:.0f} MiB/s" if "MiB" in what else f"{one['requests_per_second']:.0f}/s"
        cells.append(f"{figure}, {latency['p50_ms']:.2f} / {latency['p99_ms']:.2f} ms, {one['failed']} failed")
    print(f"| {what} | {cells[0]} | {cells[1]} |", flush=True)


def side_by_side(cluster, server, seconds):
    print("| what | cluster: rate, p50 / p99 | `cairn server`, 6 DIRs |\n|---|---|---|")
    time_words = ["--duration", f"{seconds}s"]
    for what, words in (("4 KiB PUT, 32 connections", ["put", "--size", "4KiB", "--concurrency", "32", *time_words]),
                        ("4 KiB GET, 32 connections", ["get", "--size", "4KiB", "--concurrency", "32", "--objects", "5000", *time_words]),
                        ("10 MiB PUT, 8 connections", ["put", "--size", "10MiB", "--concurrency", "8", *time_words]),
                        ("10 MiB GET, 8 connections", ["get", "--size", "10MiB", "--concurrency", "8", "--objects", "50", *time_words])):
        row(what, [bench(cluster.url, cluster.environment, *words), bench(server.url, server.client_environment(), *words)])


def node_lost(cluster, gib):
    bench(cluster.url, cluster.environment, "put", "--size", "10MiB", "--objects", str(int(gib * 1024 / 10)), "--concurrency", "4",
          "--bucket", "kept", "--keep")
    bytes_before = cluster.status()["bytes"]
    cluster.tool("kill", "node6")
    lost = time.monotonic()
    load = bench(cluster.url, cluster.environment, "put", "--size", "4KiB", "--concurrency", "1", "--bucket", "load", "--duration", "20s")
    while True:
        status = cluster.status()
        if status["degraded_stripes"] == 0:
            break
        time.sleep(0.5)
    print(f"\nOne of six nodes lost for good, {bytes_before / (1 << 30):.1f} GiB of objects, given up after {REPAIR_WAIT}: full "
          f"strength {time.monotonic() - lost:.0f} s after the loss; a writer of 4 KiB objects meanwhile: p50 "
          f"{load['latency']['put']['p50_ms']:.2f} ms, p99 {load['latency']['put']['p99_ms']:.2f} ms, {load['failed']} failed.")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=int, default=10, help="of each measurement (default %(default)s)")
    parser.add_argument("--lost-gib", type=float, default=1, help="GiB that the cluster holds when a node is lost (default %(default)s)")
    options = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="cairn-bench-")
    cluster = Cluster(os.path.join(folder, "c"))
    try:
        idle = cluster.resident()
        with Server() as server:
            side_by_side(cluster, server, options.seconds)
        loaded = cluster.resident()
        print("\n| role | MiB resident, idle | after the load |\n|---|---|---|")
        for role, name in ROLES.items():
            print(f"| {name} | {idle[role]:.0f} | {loaded[role]:.0f} |")
        node_lost(cluster, options.lost_gib)
    finally:
        cluster.tool("down")
        shutil.rmtree(folder, ignore_errors=True)


main()
