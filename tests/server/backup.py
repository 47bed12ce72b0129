#!/usr/bin/env python3
"""Backups of a cluster's metadata into a bucket of another server, and what comes back from one when all voters are lost.

    tests/server/backup.py [CASE...]

CAIRN_BINARY names another binary, CAIRN_TEST_KEEP=1 keeps the files.
"""
import json
import os
import random
import shutil
import subprocess
import time

from cluster import BINARY, SIZES, Cluster, check, fill, pattern
from server_world import equal, has, run_cases, true
from voters import until_true, voters_of

LARGE = [size for size in SIZES if size >= 70000]  # on disks, not in the metadata
PLACE = "s3://backups/site-1"


class Site:
    """A cluster, and the server that its backups go to."""

    def __init__(self, world, **options):
        self.target = world.up(world.dirs(1))
        equal(self.target.s3().make_bucket("backups").status, 200, "make the backups' bucket")
        self.cluster = Cluster(**options)
        self.env = {**os.environ, **self.cluster.keys, "AWS_ACCESS_KEY_ID": self.target.access,
                    "AWS_SECRET_ACCESS_KEY": self.target.secret, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.target.port}",
                    "no_proxy": "127.0.0.1"}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.cluster.close()

    def cairn(self, *words, status=0, admin=True):
        argv = [BINARY, *words, *(["--admin", self.cluster.shown["admin"]] if admin else [])]
        done = subprocess.run(argv, env=self.env, capture_output=True, text=True, timeout=180, check=False)
        equal(done.returncode, status, f"cairn {' '.join(words)}: {done.stderr}")
        return done.stdout if status == 0 else done.stdout + done.stderr

    def try_cairn(self, *words):
        done = subprocess.run([BINARY, *words, "--admin", self.cluster.shown["admin"]], env=self.env, capture_output=True, text=True,
                              timeout=180, check=False)
        return done.stdout + done.stderr

    def backup(self):
        return json.loads(self.cairn("metadata", "backup", "--to", PLACE, "--json"))

    def backups(self):
        return json.loads(self.cairn("metadata", "backups", "--from", PLACE, "--json"))["backups"]

    def lose_voters(self):
        """All voters and their metadata; what is left is a copy of the first one's small files. Returns it."""
        for voter in voters_of(self.cluster):
            self.cluster.tool("kill", voter["name"])
            shutil.rmtree(os.path.join(voter["data"], "metadata"))
        first, *others = voters_of(self.cluster)
        for voter in others:
            shutil.rmtree(voter["data"])
        return first

    def rebuild(self, voter, *more, status=0):
        return self.cairn("metadata", "rebuild", "--from", PLACE, "--data", voter["data"], *more, status=status, admin=False)

    def begin_again(self, voter, without=""):
        """The voter with the backup's metadata, then everybody else anew."""
        self.cluster.shown["admin"] = voter["admin"]
        self.cluster.tool("start", voter["name"])
        for process in self.cluster.state()["processes"]:
            if process["role"] != "metadata" and process["name"] != without:
                self.cluster.tool("restart", process["name"])
        until_true("the gateway answers", lambda: self.cluster.s3().get("bucket", "a100").status == 200)


def all_voters_are_lost(world):
    with Site(world, nodes=3, disks=1, gateways=1, voters=3) as site:
        cluster = site.cluster
        has(site.cairn("metadata", "backups", "--from", PLACE), "CLUSTER", "no backup yet")
        fill(cluster, "a")
        first = site.backup()
        true(first["sent_files"] == first["files"] > 0, f"the first one sends everything: {first}")
        fill(cluster, "b")
        second = site.backup()
        true(0 < second["sent_files"] < second["files"], f"the second one sends what is new: {second}")
        equal([b["name"] for b in site.backups()], [first["name"], second["name"]], "what is there, oldest first")
        fill(cluster, "late")
        for size in SIZES:
            equal(cluster.s3().delete("bucket", f"b{size}").status, 204, "delete")
        voter = site.lose_voters()
        has(site.rebuild(voter, status=1), [second["name"], "nothing was changed", "--i-accept-data-loss"], "without consent")
        true(not os.path.exists(os.path.join(voter["data"], "metadata")), "metadata without consent")
        done = site.rebuild(voter, "--i-accept-data-loss")
        has(done, [f"Removed from the cluster: {name}" for name in ("voter2", "voter3")], "rebuild")
        has(site.rebuild(voter, "--i-accept-data-loss", status=1), "holds metadata already", "a second rebuild")
        site.begin_again(voter)
        check(cluster, "a")
        for size in SIZES:
            equal(cluster.s3().get("bucket", f"late{size}").status, 404, f"late{size}, written after the backup")
        fill(cluster, "c")
        check(cluster, "c")
        check(cluster, "a")
        members = json.loads(site.cairn("metadata", "list", "--json"))["members"]
        equal([(m["name"], m["role"], m["leads"]) for m in members], [("voter1", "voter", True)], "members")
        third = site.backup()
        true(third["index"] > second["index"], "the new history's backup is the newest")
        cluster.tool("restart", voter["name"])
        until_true("it starts again", lambda: cluster.s3().get("bucket", "c100").status == 200)
        check(cluster, "c")


def newer_objects_come_back(world):
    with Site(world, nodes=3, disks=2, gateways=2) as site:
        cluster = site.cluster
        fill(cluster, "a")
        s3 = cluster.s3()
        site.backup()
        fill(cluster, "late")
        fill(cluster, "other", gateway=1)
        named = pattern("named", 300000)
        equal(s3.put("bucket", "named", named, {"x-amz-meta-colour": "green", "content-type": "text/x-late"}).status, 200, "put")
        etag = s3.stat("bucket", "named").headers["etag"]
        equal(s3.put("bucket", "a70000", pattern("newer", 70000)).status, 200, "overwrite")
        equal(cluster.s3(1).put("bucket", "a70000", pattern("newest", 80000)).status, 200, "overwrite at the other gateway")
        s3.multipart_put("bucket", "multi", [pattern("part", 5 << 20), b"end"])
        equal(s3.make_bucket("young").status, 200, "make bucket")
        equal(s3.put("young", "x", pattern("x", 100000)).status, 200, "an object of a bucket that the backup does not know")
        voter = site.lose_voters()
        site.rebuild(voter, "--i-accept-data-loss")
        site.begin_again(voter)
        found = json.loads(site.cairn("fsck", "--json", status=1).partition("\ncairn:")[0])
        equal(list(found["findings_by_kind"]), ["shard_forgotten"], f"fsck before: {found['findings'][:3]}")
        equal(s3.get("bucket", "named").status, 404, "newer than the backup")
        cluster.tool("stop", "node1")
        for more in ([], ["--discard"], ["--partial", "--discard"]):
            until_true("refused with a node away", lambda words=more: "disks are away" in site.try_cairn("metadata", "salvage", *words))
        cluster.tool("start", "node1")
        salvages_are_killed(site, voter)
        said = [""]
        until_true("the node is back", lambda: said.append(site.try_cairn("metadata", "salvage", "--json")) or said[-1].startswith("{"))
        back = json.loads(said[-1])
        equal(back["state"], "done", "salvage")
        equal((back["disks_away"], back["state"]), (0, "done"), f"salvage: {back}")
        check_late(cluster, named, etag)
        again = json.loads(site.cairn("metadata", "salvage", "--json"))
        equal(again["objects_back"], 0, f"once more: {again}")
        true(again["part_extents"] > 0 and again["objects_refused"] > 0, f"what is left: {again}")
        gone = json.loads(site.cairn("metadata", "salvage", "--discard", "--json"))
        true(gone["sessions_discarded"] >= 2, f"the rest is discarded: {gone}")
        equal(json.loads(site.cairn("metadata", "salvage", "--json"))["extents"], 0, "extents of forgotten sessions")
        check_late(cluster, named, etag)
        cluster.await_whole()
        for process in cluster.state()["processes"]:  # a sweep begins soon after a start
            if process["role"] != "storage-node":
                cluster.tool("restart", process["name"])
        until_true("nothing is left over", lambda: fsck_clean(site))
        check_late(cluster, named, etag)


def salvages_are_killed(site, voter):
    """The voter dies while one runs; what it had committed stays, and the next one goes on."""
    for after in (0.02, 0.1):
        time.sleep(3)  # until the voter has heard of the nodes
        argv = [BINARY, "metadata", "salvage", "--admin", site.cluster.shown["admin"]]
        child = subprocess.Popen(argv, env=site.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(after)
        site.cluster.tool("kill", voter["name"])
        child.wait()
        site.cluster.tool("start", voter["name"])


def newer_objects_come_back_without_a_node(world):
    """As many disks as the code bears are lost together with the voters."""
    with Site(world, nodes=4, disks=1, gateways=1) as site:
        cluster = site.cluster
        fill(cluster, "a")
        site.backup()
        fill(cluster, "late")
        voter = site.lose_voters()
        site.rebuild(voter, "--i-accept-data-loss")
        cluster.tool("kill", "node2")
        shutil.rmtree(os.path.dirname(cluster.process("node2")["data"]))
        site.begin_again(voter, without="node2")
        until_true("the node's absence is known", lambda: "disks are away" in site.try_cairn("metadata", "salvage"))
        back = json.loads(site.cairn("metadata", "salvage", "--partial", "--json"))
        true(back["disks_away"] == 1 and back["objects_back"] == len(LARGE), f"what is back: {back}")
        check(cluster, "a")
        for size in LARGE:
            true(cluster.s3().get("bucket", f"late{size}").body == pattern("late", size), f"late{size}")


def fsck_clean(site):
    argv = [BINARY, "fsck", "--json", "--admin", site.cluster.shown["admin"]]
    done = subprocess.run(argv, env=site.env, capture_output=True, text=True, timeout=180, check=False)
    if done.returncode != 0:
        print("  left:", json.loads(done.stdout)["findings_by_kind"], json.loads(done.stdout)["findings"][:2])
        time.sleep(1)
    return done.returncode == 0


def check_late(cluster, named, etag):
    for gateway in range(2):
        s3 = cluster.s3(gateway)
        for prefix in ("late", "other"):
            for size in LARGE:
                got = s3.get("bucket", f"{prefix}{size}")
                true(got.status == 200 and got.body == pattern(prefix, size), f"{prefix}{size}: {got.status}")
            equal(s3.get("bucket", f"{prefix}100").status, 404, "an object that was in the metadata only")
        got = s3.get("bucket", "named")
        true(got.status == 200 and got.body == named, f"named: {got.status}")
        equal(tuple(got.headers.get(name) for name in ("etag", "x-amz-meta-colour", "content-type")), (etag, "green", "text/x-late"), "headers")
        true(s3.get("bucket", "a70000").body == pattern("newest", 80000), "the newest of two overwrites")
        equal(s3.get("bucket", "multi").status, 404, "a multipart object")
        equal(s3.get("young", "x").status, 404, "an object of a young bucket")


def damage_is_refused(world):
    with Site(world, nodes=3, disks=1, gateways=1) as site:
        cluster = site.cluster
        fill(cluster, "a")
        s3 = site.target.s3()
        first = site.backup()
        fill(cluster, "b")
        second = site.backup()
        made = json.loads(s3.get("backups", f"site-1/{second['cluster']}/backups/{second['name']}").body)
        older = json.loads(s3.get("backups", f"site-1/{first['cluster']}/backups/{first['name']}").body)
        only = [f for f in made["files"] if f["sha256"] not in [g["sha256"] for g in older["files"]] and f["size"] > 0][0]
        key = f"site-1/{second['cluster']}/files/{only['sha256']}"
        good = s3.get("backups", key).body
        equal(len(good), only["size"], "the size of a file of it")
        equal(s3.put("backups", key, bytes([good[0] ^ 1]) + good[1:]).status, 200, "damage of a file")
        voter = site.lose_voters()
        has(site.rebuild(voter, "--i-accept-data-loss", status=1), "damaged", "a damaged file")
        true(not os.path.exists(os.path.join(voter["data"], "metadata", "state")), "a state after a failed rebuild")
        has(site.rebuild(voter, "--i-accept-data-loss", "--backup", first["name"][:-9] + "0000.json", status=1), "404", "no such backup")
        name = f"site-1/{second['cluster']}/backups/{second['name']}"
        equal(s3.put("backups", name, s3.get("backups", name).body + b" ").status, 200, "damage of the list")
        has(site.rebuild(voter, status=1), "is damaged", "a damaged list")
        equal([(b["name"], b.get("damaged", False)) for b in site.backups()],
              [(first["name"], False), (second["name"], True)], "the damaged one is named, the good one listed")
        os.rename(os.path.join(voter["data"], "ca.key"), os.path.join(voter["data"], "elsewhere"))
        has(site.rebuild(voter, "--i-accept-data-loss", status=1), ["ca.key", "no part of a backup"], "without the small files")
        os.rename(os.path.join(voter["data"], "elsewhere"), os.path.join(voter["data"], "ca.key"))
        site.rebuild(voter, "--i-accept-data-loss", "--backup", first["name"])
        site.begin_again(voter)
        check(cluster, "a")
        equal(cluster.s3().get("bucket", "b100").status, 404, "what the older backup did not have")


def interruptions_do_no_harm(world):
    with Site(world, nodes=3, disks=1, gateways=1) as site:
        cluster = site.cluster
        fill(cluster, "a")
        first = site.backup()
        fill(cluster, "b")
        chance = random.Random(7)
        for _ in range(6):
            argv = [BINARY, "metadata", "backup", "--to", PLACE, "--admin", cluster.shown["admin"]]
            child = subprocess.Popen(argv, env=site.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(chance.random() * 0.2)
            child.kill()
            child.wait()
            equal(site.backups()[0]["name"], first["name"], "the first backup")
        site.backup()
        voter = site.lose_voters()
        started, finished = 0, False
        while not finished:
            argv = [BINARY, "metadata", "rebuild", "--from", PLACE, "--data", voter["data"], "--i-accept-data-loss"]
            child = subprocess.Popen(argv, env=site.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            time.sleep(0.01 * started)
            child.kill()
            out, err = child.communicate()
            started += 1
            finished = child.returncode == 0 or "holds metadata already" in err
            true(finished or child.returncode == -9, f"rebuild number {started}: {child.returncode} {out} {err}")
        print(f"  finished at attempt {started}, each killed 10 ms later than the one before")
        true(started > 2, "no rebuild was killed halfway")
        site.begin_again(voter)
        check(cluster, "a")
        check(cluster, "b")


CASES = {name: value for name, value in list(globals().items())
         if callable(value) and getattr(value, "__module__", "") == "__main__" and
         name.startswith(("all_", "newer_", "damage_", "interruptions_"))}

if __name__ == "__main__":
    run_cases("backup", CASES)
