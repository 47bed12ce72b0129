#!/usr/bin/env python3
"""What do many silent connections cost those that work? GETs of 4 KiB objects beside none, and beside N that are idle or half
sent, in turns.

    tools/bench/idle_bench.py [--connections 10000] [--seconds 5] [--rounds 3] [--concurrency 8]

Prints Markdown: p50 and p99 of each turn and their ratio (RELIABILITY A19: p99 at most twice). Half of the silent connections say
nothing, half stop in their head. The file limit must let both sides hold them.
"""
import argparse
import json
import os
import resource
import socket
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, "tests", "clients", "lib"))

from server import Server, binary  # noqa: E402

HALF = b"GET /bench/k HTTP/1.1\r\nHost: half"
PORTS_EACH = 5000  # connections of one source address, of some 28,000 ports


def get(server, options):
    argv = [binary(), "bench", "get", "--endpoint", server.url, "--bucket", "bench", "--prefix", "p", "--size", "4KiB", "--duration",
            f"{options.seconds}s", "--concurrency", str(options.concurrency), "--json"]
    done = subprocess.run(argv, env=server.client_environment(), check=True, capture_output=True, text=True)
    result = json.loads(done.stdout)
    if result["failed"]:
        raise SystemExit(f"{result['failed']} GETs failed: {result['failure']}")
    return result["latency"]["get"]


def silent(server, count):
    sockets = []
    for i in range(count):
        sock = socket.socket()
        sock.bind((f"127.0.0.{2 + i // PORTS_EACH}", 0))
        sock.connect(("127.0.0.1", server.port))
        if i % 2 == 1:
            sock.sendall(HALF)
        sockets.append(sock)
    return sockets


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--connections", type=int, default=10000)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--concurrency", type=int, default=8)
    options = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    print(f"| round | p50 / p99 ms alone | beside {options.connections} | p99 ratio |\n|---|---|---|---|")
    with Server(6) as server:
        for number in range(options.rounds):
            alone = get(server, options)
            sockets = silent(server, options.connections)
            time.sleep(1)
            beside = get(server, options)
            for sock in sockets:
                sock.close()
            print(f"| {number + 1} | {alone['p50_ms']:.2f} / {alone['p99_ms']:.2f} | {beside['p50_ms']:.2f} / {beside['p99_ms']:.2f} | "
                  f"{beside['p99_ms'] / alone['p99_ms']:.2f} |", flush=True)
            time.sleep(1)


if __name__ == "__main__":
    main()
