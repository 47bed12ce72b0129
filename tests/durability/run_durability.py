#!/usr/bin/env python3
"""Durability: kills, lost disks, full disks, flipped bits, failed system calls. Fails on any loss.

    tests/durability/run_durability.py [--kill-rounds N] [--long] [NAME...]

NAME: kill9 disk_loss enospc corruption inject (default: all). CAIRN_SEED replays a printed seed.
"""
import argparse
import importlib

from faults_common import Counter

PROGRAMS = ["kill9", "disk_loss", "corruption", "enospc", "inject"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kill-rounds", type=int, default=10)
    parser.add_argument("--long", action="store_true")
    parser.add_argument("names", nargs="*", default=PROGRAMS)
    options = parser.parse_args()
    counter = Counter("durability")
    for name in options.names:
        module = importlib.import_module(name)
        print(f"-- {name}", flush=True)
        argument = options.kill_rounds if name == "kill9" else options.long
        try:
            module.run(counter, argument)
        except Exception as error:  # a program that cannot go on has failed; the others still run
            counter.failed += 1
            print(f"FAILED durability: {name}: {type(error).__name__}: {error}", flush=True)
    counter.finish()


main()
