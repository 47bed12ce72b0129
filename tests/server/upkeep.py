#!/usr/bin/env python3
"""The work nobody waits for, by command, on a cluster of processes: repair paused, resumed and hastened; shards moved, or not.

    tests/server/upkeep.py [CASE...]

CAIRN_BINARY names another binary, CAIRN_TEST_KEEP=1 keeps the files.
"""
import json
import os
import sys
import time

from cluster import BINARY, check, fill, with_cluster
from server_world import equal, has, run_cases, true


def repair(cluster):
    return json.loads(cluster.cli("repair", "status", "--json"))


def rebalance(cluster):
    return json.loads(cluster.cli("rebalance", "plan", "--json"))


def until(what, ask, seconds=60):
    end = time.monotonic() + seconds
    while True:
        last = ask()
        if last:
            return last
        true(time.monotonic() < end, f"{what}: not after {seconds} s")
        time.sleep(0.3)


def leader_or_none(cluster):
    """While voters elect one, no verb that the leader answers succeeds."""
    done = cluster.try_cli("metadata", "list", "--json")
    return next((member["name"] for member in json.loads(done)["members"] if member["leads"]), None) if done else None


def repair_is_paused_over_a_failover(_world):
    with_cluster(paused, nodes=7, disks=1, gateways=1, voters=3, repair_wait="6s")


def paused(cluster):
    fill(cluster, "a")
    cluster.await_whole()
    equal(repair(cluster)["paused"], False, "paused at first")
    has(cluster.cli("repair", "pause"), "paused", "pause")
    equal(json.loads(cluster.cli("repair", "pause", "--json")), {"action": "pause", "paused": True}, "paused again")
    node = cluster.homes()[next(iter(cluster.extents("a")))["shards"][0]["disk"]]
    cluster.tool("kill", node)
    away = until("a disk given up", lambda: [d for d in repair(cluster)["disks_away"] if d["given_up"]])
    equal([(d["node"], d["maintenance"], d["given_up_in_seconds"]) for d in away], [(node, False, None)], "disks away")
    has(cluster.cli("repair", "run", status=1), "resume", "repair run while it is paused")
    old = leader_or_none(cluster)
    cluster.tool("kill", old)
    until("another leader", lambda: leader_or_none(cluster) not in (None, old))
    time.sleep(10)  # several polls, and repair would have begun
    shown = repair(cluster)
    equal((shown["paused"], shown["rebuilt_extents"]), (True, 0), "under the next leader")
    true(cluster.status()["degraded_stripes"] > 0, "rebuilt while paused")
    has(cluster.cli("repair", "status"), ["paused: 'cairn repair resume'", node], "repair status")
    cluster.tool("start", old)
    cluster.cli("repair", "resume")  # also by the one that has just started
    cluster.await_nothing_on({node}, "a")
    cluster.await_whole()
    true(repair(cluster)["queued_extents"] == 0, "queued extents in the end")
    check(cluster, "a")


def a_silent_node_is_given_up_by_command(_world):
    with_cluster(given_up, nodes=7, disks=1, gateways=1, voters=1)


def given_up(cluster):
    fill(cluster, "a")
    cluster.await_whole()
    nothing = json.loads(cluster.cli("repair", "run", "--json"))
    equal((nothing["disks_given_up"], nothing["shards_to_rebuild"]), (0, 0), "run with nothing to do")
    homes = cluster.homes()
    node = homes[next(iter(cluster.extents("a")))["shards"][0]["disk"]]
    cluster.cli("node", "maintenance", node)
    cluster.tool("kill", node)
    until("the disk is away", lambda: [d for d in repair(cluster)["disks_away"] if d["maintenance"]])
    has(cluster.cli("repair", "status"), "maintenance", "repair status")
    equal(json.loads(cluster.cli("repair", "run", "--dry-run", "--json"))["disks_given_up"], 0, "a node in maintenance")
    cluster.cli("node", "in", node)
    away = until("the disk is waited for", lambda: [d for d in repair(cluster)["disks_away"] if not d["maintenance"]])
    true(500 < away[0]["given_up_in_seconds"] <= 600, f"ten minutes by default: {away}")
    dry = json.loads(cluster.cli("repair", "run", "--dry-run", "--json"))
    true(dry["dry_run"] and dry["disks_given_up"] == 1 and dry["shards_to_rebuild"] > 0 and dry["bytes_to_rebuild"] > 0 and
         dry["unreadable_extents"] == 0, f"dry run: {dry}")
    equal([d["given_up"] for d in repair(cluster)["disks_away"]], [False], "after a dry run")
    run = json.loads(cluster.cli("repair", "run", "--json"))
    equal({k: run[k] for k in ("disks_given_up", "shards_to_rebuild")}, {k: dry[k] for k in ("disks_given_up", "shards_to_rebuild")}, "run")
    cluster.await_nothing_on({node}, "a")
    cluster.await_whole()
    check(cluster, "a")


def rebalancing_is_stopped_and_started(_world):
    with_cluster(rebalanced, nodes=6, disks=1, gateways=1, voters=1)


def rebalanced(cluster):
    for name in "abcdef":
        fill(cluster, name)
    cluster.await_whole()
    equal((rebalance(cluster)["shards_to_move"], rebalance(cluster)["stopped"]), (0, False), "at first")
    cluster.cli("rebalance", "stop")
    added = json.loads(cluster.tool("add", "storage-node", "--disks", "1", "--json"))
    plan = until("a plan", lambda: (lambda p: p if p["shards_to_move"] > 0 else None)(rebalance(cluster)))
    true(plan["stopped"] and plan["bytes_to_move"] > 0, f"plan: {plan}")
    time.sleep(8)
    equal(rebalance(cluster)["moved_shards"], 0, "moved while stopped")
    has(cluster.cli("rebalance", "status"), ["stopped", "To move"], "rebalance status")
    true(added["name"] not in {cluster.homes()[s["disk"]] for e in cluster.extents("a") for s in e["shards"]}, "moved while stopped")
    cluster.cli("repair", "pause")
    cluster.cli("rebalance", "start")
    time.sleep(5)
    shown = rebalance(cluster)
    equal((shown["stopped"], shown["paused"], shown["moved_shards"]), (False, True, 0), "while repair is paused")
    cluster.cli("repair", "resume")
    done = until("all moved", lambda: (lambda p: p if p["shards_to_move"] == 0 else None)(rebalance(cluster)))
    true(done["moved_shards"] >= plan["shards_to_move"] and done["moved_bytes"] > 0, f"in the end {done}, planned {plan}")
    homes = cluster.homes()
    true(any(homes[s["disk"]] == added["name"] for name in "abcdef" for e in cluster.extents(name) for s in e["shards"]),
         "nothing on the new node")
    cluster.await_whole()
    for name in "abcdef":
        check(cluster, name)
    equal(json.loads(cluster.cli("fsck", "--json"))["clean"], True, "fsck")


CASES = {case.__name__: case for case in (repair_is_paused_over_a_failover, a_silent_node_is_given_up_by_command,
                                          rebalancing_is_stopped_and_started)}

if __name__ == "__main__":
    if not os.access(BINARY, os.X_OK):
        sys.exit(f"{BINARY} is not there: make build")
    run_cases("upkeep", CASES)
