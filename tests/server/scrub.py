#!/usr/bin/env python3
"""Scrub: bytes that change on a disk are found and mended though nobody reads them; how far it is, by command.

    tests/server/scrub.py [CASE...]

CAIRN_BINARY names another binary, CAIRN_TEST_KEEP=1 keeps the files.
"""
import json
import os

from cluster import check, fill, pattern, with_cluster
from server_world import equal, has, run_cases, true
from upkeep import until


def flip(folder, shard):
    """One byte in the middle of the shard, behind the program's back."""
    with open(os.path.join(folder, "segments", f"{shard['segment']:016x}.seg"), "r+b") as file:
        file.seek(shard["offset"] + 8192)
        byte = file.read(1)
        file.seek(shard["offset"] + 8192)
        file.write(bytes([byte[0] ^ 1]))


def damage_of_a_cluster_is_mended(_world):
    with_cluster(cluster_mended, nodes=6, disks=1, gateways=1, voters=3)


def cluster_mended(cluster):
    fill(cluster, "a")
    cluster.await_whole()
    shown = json.loads(cluster.cli("scrub", "status", "--json"))["disks"]
    equal(sorted(disk["node"] for disk in shown), [f"node{n}" for n in range(1, 7)], "whose disks")
    true(all(disk["shards"] > 0 and disk["damaged_shards"] == 0 for disk in shown), f"at first: {shown}")
    until("every disk was read once", lambda: all(d["age_seconds"] is not None for d in json.loads(cluster.cli("scrub", "status", "--json"))["disks"]), 120)
    extents = json.loads(cluster.cli("explain", "bucket", f"a{5 << 20}", "--json"))["extents"]
    shard = extents[0]["shards"][1]
    node = cluster.homes()[shard["disk"]]
    flip(cluster.process(node)["dirs"][0], shard)
    has(cluster.cli("scrub", "start", "0123456789", status=1), "no disk", "an unknown disk")
    has(cluster.cli("scrub", "start", shard["disk"]), "1 disks", "scrub start")
    cluster.await_log(node, "shard_corrupt", 120)
    until("it is rebuilt", lambda: json.loads(cluster.cli("repair", "status", "--json"))["rebuilt_extents"] > 0, 60)
    cluster.await_whole()
    now = json.loads(cluster.cli("explain", "bucket", f"a{5 << 20}", "--json"))["extents"]
    equal([s["state"] for s in now[0]["shards"]], ["ok"] * 6, "the shards afterwards")
    damaged = {disk["node"]: disk["damaged_shards"] for disk in json.loads(cluster.cli("scrub", "status", "--json"))["disks"]}
    true(damaged[node] > 0 and sum(damaged.values()) == damaged[node], f"found: {damaged}")
    has(cluster.cli("scrub", "status"), ["LAST PASS", node], "scrub status")
    check(cluster, "a")


def damage_of_a_server_is_mended(world):
    dirs = world.dirs(3)
    up = world.up(dirs)
    s3 = up.s3()
    equal(s3.make_bucket("bucket").status, 200, "make bucket")
    equal(s3.put("bucket", "a", pattern("a", 5 << 20)).status, 200, "put")
    shard = up.cli("explain", "bucket", "a")[1]["extents"][0]["shards"][0]
    path = next(disk["path"] for disk in up.cli("disk", "list")[1]["disks"] if disk["id"] == shard["disk"])
    flip(path, shard)
    code, out, err = up.cli("scrub", "start")
    equal((code, len(out["disks"])), (0, 3), f"scrub start: {err}")
    until("it is found", lambda: [d for d in up.cli("scrub", "status")[1]["disks"] if d["damaged_shards"] > 0], 60)
    up.wait_status("it is whole", lambda status: status["repair"]["rebuilt_extents"] > 0 and status["degraded_stripes"] == 0)
    true(s3.get("bucket", "a").body == pattern("a", 5 << 20), "the object")


CASES = {case.__name__: case for case in (damage_of_a_cluster_is_mended, damage_of_a_server_is_mended)}

if __name__ == "__main__":
    run_cases("scrub", CASES)
