#!/usr/bin/env python3
"""Disks of a running cluster, by command: replaced, added, drained and removed, while every process stays up.

    tests/server/disks.py [CASE...]

CAIRN_BINARY names another binary, CAIRN_TEST_KEEP=1 keeps the files.
"""
import json
import os

from cluster import check, fill, with_cluster
from server_world import equal, has, run_cases, true
from upkeep import until


def disks(cluster):
    return {f"{disk['node']}:{disk['path']}": disk for disk in json.loads(cluster.cli("disk", "list", "--json"))["disks"]}


def first_disk(cluster, node):
    return f"{node}:{cluster.process(node)['dirs'][0]}"


def clean(cluster):
    return '"clean": true' in cluster.try_cli("fsck", "--json").replace('"clean":true', '"clean": true')


def a_disk_is_replaced_while_its_node_runs(_world):
    with_cluster(replaced, nodes=6, disks=2, gateways=1, voters=3)


def replaced(cluster):
    fill(cluster, "a")
    cluster.await_whole()
    name = first_disk(cluster, "node2")
    path = name.partition(":")[2]
    old = disks(cluster)[name]
    pid = cluster.process("node2")["pid"]
    has(cluster.cli("disk", "replace", "--for", name, status=1), ["in service", "cairn disk drain"], "a disk that serves")
    os.rename(path, path + ".lost")
    until("the disk is out of service", lambda: disks(cluster)[name]["state"] == "fenced")
    has(cluster.cli("disk", "replace", "--for", name, status=1), "does not exist", "a path that is not there")
    os.mkdir(path)
    with open(os.path.join(path, "letter"), "w", encoding="utf-8") as file:
        file.write("not ours\n")
    has(cluster.cli("disk", "replace", "--for", name, status=1), ["not empty", "letter"], "somebody else's directory")
    os.remove(os.path.join(path, "letter"))
    dry = json.loads(cluster.cli("disk", "replace", "--for", old["id"][:8], "--dry-run", "--json"))
    true(dry["dry_run"] and dry["shards_to_rebuild"] > 0 and dry["bytes_to_rebuild"] > 0, f"dry run: {dry}")
    equal((os.listdir(path), disks(cluster)[name]["state"]), ([], "fenced"), "after a dry run")
    done = json.loads(cluster.cli("disk", "replace", "--for", name, "--json"))
    equal((done["node"], done["path"], done["replaced"]), ("node2", path, old["id"]), "replace")
    cluster.await_disks(12)
    cluster.await_whole()
    now = disks(cluster)
    equal((len(now), now[name]["id"], now[name]["state"]), (12, done["id"], "online"), "disks afterwards")
    true(now[name]["shards"] > 0, "nothing was rebuilt on the new disk")
    check(cluster, "a")
    # The old one at another path: never taken for one of the cluster's again.
    has(cluster.cli("disk", "add", "node2", path + ".lost", status=1), ["replaced", "empty it"], "the replaced disk")
    # And a disk that is replaced at another path.
    other = first_disk(cluster, "node3")
    os.rename(other.partition(":")[2], other.partition(":")[2] + ".lost")
    until("the disk is out of service", lambda: disks(cluster)[other]["state"] == "fenced")
    fresh = other.partition(":")[2] + ".new"
    os.mkdir(fresh)
    cluster.cli("disk", "replace", fresh, "--for", other)
    cluster.await_disks(12)
    cluster.await_whole()
    true(f"node3:{fresh}" in disks(cluster) and other not in disks(cluster), "the disk's new path")
    check(cluster, "a")
    equal(cluster.process("node2")["pid"], pid, "node2's process")
    cluster.tool("restart", "node2")
    cluster.await_disks(12)
    cluster.await_whole()
    check(cluster, "a")
    until("fsck is clean", lambda: clean(cluster))


def a_disk_is_added_drained_and_removed(_world):
    with_cluster(added, nodes=6, disks=1, gateways=1, voters=1)


def added(cluster):
    for name in "abcd":
        fill(cluster, name)
    cluster.await_whole()
    name = first_disk(cluster, "node1")
    has(cluster.cli("disk", "drain", name, status=1), ["5 disks would be left", "add disks"], "the only place of each stripe")
    has(cluster.cli("node", "drain", "node1", status=1), "5 disks would be left", "its node")
    has(cluster.cli("disk", "drain", "0123456789", status=1), "there is no disk", "an unknown disk")
    fresh = os.path.join(os.path.dirname(name.partition(":")[2]), "fresh")
    has(cluster.cli("disk", "add", "node1", fresh, status=1), "does not exist", "a path that is not there")
    has(cluster.cli("disk", "add", "node1", name.partition(":")[2], status=1), "already", "a disk that it has")
    os.mkdir(fresh)
    has(cluster.cli("disk", "add", "nobody", fresh, status=1), "no storage node", "an unknown node")
    has(cluster.cli("disk", "add", "node1", fresh), ["is in service", "configuration"], "add")
    cluster.await_disks(7)
    new = disks(cluster)[f"node1:{fresh}"]
    true(new["total_bytes"] > 0 and new["placement"] == "in", f"the new disk: {new}")
    # The old one goes: all that it has stands on the new one then.
    dry = json.loads(cluster.cli("disk", "drain", name, "--dry-run", "--json"))
    true(dry["dry_run"] and dry["shards_to_move"] > 0 and dry["bytes_to_move"] > 0, f"dry run: {dry}")
    equal(dry["failure_domains"]["breaks"], [], "the new disk is in the old one's node")
    equal(disks(cluster)[name]["placement"], "in", "after a dry run")
    has(cluster.cli("disk", "remove", name, status=1), "cairn disk drain", "a disk with shards")
    cluster.cli("disk", "drain", name)
    equal(disks(cluster)[name]["placement"], "draining", "draining")
    cluster.cli("disk", "in", name)
    equal(disks(cluster)[name]["placement"], "in", "in again")
    cluster.cli("disk", "drain", name)
    fill(cluster, "e")
    until("it can be removed", lambda: cluster.try_cli("disk", "remove", name, "--dry-run"), 120)
    cluster.cli("disk", "remove", name)
    true(name not in disks(cluster), "the removed disk is listed")
    cluster.await_whole()
    for prefix in "abcde":
        check(cluster, prefix)
    until("fsck is clean", lambda: clean(cluster))


CASES = {case.__name__: case for case in (a_disk_is_replaced_while_its_node_runs, a_disk_is_added_drained_and_removed)}

if __name__ == "__main__":
    run_cases("disks", CASES)
