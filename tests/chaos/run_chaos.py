#!/usr/bin/env python3
"""Chaos: a real cluster under load while processes are killed, stopped and cut off from each other, system calls fail, clocks are
wrong, a disk is full, wiped, damaged or in the wrong machine, and nodes come and go; then everything is healed, and what the clients
saw must be in order.

    tests/chaos/run_chaos.py [--seconds 60] [--seed S] [--voters 3] [--workers 5] [--graves N] [--keep]

Checked: each key's history is linearizable (registers, conditional writes, sets that are listed), every byte that a read
returned is the writer's (SHA-256), no process ended by itself, and after healing, each within a bounded time: every stripe
at full strength, every key readable through every gateway, `cairn fsck` clean. The seed gives the schedule and what the
workers draw, not the timing of the kernel. On a violation the folder stays. CAIRN_BINARY names another binary.
"""
import argparse
import collections
import json
import multiprocessing
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [HERE, os.path.join(ROOT, "tests", "clients", "lib")]

import history  # noqa: E402
import linear  # noqa: E402
import nemesis  # noqa: E402
from chaos_cluster import BINARY, ChaosCluster  # noqa: E402
from counter import Counter, Skip, true  # noqa: E402
from s3http import S3, Broken  # noqa: E402
from workload import BUCKET, NO_ANSWER, Odd, Worker, run_worker  # noqa: E402

NODES, DISKS, GATEWAYS, BUDGET = 6, 2, 2, 2  # 4+2
WHOLE_S = 180   # from healing to full strength, and once more for every read
KEY_S = 20      # of the checker, for one key
CALM_S = 5      # of load after healing


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=int, default=60, help="of faults (default %(default)s)")
    parser.add_argument("--seed", type=int, default=int(os.environ.get("CAIRN_SEED", "0")) or secrets.randbelow(1 << 31))
    parser.add_argument("--voters", type=int, default=3)
    parser.add_argument("--workers", type=int, default=5)
    parser.add_argument("--graves", type=int, help="grave faults, see nemesis.py (default 2, or one in 100 s from 10 minutes on)")
    parser.add_argument("--longest", type=float, help="seconds of the longest fault (default 6, or 45 from 10 minutes on)")
    parser.add_argument("--keep", action="store_true", help="keep the folder even if all is well")
    return parser.parse_args()


class Run:
    def __init__(self, options):
        self.options = options
        self.folder = tempfile.mkdtemp(prefix="cairn-chaos-")
        self.cluster = self.nemesis = self.shown = None
        self.missing = {}   # kind of fault: why this machine has none
        self.findings, self.operations, self.unknown, self.late = [], 0, 0, []
        self.log = open(os.path.join(self.folder, "faults"), "w", encoding="utf-8")

    def say(self, text):
        print(text, flush=True)
        self.log.write(text + "\n")
        self.log.flush()

    def violation(self, key, what):
        self.findings.append(history.Finding(linear.VIOLATION, key, what, []))

    # ---- the phases, each a case of the suite ----

    def start(self):
        options = self.options
        self.cluster = ChaosCluster(os.path.join(self.folder, "c"), options.voters, NODES, DISKS, GATEWAYS)
        nodes, long_run = self.cluster.names("storage-node"), options.seconds >= 600
        if not self.cluster.small_disk(nodes[options.seed % len(nodes)], 3000 if long_run else 600):
            self.missing["fill-disk"] = "file systems cannot be mounted"
        if not self.cluster.can_fail_calls():
            self.missing["fail-calls"] = "strace may not trace"
        if not self.cluster.clock_library():
            self.missing["skew-node"] = self.missing["skew-voter"] = "no C compiler"
        self.shown = self.cluster.up(lambda name: None)
        self.cluster.all_started()
        self.gateways = [(url.rpartition("/")[2].split(":")[0], int(url.rpartition(":")[2])) for url in self.shown["gateways"]]
        made = self.client(0).make_bucket(BUCKET)
        true(made.status == 200, f"make bucket: {made}")

    def client(self, number):
        return S3(*self.gateways[number], self.shown["access_key"], self.shown["secret_key"], timeout=30)

    def watch(self):
        for name, log in self.cluster.ended():
            self.violation(name, f"ended though nobody killed it; the end of its log:\n{log}")
            self.cluster.revive(name)

    def break_things(self):
        options = self.options
        longest = options.longest or (6.0 if options.seconds < 600 else 45.0)
        graves = options.graves if options.graves is not None else 2 if options.seconds < 600 else options.seconds // 100
        events = nemesis.schedule(options.seed, options.seconds, self.cluster.names("storage-node"), self.cluster.names("gateway"),
                                  self.cluster.names("metadata"), BUDGET, graves, longest, self.cluster.small)
        self.nemesis = nemesis.Nemesis(self.cluster, events, self.say, WHOLE_S, self.missing)
        self.files = [os.path.join(self.folder, f"worker{number}.jsonl") for number in range(options.workers)]
        start = time.monotonic()
        plan = {"seed": options.seed, "gateways": self.gateways, "access": self.shown["access_key"],
                "secret": self.shown["secret_key"], "files": self.files, "start": start, "epoch_s": 6.0, "pause_s": 0.04,
                "archive_bytes": 40 << 20 if options.seconds < 600 else 120 << 20}
        stop = multiprocessing.Event()
        workers = [multiprocessing.Process(target=run_worker, args=(number, plan, stop)) for number in range(options.workers)]
        for worker in workers:
            worker.start()
        try:
            later = self.nemesis.run(start, self.watch)
            time.sleep(max(0.0, start + later + options.seconds - time.monotonic()))
            self.cluster.heal()
            time.sleep(CALM_S)
            self.watch()
        finally:
            stop.set()
            for number, worker in enumerate(workers):
                worker.join(120)
                if worker.is_alive() or worker.exitcode != 0:
                    self.late.append(number)
                    worker.kill()
        true(not self.late, f"workers {self.late} did not end in order: their histories have no end")

    def whole_again(self):
        """Every stripe at full strength."""
        begun, bound = time.monotonic(), WHOLE_S
        reached, status = self.cluster.await_status(lambda one: one["degraded_stripes"] == 0 and self.nemesis.online(one), bound)
        self.say(f"healed: {self.nemesis.brief(status)} after {time.monotonic() - begun:.1f} s")
        true(status is not None, f"no voter answers {bound} s after healing")
        strength = status["stripes_by_strength"]
        true(strength["unreadable"] == 0, f"stripes are lost: {self.nemesis.brief(status)}")
        true(reached, f"not whole {bound} s after healing: {self.nemesis.brief(status)}")

    def machine_has_all(self):
        if self.missing:
            raise Skip("; ".join(f"no {kind}: {why}" for kind, why in self.missing.items()))

    def fsck_is_clean(self):
        """What was being moved or freed is a finding for some minutes."""
        begun = time.monotonic()
        while True:
            found = self.cluster.cli_any("fsck", "--json")
            if found is not None and found["clean"]:
                self.say(f"fsck is clean after {time.monotonic() - begun:.1f} s")
                return
            true(time.monotonic() < begun + WHOLE_S, f"fsck, {WHOLE_S} s after healing: {json.dumps(found)[:3000]}")
            time.sleep(2)

    def read_all(self):
        """Every key that was ever named, through every gateway; the reads are part of the histories."""
        keys, listings, self.odd, _ = history.read(self.files)
        clients = [self.client(number) for number in range(GATEWAYS)]
        for number, key in enumerate(sorted(keys)):
            self.final_read(clients, (number + self.options.seed) % GATEWAYS, key, keys[key])
            if not key.startswith("s-"):
                self.final_read(clients, (number + self.options.seed + 1) % GATEWAYS, key, keys[key])
        for prefix in {key.partition("/")[0] + "/" for key in keys if key.startswith("s-")}:
            for client in clients:
                call = time.monotonic_ns()
                try:
                    found = set(client.list_all(BUCKET, prefix))
                except (Broken, OSError) as error:
                    raise AssertionError(f"the listing of {prefix} fails after healing: {error}") from error
                listings[prefix].append((call, time.monotonic_ns(), found))
        self.keys, self.listings = keys, listings
        true(not [one for one in self.findings if one.what.startswith("not readable")], "keys are not readable after healing")

    def final_read(self, clients, number, key, operations):
        until, answer = time.monotonic() + 60, None
        while time.monotonic() < until:
            call = time.monotonic_ns()
            try:
                answer = clients[number].get(BUCKET, key)
                if answer.status not in NO_ANSWER:
                    seen = Worker.found(answer)[0]
                    operations.append(linear.op(call, time.monotonic_ns(), "get", None, seen, f"end g{number + 1}"))
                    return
            except (Broken, OSError) as error:
                answer = error
            except Odd as odd:
                self.violation(key, f"the read at the end: {odd}")
                return
            time.sleep(0.5)
        self.violation(key, f"not readable through gateway {number + 1} for 60 s after healing: {answer}")

    def in_order(self):
        found = self.odd + history.check(self.keys, self.listings, KEY_S)
        self.findings += found
        answered, self.unknown = history.outcomes(self.keys)
        self.operations = answered + self.unknown + sum(map(len, self.listings.values()))
        true(self.operations > self.options.seconds, f"only {self.operations} operations")
        bad = [one for one in found if one.verdict == linear.VIOLATION]
        true(not bad, f"{len(bad)} violations, the first of {bad[0].key if bad else ''}")

    def no_process_ended(self):
        bad = [one for one in self.findings if one.what.startswith("ended though")]
        true(not bad, f"{[one.key for one in bad]} ended by themselves")

    def stop(self):
        late = self.cluster.close()
        true(not late, f"{late} did not stop in order on SIGTERM")

    # ---- the end ----

    def figures(self):
        violations = sum(1 for one in self.findings if one.verdict == linear.VIOLATION)
        undecided = sum(1 for one in self.findings if one.verdict == linear.UNKNOWN_VERDICT)
        faults = self.nemesis.counts if self.nemesis else collections.Counter()
        shown = {"seed": self.options.seed, "seconds": self.options.seconds, "voters": self.options.voters,
                 "operations": self.operations, "unknown_outcomes": self.unknown, "keys": len(getattr(self, "keys", ())),
                 "faults": sum(faults.values()), "faults_by_kind": dict(sorted(faults.items())), "violations": violations,
                 "unknown_verdicts": undecided}
        for note in self.nemesis.notes if self.nemesis else []:
            self.say(f"note: {note}")
        if self.nemesis and self.nemesis.skipped:
            self.say(f"not done, for want of the node or of what this machine lacks: {dict(self.nemesis.skipped)}")
        self.say("chaos: " + json.dumps(shown))

    def report(self):
        for finding in self.findings[:10]:
            self.say(history.shown(finding))
        if len(self.findings) > 10:
            self.say(f"... and {len(self.findings) - 10} more")


def main():
    options = arguments()
    run, counter = Run(options), Counter("chaos")
    again = f"tests/chaos/run_chaos.py --seconds {options.seconds} --seed {options.seed} --voters {options.voters} " \
            f"--workers {options.workers}" + (f" --graves {options.graves}" if options.graves is not None else "") + \
            (f" --longest {options.longest}" if options.longest else "")
    run.say(f"seed {options.seed}; again: {again}")
    try:
        if counter.case("the cluster starts", run.start):
            counter.case("load while things break", run.break_things)
            counter.case("this machine has every fault", run.machine_has_all)
            counter.case("full strength after healing", run.whole_again)
            counter.case("every key is readable after healing", run.read_all)
            counter.case("fsck is clean after healing", run.fsck_is_clean)
            counter.case("every history is in order", run.in_order)
            counter.case("no process ended by itself", run.no_process_ended)
        run.figures()
        run.report()
    finally:
        if run.cluster is not None:
            counter.case("every process stops in order", run.stop)
    if counter.failed or options.keep:
        run.say(f"kept {run.folder}: faults, worker*.jsonl, c/*/log. Again: {again}")
    run.log.close()
    if not counter.failed and not options.keep:
        shutil.rmtree(run.folder, ignore_errors=True)
    counter.finish()


if __name__ == "__main__":
    main()
