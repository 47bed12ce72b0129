#!/usr/bin/env python3
"""What an operator asks of a running system: durability, fsck, of `cairn server` and of a cluster alike, with real processes.

    tests/server/verbs.py [CASE...]

CAIRN_BINARY names another binary, CAIRN_TEST_KEEP=1 keeps the files.
"""
import json
import os
import shutil
import subprocess
import threading
import time

from server_world import equal, has, run_cases, true
from cluster import BINARY, fill as cluster_fill, with_cluster

BODY = os.urandom(300000)


def ask(up, *words, code=0):
    """A verb of `cairn server` with --json."""
    status, out, err = up.cli(*words)
    equal(status, code, f"cairn {words}: {out} {err}")
    return out if isinstance(out, dict) else json.loads(out)


def cluster_ask(cluster, *words, code=0):
    done = subprocess.run([BINARY, *words, "--admin", cluster.shown["admin"], "--json"], env=dict(os.environ, **cluster.keys),
                          capture_output=True, text=True, timeout=120, check=False)
    equal(done.returncode, code, f"cairn {words}: {done.stdout[-2000:]} {done.stderr}")
    return json.loads(done.stdout)


class Writers:
    """Threads that put, overwrite, delete and upload in parts until they are told to stop."""

    def __init__(self, clients, bucket):
        self.ended, self.failures, self.done = False, [], 0
        self.threads = [threading.Thread(target=self.work, args=(s3, bucket, number)) for number, s3 in enumerate(clients)]
        for thread in self.threads:
            thread.start()

    def work(self, s3, bucket, number):
        turn = 0
        while not self.ended:
            key = f"w{number}-{turn % 20}"
            answers = [s3.put(bucket, key, BODY[: (turn * 7919) % len(BODY)])]
            if turn % 3 == 0:
                answers.append(s3.delete(bucket, key))
            if turn % 10 == 0:
                answers.append(s3.multipart_put(bucket, f"m{number}-{turn % 40}", [BODY * 18, BODY[:5000]]))
            if turn % 10 == 5:
                answers.append(s3.request("POST", f"/{bucket}/u{number}", "uploads="))
            self.failures += [str(a) for a in answers if a.status not in (200, 204)]
            self.done += len(answers)
            turn += 1

    def stop(self):
        self.ended = True
        for thread in self.threads:
            thread.join()
        equal(self.failures[:3], [], "failed requests")
        return self.done


def durability_counts(world):
    dirs = world.dirs(6)
    up = world.up(dirs)
    s3 = up.s3()
    s3.make_bucket("bucket")
    for i in range(4):
        equal(s3.put("bucket", f"large{i}", BODY).status, 200, "put")
        equal(s3.put("bucket", f"small{i}", BODY[:20000]).status, 200, "put")
    d = ask(up, "durability")
    status = up.status()
    equal((d["state"], d["stripes"], d["degraded_stripes"], d["degraded_placement_stripes"], d["crowded_stripes"]),
          ("ok", status["stripes"], 0, 0, 0), "durability")
    equal(d["stripes_by_strength"], status["stripes_by_strength"], "as in status")
    equal({c["class"]: c["extents"] for c in d["classes"]}, {"4+2": 4, "1+2": 4}, "classes")
    equal(sum(c["stripes"] for c in d["classes"]), d["stripes"], "sum of the classes")
    equal((d["disks"], d["disks_away"]), (6, 0), "disks")
    shutil.rmtree(dirs[1])
    up.wait_status("one disk lost", lambda s: [x["state"] for x in s["disks"]].count("online") == 5)
    d = ask(up, "durability")
    four_two = [c for c in d["classes"] if c["class"] == "4+2"][0]
    equal(four_two["stripes_by_strength"]["missing_1"], four_two["stripes"], "every 4+2 stripe lost a shard")
    equal((d["state"], d["disks_away"], d["oldest_verification_seconds"]), ("degraded", 1, None), "one disk away")
    code, text, _ = up.cli("durability", json_wanted=False)
    equal(code, 0, "durability for a person")
    has(text, ["State          degraded", "4+2", "missing_1"], "durability for a person")


def fsck_is_clean_while_writes_go_on(world):
    up = world.up(world.dirs(6))
    s3 = up.s3()
    s3.make_bucket("bucket")
    s3.make_bucket("other")
    writers = [Writers([up.s3() for _ in range(3)], "bucket"), Writers([up.s3() for _ in range(2)], "other")]
    runs = 0
    until = time.monotonic() + 12
    while time.monotonic() < until:
        result = ask(up, "fsck")
        equal((result["state"], result["clean"], result["findings"]), ("done", True, []), "fsck under load")
        runs += 1
    done = sum(writer.stop() for writer in writers)
    status = up.wait_status("collected", lambda s: s["gc_items"] == 0)
    result = ask(up, "fsck")
    equal((result["clean"], result["checked"]["versions"], result["checked"]["extents"], result["checked"]["gc_items"]),
          (True, status["versions"], status["extents"], 0), "fsck at the end")
    true(runs >= 3 and done > 50 and result["checked"]["manifests"] > 0, f"{runs} runs, {done} requests, {result}")
    code, text, _ = up.cli("fsck", json_wanted=False)
    equal(code, 0, "fsck for a person")
    has(text, ["Checked ", "Findings       0"], "fsck for a person")


def shards_swap(path, saved):
    for name in ("segments", "index"):
        shutil.rmtree(os.path.join(path, name))
        shutil.copytree(os.path.join(saved, name), os.path.join(path, name))


def fsck_finds_lost_shards_and_an_absent_disk(world):
    dirs = world.dirs(6)
    up = world.up(dirs)
    up.s3().make_bucket("bucket")
    equal(up.s3().put("bucket", "old", BODY).status, 200, "put")
    up.stop()
    saved = world.dir("saved", make=False)
    shutil.copytree(dirs[0], saved)
    up = world.up(dirs)
    for i in range(5):
        equal(up.s3().put("bucket", f"new{i}", BODY).status, 200, "put")
    up.stop()
    shards_swap(dirs[0], saved)  # as it was before the last writes
    up = world.up(dirs)
    result = ask(up, "fsck", code=1)
    equal((result["clean"], result["findings_by_kind"]), (False, {"shard_absent": 5}), "five shards are gone")
    disk = [d["id"] for d in up.status()["disks"] if d["path"] == dirs[0]][0]
    for finding in result["findings"]:
        has(finding["text"], disk, "the disk of a finding")
        true(finding["todo"] != "", "what to do")
    # Repair was told: it rebuilds them, and then all is clean.
    until = time.monotonic() + 60
    while up.cli("fsck")[0] != 0:
        true(time.monotonic() < until, f"not clean after 60 s: {up.cli('fsck')}")
        time.sleep(1)
    shutil.rmtree(dirs[4])
    up.wait_status("one disk lost", lambda s: [x["state"] for x in s["disks"]].count("online") == 5)
    result = ask(up, "fsck", code=1)
    equal(result["findings_by_kind"], {"disk_unreachable": 1}, "an absent disk is no proof of anything else")


def verbs_refuse(world):
    up = world.up(world.dirs(1))
    for verb in ("durability", "fsck"):
        equal(up.cli(verb, "extra", json_wanted=False)[0], 2, f"{verb} with an argument")
        equal(up.cli(verb, env={"CAIRN_SECRET_KEY": "wrong"}, json_wanted=False)[0], 1, f"{verb} with a wrong key")
        code, text, _ = up.cli(verb, "--help", json_wanted=False)
        equal(code, 0, f"{verb} --help")
        has(text, ["Usage: cairn " + verb, "--admin"], f"{verb} --help")
        path = f"/admin/v1/{verb}"
        equal(up.http(path)[0], 403, f"{path} without a signature")
    up.stop()
    equal(up.cli("fsck", json_wanted=False)[0], 1, "fsck without a server")


def a_server_ends_in_the_midst_of_fsck(world):
    up = world.up(world.dirs(3))
    up.s3().make_bucket("bucket")
    for i in range(200):
        up.s3().put("bucket", f"k{i}", b"x" * 20000)
    for _ in range(5):
        asking = threading.Thread(target=up.cli, args=("fsck",))
        asking.start()
    equal(up.stop(), 0, "end of the server")
    asking.join()


# ---- of a cluster ----

def node_dirs(cluster, name):
    return [p["dirs"] for p in cluster.shown["processes"] if p["name"] == name][0]


def verbs_of_a_cluster(_world):
    with_cluster(of_a_cluster)


def of_a_cluster(cluster):
    cluster_fill(cluster, "a")
    writers = Writers([cluster.s3(0), cluster.s3(1)], "bucket")
    for _ in range(4):
        result = cluster_ask(cluster, "fsck")
        equal((result["clean"], result["findings"]), (True, []), "fsck under load")
        time.sleep(1)
    writers.stop()
    d = cluster_ask(cluster, "durability")
    wide = [c for c in d["classes"] if c["class"] == "4+2"][0]
    equal((d["degraded_stripes"], wide["degraded_placement_stripes"], d["crowded_stripes"], d["disks"]), (0, 0, 0, 12),
          f"durability of a whole cluster: {d}")
    # What was deleted while its node was away, or comes back from the past, is an orphan and is said to be one.
    dirs = node_dirs(cluster, "node1")
    cluster.tool("kill", "node1")
    for number, path in enumerate(dirs):
        shutil.copytree(path, os.path.join(cluster.folder, f"saved{number}"))
    time.sleep(5)
    d = cluster_ask(cluster, "durability")
    true(d["disks_away"] == 2 and d["stripes_by_strength"]["missing_1"] > 0, f"a node is away: {d}")
    result = cluster_ask(cluster, "fsck", code=1)
    equal(result["findings_by_kind"], {"disk_unreachable": 2}, "a node is away")
    cluster.tool("start", "node1")
    cluster.await_disks(12)
    cluster.await_whole()
    for key in [k for k in cluster.s3(0).list_all("bucket")]:
        equal(cluster.s3(0).delete("bucket", key).status, 204, f"delete {key}")
    cluster.tool("restart", "gateway1")  # their sessions end, and what they left is swept
    cluster.tool("restart", "gateway2")
    until = time.monotonic() + 90
    while cluster.status()["gc_items"] > 0 or cluster_ask(cluster, "fsck")["checked"]["shards"] > 0:
        true(time.monotonic() < until, f"shards are left: {cluster_ask(cluster, 'fsck')}")
        time.sleep(1)
    cluster.tool("kill", "node1")
    for number, path in enumerate(dirs):
        shards_swap(path, os.path.join(cluster.folder, f"saved{number}"))
    cluster.tool("start", "node1")
    cluster.await_disks(12)
    result = cluster_ask(cluster, "fsck", code=1)
    equal(list(result["findings_by_kind"]), ["shard_orphan"], f"shards from the past: {result['findings_by_kind']}")
    true(result["finding_count"] > 5, "shards from the past")


CASES = {case.__name__: case for case in (durability_counts, fsck_is_clean_while_writes_go_on,
                                             fsck_finds_lost_shards_and_an_absent_disk, verbs_refuse,
                                             a_server_ends_in_the_midst_of_fsck, verbs_of_a_cluster)}

if __name__ == "__main__":
    run_cases("verbs", CASES)
