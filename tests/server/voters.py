#!/usr/bin/env python3
"""Several metadata voters, real processes on loopback: the leader is killed, ended, stopped under writers; voters join, are
promoted and removed; a majority goes and comes back; all are asked the same.

    tests/server/voters.py [CASE...]

CAIRN_BINARY names another binary, CAIRN_TEST_KEEP=1 keeps the files.
"""
import concurrent.futures
import glob
import json
import os
import shutil
import signal
import subprocess
import threading
import time

from cluster import BINARY, Cluster, check, fill, with_cluster
from server import free_ports
from server_world import equal, has, run_cases, true

SETTLE_S = 60


def metadata_list(cluster, admin):
    """What the voter at that admin address says of the quorum; None: it does not answer."""
    done = subprocess.run([BINARY, "metadata", "list", "--json", "--admin", admin], env=dict(os.environ, **cluster.keys),
                          capture_output=True, text=True, timeout=60, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else None


def voters_of(cluster):
    return [p for p in cluster.state()["processes"] if p["role"] == "metadata"]


def leader_of(cluster):
    until = time.monotonic() + SETTLE_S
    while time.monotonic() < until:
        for voter in voters_of(cluster):
            shown = metadata_list(cluster, voter["admin"])
            if shown is not None and shown["leads"]:
                return voter
        time.sleep(0.2)
    raise AssertionError(f"nobody leads after {SETTLE_S} s")


def until_true(what, ask):
    end = time.monotonic() + SETTLE_S
    while not ask():
        true(time.monotonic() < end, f"not after {SETTLE_S} s: {what}")
        time.sleep(0.2)


class Writer(threading.Thread):
    """Puts one small object after the other and keeps what was answered."""

    def __init__(self, cluster, prefix):
        super().__init__()
        self.s3, self.prefix, self.ended = cluster.s3(), prefix, threading.Event()
        self.acked, self.refused, self.gap = [], [], 0.0
        true(self.s3.make_bucket("bucket").status in (200, 409), "make bucket")

    def run(self):
        last = time.monotonic()
        while not self.ended.is_set():
            key = f"{self.prefix}{len(self.acked) + len(self.refused)}"
            answer = self.s3.put("bucket", key, key.encode())
            now = time.monotonic()
            if answer.status == 200:
                self.gap = max(self.gap, now - last)
                self.acked.append(key)
            else:
                self.refused.append((key, answer.status))
            last = now
            time.sleep(0.005)

    def stop(self):
        self.ended.set()
        self.join()
        for key in self.acked:
            got = self.s3.get("bucket", key)
            true(got.status == 200 and got.body == key.encode(), f"{key} was acknowledged: {got.status}")


def the_leader_is_lost(_world):
    with_cluster(leaders, nodes=3, disks=1, gateways=1, voters=3)


def leaders(cluster):
    for way in (signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP):
        voter = leader_of(cluster)
        writer = Writer(cluster, way.name.lower())
        writer.start()
        time.sleep(0.5)
        os.kill(voter["pid"], way)
        time.sleep(4)
        before = len(writer.acked)
        time.sleep(0.5)
        true(len(writer.acked) > before, f"{way.name}: no write is acknowledged 4 s after")
        true(leader_of(cluster)["name"] != voter["name"] if way != signal.SIGSTOP else True, "another leads")
        if way == signal.SIGSTOP:
            os.kill(voter["pid"], signal.SIGCONT)
            until_true("the stopped one follows", lambda: not (metadata_list(cluster, voter["admin"]) or {"leads": True})["leads"])
        else:
            cluster.tool("start", voter["name"])
        writer.stop()
        equal(writer.refused, [], f"{way.name}: refused writes")
        print(f"  {way.name}: longest wait for a write {writer.gap:.2f} s of {len(writer.acked)} writes")
    until_true("all voters are current", lambda: cluster.status()["metadata_replicas_behind"] == 0)
    equal(json.loads(cluster.cli("fsck", "--json"))["clean"], True, "fsck")


def a_majority_is_away(_world):
    with_cluster(majorities, nodes=3, disks=1, gateways=1, voters=3)


def majorities(cluster):
    fill(cluster, "a")
    voters = voters_of(cluster)
    for voter in voters[1:]:
        cluster.tool("kill", voter["name"])
    s3 = cluster.s3()
    time.sleep(3)  # until no lease holds
    waits = [concurrent.futures.ThreadPoolExecutor().submit(call) for call in (
        lambda: s3.put("bucket", "lost", b"x").status, lambda: cluster.s3().get("bucket", "a100").status)]  # 30 s
    equal([wait.result() for wait in waits], [503, 503], "put and get without a majority")
    s3 = cluster.s3()
    left = metadata_list(cluster, voters[0]["admin"])
    true(left is not None and not left["leads"], f"the voter that is left says who is there, and leads nobody: {left}")
    equal([m["role"] for m in left["members"]], ["voter"] * 3, "members")
    has(cluster.cli("status", status=1), "no metadata voter leads", "status without a majority")
    cluster.tool("start", voters[1]["name"])
    # what lies on disks too, once the gateway's session is renewed
    until_true("get with two of three", lambda: all(s3.get("bucket", key).status == 200 for key in ("a100", "a70000")))
    check(cluster, "a")
    equal(s3.put("bucket", "again", b"x").status, 200, "put with two of three")
    true(cluster.status()["metadata_replicas_behind"] >= 1, "one voter is away and none is behind")
    cluster.tool("start", voters[2]["name"])
    until_true("all voters are current", lambda: cluster.status()["metadata_replicas_behind"] == 0)
    # All at once: a power cut.
    for process in cluster.state()["processes"]:
        os.kill(process["pid"], signal.SIGKILL)
    cluster.tool("up")
    check(cluster, "a")
    equal(cluster.s3().get("bucket", "again").body, b"x", "what two of three acknowledged")


def a_majority_is_lost_for_good(_world):
    with_cluster(recovery, nodes=3, disks=1, gateways=1, voters=3)


def recovery(cluster):
    """One voter of three goes on alone, others join, and nothing that it had is gone."""
    fill(cluster, "a")
    until_true("all voters are current", lambda: cluster.status()["metadata_replicas_behind"] == 0)
    kept, *lost = voters_of(cluster)
    running = subprocess.run([BINARY, "metadata", "recover", "--data", kept["data"], "--i-accept-data-loss"],
                             capture_output=True, text=True, timeout=60, check=False)
    equal(running.returncode, 1, "recovery of a voter that runs")
    has(running.stderr, "in use", "why")
    cluster.tool("kill", kept["name"])
    for voter in lost:
        cluster.tool("kill", voter["name"])
        shutil.rmtree(voter["data"])
    look = subprocess.run([BINARY, "metadata", "recover", "--data", kept["data"]], capture_output=True, text=True, timeout=60,
                          check=False)
    equal(look.returncode, 1, "recovery without consent")
    has(look.stdout, "index", "how far its log goes")
    has(look.stderr, "--i-accept-data-loss", "what is missing")
    done = subprocess.run([BINARY, "metadata", "recover", "--data", kept["data"], "--i-accept-data-loss"], capture_output=True,
                          text=True, timeout=60, check=False)
    equal(done.returncode, 0, f"recovery: {done.stderr}")
    for voter in lost:
        has(done.stdout, voter["name"], "the voters that are removed")
    cluster.shown["admin"] = kept["admin"]
    cluster.tool("start", kept["name"])
    until_true("it answers alone", lambda: cluster.s3().get("bucket", "a100").status == 200)
    equal([m["name"] for m in metadata_list(cluster, kept["admin"])["members"]], [kept["name"]], "members")
    check(cluster, "a")
    fill(cluster, "b")
    ports = free_ports(2)
    token = json.loads(cluster.cli("token", "create", "--role", "metadata", "--json"))["token"]
    argv = [BINARY, "metadata", "--data", os.path.join(cluster.folder, "new"), "--name", "new", "--listen",
            f"127.0.0.1:{ports[0]}", "--admin-listen", f"127.0.0.1:{ports[1]}", "--join", cluster.voter, "--token", token]
    child = subprocess.Popen(argv, stdout=open(os.path.join(cluster.folder, "new.log"), "wb"), stderr=subprocess.STDOUT)
    try:
        until_true("another voter", lambda: subprocess.run(
            [BINARY, "metadata", "promote", "new", "--admin", kept["admin"]], env=dict(os.environ, **cluster.keys),
            capture_output=True, timeout=60, check=False).returncode == 0)
        cluster.tool("restart", kept["name"])  # what it has of the change is durable
        until_true("two voters", lambda: cluster.s3().get("bucket", "b100").status == 200)
        check(cluster, "b")
        until_true("all is whole", lambda: cluster.status()["degraded_stripes"] == 0)
        equal(json.loads(cluster.cli("fsck", "--json"))["clean"], True, "fsck")
    finally:
        child.terminate()
        equal(child.wait(60), 0, "end of the new voter")


def every_voter_answers_the_same(_world):
    with_cluster(answers, nodes=3, disks=1, gateways=1, voters=3)


def answers(cluster):
    fill(cluster, "a")
    addresses = [voter["admin"] for voter in voters_of(cluster)]
    leads = [metadata_list(cluster, address)["leads"] for address in addresses]
    equal(sorted(leads), [False, False, True], "one leads")
    for words in (("status",), ("disk", "list"), ("node", "list"), ("bucket", "list"), ("explain", "bucket", "a70000"),
                  ("durability",)):
        seen = []
        for address in addresses:
            done = subprocess.run([BINARY, *words, "--json", "--admin", address], env=dict(os.environ, **cluster.keys),
                                  capture_output=True, text=True, timeout=60, check=False)
            equal(done.returncode, 0, f"cairn {words} at {address}: {done.stderr}")
            seen.append(json.loads(done.stdout))
        true(all(sorted(one) == sorted(seen[0]) for one in seen), f"cairn {words}: other names by another voter")
        if words == ("status",):
            equal([one["degraded_stripes"] for one in seen], [0, 0, 0], "degraded stripes by each voter")
            true(all(one["state"] == "ok" for one in seen), f"state by each voter: {[one['state'] for one in seen]}")
    for address in addresses:
        done = subprocess.run([BINARY, "fsck", "--json", "--admin", address], env=dict(os.environ, **cluster.keys),
                              capture_output=True, text=True, timeout=120, check=False)
        equal((done.returncode, json.loads(done.stdout)["clean"]), (0, True), f"fsck at {address}: {done.stderr}")
        done = subprocess.run([BINARY, "explain", "bucket", "no such key", "--admin", address],
                              env=dict(os.environ, **cluster.keys), capture_output=True, text=True, timeout=60, check=False)
        equal(done.returncode, 1, "explain of what is not there")
        has(done.stderr, "no", f"why, from {address}")


def voters_join_and_leave(_world):
    with_cluster(joins, nodes=3, disks=1, gateways=1)


def joins(cluster):
    """From one voter to three and on to others, while objects come in."""
    writer = Writer(cluster, "join")
    writer.start()
    first = voters_of(cluster)[0]
    ports = free_ports(4)
    children, admins = [], [first["admin"]]
    try:
        for number in range(2):
            token = json.loads(cluster.cli("token", "create", "--role", "metadata", "--json"))["token"]
            folder = os.path.join(cluster.folder, f"v{number + 2}")
            admins.append(f"127.0.0.1:{ports[2 * number + 1]}")
            argv = [BINARY, "metadata", "--data", folder, "--name", f"v{number + 2}", "--listen",
                    f"127.0.0.1:{ports[2 * number]}", "--admin-listen", admins[-1], "--join", cluster.voter, "--token", token]
            with open(folder + ".log", "wb") as log:
                children.append(subprocess.Popen(argv, stdout=log, stderr=log))
            until_true(f"v{number + 2} is a stand-by", lambda name=f"v{number + 2}": name in [
                m["name"] for m in metadata_list(cluster, first["admin"])["members"]])
            member = [m for m in metadata_list(cluster, first["admin"])["members"] if m["name"] == f"v{number + 2}"][0]
            equal(member["role"], "stand-by", "role of one that has joined")
            has(cluster.cli("metadata", "promote", "nobody", status=1), "no metadata process", "promoting nobody")
            until_true("promote", lambda name=f"v{number + 2}": subprocess.run(
                [BINARY, "metadata", "promote", name, "--admin", first["admin"]], env=dict(os.environ, **cluster.keys),
                capture_output=True, timeout=60, check=False).returncode == 0)
        equal([m["role"] for m in metadata_list(cluster, first["admin"])["members"]], ["voter"] * 3, "three voters")
        cluster.shown["admin"] = ",".join(admins)
        # The first one leaves for good: the two that came go on, the node's and gateway's next start finds them.
        cluster.cli("metadata", "remove", first["name"])
        until_true("two voters", lambda: [m["role"] for m in (metadata_list(cluster, admins[1]) or {"members": []})[
            "members"]] == ["voter"] * 2)
        cluster.tool("kill", first["name"])
        before = len(writer.acked)
        until_true("writes without the first voter", lambda: len(writer.acked) > before + 10)
        until_true("the gateway has noted where the voters are", lambda: all(
            cluster.voter not in open(path, encoding="utf-8").read() and f":{ports[2]}" in open(path, encoding="utf-8").read()
            for path in glob.glob(os.path.join(cluster.folder, "c", "gateway1", "data", "identity"))))
        writer.stop()
        equal(writer.refused, [], "refused writes while voters came and went")
        cluster.tool("restart", "gateway1")
        cluster.tool("restart", "node1")
        until_true("all is whole", lambda: cluster.status()["degraded_stripes"] == 0)
        equal(cluster.s3().get("bucket", "join0").body, b"join0", "an old object")
        # It must not come back.
        again = subprocess.run([BINARY, "metadata", "--data", first["data"], "--listen", first["listen"], "--admin-listen",
                                first["admin"]], capture_output=True, text=True, timeout=60, check=False)
        true(again.returncode != 0, "a removed voter starts again")
        has(again.stderr, "removed", "why it does not start")
    finally:
        for child in children:
            child.terminate()
        for child in children:
            equal(child.wait(60), 0, "end of a voter")


CASES = {name: value for name, value in list(globals().items())
         if callable(value) and getattr(value, "__module__", "") == "__main__" and name.startswith(("the_", "a_", "every_", "voters_join"))}

if __name__ == "__main__":
    run_cases("voters", CASES)
