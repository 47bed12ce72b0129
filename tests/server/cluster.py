#!/usr/bin/env python3
"""A cluster of real processes on loopback, made by deploy/local-cluster: joining and what is refused, loss of nodes, gateways
and the voter, the way back to full strength.

    tests/server/cluster.py [CASE...]

CAIRN_BINARY names another binary, CAIRN_TEST_KEEP=1 keeps the files.
"""
import contextlib
import glob
import hashlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request

from server_world import S3, equal, has, run_cases, true
from server import free_ports

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARY = os.environ.get("CAIRN_BINARY", os.path.join(ROOT, "build", "release", "cairn"))
SIZES = (0, 100, 4096, 70000, 1 << 20, 5 << 20, 70 << 20)
STRENGTH_S = 120


def pattern(name, size):
    return (hashlib.sha256(f"{name} {size}".encode()).digest() * (size // 32 + 1))[:size]


class Cluster:
    def __init__(self, nodes=6, disks=2, gateways=2, life="", voters=1, repair_wait=""):
        self.folder = tempfile.mkdtemp(prefix="cairn-cluster-")
        try:
            self.shown = json.loads(self.tool("up", "--json", "--nodes", nodes, "--disks", disks, "--gateways", gateways,
                                              "--voters", voters, "--certificate-life", life, "--repair-wait", repair_wait))
        except BaseException:
            self.close()
            raise
        self.keys = {"CAIRN_ACCESS_KEY": self.shown["access_key"], "CAIRN_SECRET_KEY": self.shown["secret_key"]}
        with open(os.path.join(self.folder, "c", "cluster.json"), encoding="utf-8") as file:
            self.voter = [p for p in json.load(file)["processes"] if p["role"] == "metadata"][0]["listen"]

    def tool(self, *words, must=True):
        done = subprocess.run([os.path.join(ROOT, "deploy", "local-cluster"), *[str(word) for word in words], "--dir",
                               os.path.join(self.folder, "c")], env=dict(os.environ, CAIRN_BINARY=BINARY),
                              capture_output=True, text=True, timeout=180, check=False)
        true(done.returncode == 0 or not must, f"local-cluster {words}: {done.stderr}")
        return done.stdout

    def cli(self, *words, status=0):
        done = subprocess.run([BINARY, *words, "--admin", self.shown["admin"]], env=dict(os.environ, **self.keys),
                              capture_output=True, text=True, timeout=60, check=False)
        equal(done.returncode, status, f"cairn {words}: {done.stderr}")
        return done.stdout if status == 0 else done.stderr

    def try_cli(self, *words):
        """What it prints, or nothing where it fails."""
        done = subprocess.run([BINARY, *words, "--admin", self.shown["admin"]], env=dict(os.environ, **self.keys),
                              capture_output=True, text=True, timeout=60, check=False)
        return done.stdout if done.returncode == 0 else ""

    def status(self):
        return json.loads(self.cli("status", "--json"))

    def s3(self, number=0):
        host, port = self.shown["gateways"][number].rpartition("/")[2].split(":")
        return S3(host, int(port), self.shown["access_key"], self.shown["secret_key"])

    def join(self, role, token, *more, data=None, expect=1):
        """Starts a process that must be refused; returns what it said."""
        argv = [BINARY, role, "--data", data or os.path.join(self.folder, "stranger"), "--join", self.voter, "--token", token,
                *more]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        equal(done.returncode, expect, f"{role}: {done.stderr}")
        return done.stderr

    def process(self, name):
        with open(os.path.join(self.folder, "c", "cluster.json"), encoding="utf-8") as file:
            return [p for p in json.load(file)["processes"] if p["name"] == name][0]

    def spawn(self, name):
        """A gateway that has joined, started by hand."""
        process = self.process(name)
        argv = [BINARY, "gateway", "--data", process["data"], "--name", name, "--s3-listen", process["listen"],
                "--admin-listen", process["admin"]]
        return subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def ready(self, name):
        address = self.process(name)["admin"]
        until = time.monotonic() + 30
        while time.monotonic() < until:
            try:
                with urllib.request.urlopen(f"http://{address}/readyz", timeout=2) as reply:
                    return reply.status == 200
            except OSError:
                time.sleep(0.1)
        return False

    def await_whole(self):
        until = time.monotonic() + STRENGTH_S
        while True:
            degraded = self.status()["degraded_stripes"]
            if degraded == 0:
                return
            true(time.monotonic() < until, f"{degraded} stripes are degraded after {STRENGTH_S} s")
            time.sleep(0.5)

    def await_log(self, name, text, seconds=30):
        until = time.monotonic() + seconds
        while text not in self.log(name):
            true(time.monotonic() < until, f"'{text}' is not in the log of {name} after {seconds} s")
            time.sleep(0.2)

    def homes(self):
        """Name of the process that has it, by disk."""
        return {disk["id"]: disk["path"].split(os.sep)[-2] for disk in json.loads(self.cli("disk", "list", "--json"))["disks"]}

    def extents(self, prefix):
        for size in SIZES:
            yield from json.loads(self.cli("explain", "bucket", f"{prefix}{size}", "--json"))["extents"]

    def await_nothing_on(self, names, prefix):
        """All shards of these objects are whole, and none is on a disk of these nodes."""
        until = time.monotonic() + STRENGTH_S
        while True:
            homes = self.homes()
            shards = [shard for extent in self.extents(prefix) for shard in extent["shards"]]
            wrong = [shard for shard in shards if homes.get(shard["disk"], "gone") in names or shard["state"] != "ok"]
            if not wrong:
                return
            true(time.monotonic() < until, f"after {STRENGTH_S} s there are {len(wrong)} of {len(shards)} shards to move: {wrong[:3]}")
            time.sleep(0.5)

    def await_disks(self, count):
        until = time.monotonic() + 30
        while True:
            disks = json.loads(self.cli("disk", "list", "--json"))["disks"]
            if sum(disk["state"] == "online" for disk in disks) == count:
                return
            true(time.monotonic() < until, f"not {count} disks are online after 30 s: {disks}")
            time.sleep(0.2)

    def state(self):
        with open(os.path.join(self.folder, "c", "cluster.json"), encoding="utf-8") as file:
            return json.load(file)

    def state_write(self, state):
        with open(os.path.join(self.folder, "c", "cluster.json"), "w", encoding="utf-8") as file:
            json.dump(state, file)

    def log(self, name):
        with open(os.path.join(self.folder, "c", name, "log"), encoding="utf-8", errors="replace") as file:
            return file.read()

    def close(self):
        """What `down` said of processes that do not end; empty: all did."""
        done = subprocess.run([os.path.join(ROOT, "deploy", "local-cluster"), "down", "--dir", os.path.join(self.folder, "c")],
                              capture_output=True, text=True, timeout=180, check=False)
        if not os.environ.get("CAIRN_TEST_KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)
        return "\n".join(line for line in done.stderr.splitlines() if "does not end" in line)


def with_cluster(case, **options):
    cluster = Cluster(**options)
    try:
        case(cluster)
    except BaseException:
        cluster.close()
        raise
    equal(cluster.close(), "", "processes that do not end")


def fill(cluster, prefix, gateway=0):
    s3 = cluster.s3(gateway)
    true(s3.make_bucket("bucket").status in (200, 409), "make bucket")
    for size in SIZES:
        put = s3.put("bucket", f"{prefix}{size}", pattern(prefix, size))
        equal(put.status, 200, f"put {prefix}{size}: {put.body}")


def check(cluster, prefix):
    for gateway in range(len(cluster.shown["gateways"])):
        s3 = cluster.s3(gateway)
        for size in SIZES:
            got = s3.get("bucket", f"{prefix}{size}")
            true(got.status == 200 and got.body == pattern(prefix, size), f"get {prefix}{size} of gateway {gateway}: {got}")


LIFE_S = 20


def certificates_are_renewed_under_traffic(_world):
    with_cluster(renewals, nodes=3, disks=1, gateways=1, life=f"{LIFE_S}s")


def certificate_ends(cluster):
    """Seconds since 1970, by process."""
    ends = {}
    for process in cluster.state()["processes"]:
        text = subprocess.run(["openssl", "x509", "-noout", "-enddate", "-in", os.path.join(process["data"], "node.pem")],
                              capture_output=True, text=True, timeout=10, check=True).stdout
        ends[process["name"]] = ssl.cert_time_to_seconds(text.strip().partition("=")[2])
    return ends


def renewals(cluster):
    s3 = cluster.s3()
    equal(s3.make_bucket("bucket").status, 200, "make bucket")
    before = certificate_ends(cluster)
    true(all(end - time.time() <= LIFE_S for end in before.values()), f"longer lives than asked for: {before}")
    until = time.monotonic() + 2.5 * LIFE_S
    calls = 0
    while time.monotonic() < until:
        name, size = f"t{calls}", SIZES[calls % 5]
        put = s3.put("bucket", name, pattern(name, size))
        equal(put.status, 200, f"put {name} of {size}: {put.body}")
        got = s3.get("bucket", name)
        true(got.status == 200 and got.body == pattern(name, size), f"get {name} of {size}: {got.status}")
        calls += 1
        time.sleep(0.02)
    after = certificate_ends(cluster)
    for name, end in before.items():
        true(end < time.time() < after[name], f"{name}: the certificate ended at {end}, the next one at {after[name]}")
        true(cluster.log(name).count("certificate_renewed") >= 2, f"{name}: renewed less than twice")
        equal(cluster.log(name).count("certificate_not_renewed"), 0, f"{name}: failed renewals")
    admin = cluster.state()["processes"][-1]["admin"]
    with urllib.request.urlopen(f"http://{admin}/metrics", timeout=10) as answer:
        line = [one for one in answer.read().decode().splitlines() if one.startswith("cairn_certificate_expiry_seconds ")]
    true(len(line) == 1 and time.time() < float(line[0].split()[1]) <= time.time() + LIFE_S, f"metric: {line}")
    # All are down until their certificates have ended: the voter issues its own, the others need a new token and keep all.
    processes = cluster.state()["processes"]
    for process in reversed(processes):
        cluster.tool("stop", process["name"])
    time.sleep(max(1, max(certificate_ends(cluster).values()) + 2 - time.time()))
    cluster.tool("start", "voter1")
    nodes = [node["id"] for node in json.loads(cluster.cli("node", "list", "--json"))["nodes"]]
    gateway = processes[-1]
    refused = subprocess.run([BINARY, "gateway", "--data", gateway["data"], "--s3-listen", gateway["listen"], "--admin-listen",
                              gateway["admin"]], capture_output=True, text=True, timeout=60, check=False)
    equal(refused.returncode, 1, "a gateway whose certificate has ended")
    has(refused.stderr, ["ended", "--token", "cairn token create"], "a gateway whose certificate has ended")
    state = cluster.state()
    for process in state["processes"][1:]:
        process["joined"] = False  # so that it is started with a token
    cluster.state_write(state)
    for process in processes[1:]:
        cluster.tool("start", process["name"])
    cluster.await_disks(3)
    for number in range(0, calls, 10):
        name, size = f"t{number}", SIZES[number % 5]
        true(cluster.s3().get("bucket", name).body == pattern(name, size), f"get {name} after joining again")
    equal([node["id"] for node in json.loads(cluster.cli("node", "list", "--json"))["nodes"]], nodes, "the same nodes as before")


def nodes_gateways_and_the_voter_are_lost(_world):
    with_cluster(losses)


def losses(cluster):
    fill(cluster, "a")
    check(cluster, "a")
    status = cluster.status()
    equal((status["state"], status["erasure"], status["degraded_stripes"]), ("ok", "4+2", 0), "status")
    for node in json.loads(cluster.cli("disk", "list", "--json"))["disks"]:
        equal(node["state"], "online", "disk")
    explained = json.loads(cluster.cli("explain", "bucket", f"a{1 << 20}", "--json"))
    true(len({shard["disk"] for extent in explained["extents"] for shard in extent["shards"]}) == 6, "six disks for 4+2")
    # Two of six nodes, the first unannounced: nothing that was acknowledged is away, and writes go on.
    cluster.tool("kill", "node2")
    check(cluster, "a")
    cluster.tool("kill", "node5")
    check(cluster, "a")
    time.sleep(5)  # until the voter counts them as silent and the gateways have heard of it
    fill(cluster, "b", gateway=1)
    check(cluster, "b")
    # In full strength, on the disks of the other four nodes, none of which holds more than two shards of an extent.
    homes = cluster.homes()
    for size in SIZES:
        for extent in json.loads(cluster.cli("explain", "bucket", f"b{size}", "--json"))["extents"]:
            at = [homes[shard["disk"]] for shard in extent["shards"]]
            true({"node2", "node5"}.isdisjoint(at), f"b{size}: shards on nodes that are away: {at}")
            true(max(at.count(node) for node in at) <= 2, f"b{size}: more shards on a node than parity: {at}")
            true(size < 70000 or len(at) == 6, f"b{size}: {len(at)} shards in a smaller code")
    true(cluster.status()["degraded_stripes"] > 0, "two nodes are away and nothing is degraded")
    # A gateway holds nothing.
    cluster.tool("kill", "gateway1")
    cluster.tool("start", "gateway1")
    check(cluster, "b")
    cluster.tool("start", "node2")
    cluster.tool("start", "node5")
    cluster.await_whole()
    # Without the voter: 503, never 404; all is back with it.
    cluster.tool("kill", "voter1")
    equal(cluster.s3().get("bucket", "a100").status, 503, "get without a voter")
    equal(cluster.s3().get("bucket", "never-there").status, 503, "get of nothing without a voter")
    # A gateway that starts meanwhile waits for one.
    cluster.tool("kill", "gateway2")
    gateway = cluster.spawn("gateway2")
    try:
        time.sleep(3)
        true(gateway.poll() is None, "a gateway ended because no voter answered")
        cluster.tool("start", "voter1")
        equal(cluster.ready("gateway2"), True, "ready with the voter")
    finally:
        gateway.terminate()
        equal(gateway.wait(60), 0, "end of the gateway")
    cluster.tool("start", "gateway2")
    until = time.monotonic() + 30
    while cluster.s3().get("bucket", "a100").status != 200:
        true(time.monotonic() < until, "no answer 30 s after the voter's return")
        time.sleep(0.2)
    # It has not heard of all nodes yet, and says of none that it is away.
    until = time.monotonic() + 4
    while time.monotonic() < until:
        for gateway in range(2):
            equal(cluster.s3(gateway).get("bucket", "a100").status, 200, "get soon behind the voter's return")
        time.sleep(0.05)
    check(cluster, "a")
    check(cluster, "b")
    for size in SIZES:
        equal(cluster.s3(1).delete("bucket", f"a{size}").status, 204, "delete")
        equal(cluster.s3(0).get("bucket", f"a{size}").status, 404, "get of what the other gateway deleted")
    cluster.tool("restart", "node1")
    check(cluster, "b")


def who_may_join(_world):
    with_cluster(joins, nodes=3, disks=2, gateways=1)


def joins(cluster):
    stranger = os.path.join(cluster.folder, "stranger")
    ports = [str(port) for port in free_ports(2)]
    gateway = ("--s3-listen", f"127.0.0.1:{ports[0]}", "--admin-listen", f"127.0.0.1:{ports[1]}")
    node = ("--listen", f"127.0.0.1:{ports[0]}", os.path.join(cluster.folder, "strange-disk"))
    before = json.loads(cluster.cli("node", "list", "--json"))["nodes"]
    equal(sorted(n["role"] for n in before), ["gateway", "metadata"] + ["storage-node"] * 3, "roles")
    token = json.loads(cluster.cli("token", "create", "--role", "gateway", "--json"))["token"]
    has(cluster.join("storage-node", token, *node), "the token is for a gateway", "a token of another role")
    head, _, secret_and_hash = token.partition(".gateway.")
    has(cluster.join("storage-node", head + ".storage-node." + secret_and_hash, *node), "another role", "a token whose role was changed")
    token_id, secret, ca_hash = secret_and_hash.split(".")
    other = f"{head}.gateway.{token_id}.{'0' * len(secret)}.{ca_hash}"
    has(cluster.join("gateway", other, *gateway), "unknown", "a token with another secret")
    foreign = f"{head}.gateway.{token_id}.{secret}.{'0' * len(ca_hash)}"
    has(cluster.join("gateway", foreign, *gateway), "joining at", "a token of another cluster's CA")
    equal(cluster.join("gateway", "cairn-token-1.gateway.zz", *gateway, expect=1).count("not a token"), 1, "no token at all")
    equal(json.loads(cluster.cli("node", "list", "--json"))["nodes"], before_ages(cluster, before), "nothing has joined")
    true(not os.path.exists(os.path.join(stranger, "identity")), "an identity was left by a refused join")
    # Used by one key: that one again, no other.
    first = subprocess.Popen([BINARY, "gateway", "--data", stranger, "--join", cluster.voter, "--token", token, *gateway],
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        has(first.stdout.readline(), "runs", "the joined gateway")
    finally:
        first.terminate()
        equal(first.wait(60), 0, "end of the gateway")
    has(cluster.join("gateway", token, *gateway, data=os.path.join(cluster.folder, "second")), "used", "a used token")
    has(cluster.join("storage-node", token, *node, data=stranger), "belongs to a gateway", "another role's folder")
    equal(len(json.loads(cluster.cli("node", "list", "--json"))["nodes"]), len(before) + 1, "nodes")
    # A folder belongs to one process at a time, and a node stays in its zone; it may listen elsewhere.
    folder = os.path.join(cluster.folder, "c", "node1")
    again = [BINARY, "storage-node", "--data", os.path.join(folder, "data"), "--listen", f"127.0.0.1:{ports[0]}",
             os.path.join(folder, "disk1"), os.path.join(folder, "disk2")]
    has(said(again), "in use", "a second process of one folder")
    cluster.tool("stop", "node1")
    has(said(again + ["--zone", "elsewhere"]), "joined in zone 'zone1'", "another zone")
    moved = subprocess.Popen(again, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 30
        while not any(n["address"] == f"127.0.0.1:{ports[0]}" for n in json.loads(cluster.cli("node", "list", "--json"))["nodes"]):
            true(time.monotonic() < until, "the node's new address is not in the map after 30 s")
            time.sleep(0.2)
        time.sleep(3)  # until everybody has that map
    finally:
        moved.terminate()
        equal(moved.wait(60), 0, "end of the moved node")
    cluster.tool("start", "node1")  # and back to where it was
    cluster.await_disks(6)
    time.sleep(3)  # until the gateway has the map
    before_fill = len(cluster.log("gateway1"))
    fill(cluster, "back")
    calls = [line for line in cluster.log("gateway1")[before_fill:].splitlines() if "shard_call_failed" in line]
    equal(calls, [], "failed calls when a node has come back to its old address")
    # Secrets: a storage node has none of the cluster's, and no log has one.
    for folder in glob.glob(os.path.join(cluster.folder, "c", "node*", "data")):
        true(not os.path.exists(os.path.join(folder, "credentials")), "a storage node has the credentials")
        true(not os.path.exists(os.path.join(folder, "ca.key")), "a storage node has the CA's key")
    for log in glob.glob(os.path.join(cluster.folder, "c", "*", "log")):
        with open(log, encoding="utf-8", errors="replace") as file:
            text = file.read()
        true(cluster.shown["secret_key"] not in text and secret not in text, f"a secret is in {log}")
    for name in ("node.key", "credentials", "identity"):
        equal(os.stat(os.path.join(stranger, name)).st_mode & 0o777, 0o600, f"mode of {name}")
    voter = ("--listen", f"127.0.0.1:{ports[0]}", "--admin-listen", f"127.0.0.1:{ports[1]}")
    has(cluster.join("metadata", head + ".metadata." + secret_and_hash, *voter, data=os.path.join(cluster.folder, "voter")),
        "another role", "a gateway's token for a voter")
    has(cluster.cli("disk", "replace", cluster.folder, status=1), "name the disk", "disk replace of a cluster, without --for")
    # The port of the other processes: no TLS, no word.
    with socket.create_connection((cluster.voter.split(":")[0], int(cluster.voter.split(":")[1])), 10) as plain:
        plain.settimeout(10)
        plain.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        try:
            answer = plain.recv(4096)
        except ConnectionError:
            answer = b""
        true(b"HTTP" not in answer, f"plain text was answered: {answer}")


def a_gateway_joins_by_its_file(_world):
    """All from the configuration: the token's file is needed once, and no command line has the token."""
    with_cluster(joins_by_file, nodes=3, disks=2, gateways=1)


def joins_by_file(cluster):
    ports = [str(port) for port in free_ports(2)]
    config, secret, data = (os.path.join(cluster.folder, name) for name in ("cairn.ini", "token", "by-file"))
    with open(config, "w", encoding="utf-8") as f:
        f.write(f"[common]\njoin = {cluster.voter}\n[gateway]\ndata = {data}\ntoken-file = {secret}\n"
                f"s3-listen = 127.0.0.1:{ports[0]}\nadmin-listen = 127.0.0.1:{ports[1]}\n[metadata]\nanother = role\n")
    argv = [BINARY, "gateway", "--config", config]
    refused = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    equal(refused.returncode, 1, f"without the token's file: {refused.stderr}")
    has(refused.stderr, [data, "has not joined"], "without the token's file")
    with open(secret, "w", encoding="utf-8") as f:
        f.write(json.loads(cluster.cli("token", "create", "--role", "gateway", "--json"))["token"] + "\n")
    for _ in range(2):
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        try:
            has(process.stdout.readline(), "runs", "the gateway")
            with open(f"/proc/{process.pid}/cmdline", encoding="utf-8") as f:
                true("cairn-token" not in f.read(), "the token is on the command line")
        finally:
            process.terminate()
            equal(process.wait(60), 0, "exit status")
        if os.path.exists(secret):
            os.remove(secret)


def a_node_joins_anew_with_its_disks(_world):
    with_cluster(joins_anew, nodes=3, disks=2, gateways=1)


def joins_anew(cluster):
    fill(cluster, "a")
    equal(cluster.status()["degraded_stripes"], 0, "degraded at first")
    before = sorted(disk["id"] for disk in json.loads(cluster.cli("disk", "list", "--json"))["disks"])
    started = time.monotonic()
    cluster.tool("kill", "node2")
    path = os.path.join(cluster.folder, "c", "cluster.json")
    with open(path, encoding="utf-8") as file:
        state = json.load(file)
    for process in state["processes"]:
        if process["name"] == "node2":
            process.update(data=process["data"] + "-anew", joined=False)
    with open(path, "w", encoding="utf-8") as file:
        json.dump(state, file)
    cluster.tool("start", "node2")
    quick = time.monotonic() - started < 1.5
    until = time.monotonic() + 30
    while cluster.log("voter1").count("disk_moves") < 2:
        true(time.monotonic() < until, f"the disks have not moved after 30 s: {cluster.log('voter1')}")
        time.sleep(0.2)
    cluster.await_disks(6)
    cluster.await_whole()
    equal(sorted(disk["id"] for disk in json.loads(cluster.cli("disk", "list", "--json"))["disks"]), before, "disks")
    log = cluster.log("voter1")
    if quick:  # the old process counts as alive until it has been silent for a while
        true(0 <= log.find("disk_refused") < log.find("disk_moves"), "the disks were taken from a node that is not silent")
    time.sleep(3)  # until the gateway has the map
    check(cluster, "a")
    fill(cluster, "b")
    check(cluster, "b")
    status = cluster.status()
    equal((status["state"], status["degraded_stripes"]), ("ok", 0), "status at the end")
    # The disks serve, and not only the others: with another node gone everything is still there.
    cluster.tool("kill", "node3")
    check(cluster, "a")
    check(cluster, "b")


def a_node_is_drained_and_removed(_world):
    with_cluster(drained, nodes=7, disks=1, gateways=1, voters=3)


def drained(cluster):
    fill(cluster, "a")
    cluster.await_whole()
    homes = cluster.homes()
    node = homes[next(iter(cluster.extents("a")))["shards"][0]["disk"]]  # one that holds something
    has(cluster.cli("node", "remove", node, status=1), "drain", "removing a node that holds shards")
    has(cluster.cli("node", "drain", "nobody", status=1), "no storage node", "draining nobody")
    dry = json.loads(cluster.cli("node", "drain", node, "--dry-run", "--json"))
    true(dry["dry_run"] and dry["shards_to_move"] > 0 and dry["bytes_to_move"] > 0, f"what draining would move: {dry}")
    domains = dry["failure_domains"]
    lopsided = node not in ("node1", "node4", "node7")  # they are zone 1; without one of the others three of six nodes are in it
    equal((domains["zone"]["exposed_after"], "zone" in domains["breaks"], domains["node"]["most_after"]),
          (domains["groups"] if lopsided else 0, lopsided, 1), f"failure domains without {node}")
    states = {n["name"]: n["state"] for n in json.loads(cluster.cli("node", "list", "--json"))["nodes"]}
    equal(states[node], "in", "state after a dry run")
    cluster.cli("node", "drain", node)
    fill(cluster, "b")
    cluster.await_nothing_on({node}, "a")
    cluster.await_nothing_on({node}, "b")
    cluster.await_whole()
    has(cluster.cli("node", "remove", node, status=1), "running", "removing a node that runs")
    cluster.tool("stop", node)
    time.sleep(5)  # until it counts as silent
    cluster.cli("node", "remove", node)
    # It returns with all that it had: nobody hears it, it says so, and nothing changes.
    nodes = json.loads(cluster.cli("node", "list", "--json"))["nodes"]
    cluster.tool("start", node, must=False)
    cluster.await_log(node, "this node was removed from the cluster")
    voters = [name for name in ("voter1", "voter2", "voter3") if "this node was removed from the cluster" in cluster.log(name)]
    true(voters, "no voter says whom it has refused")
    has(next(line for line in cluster.log(voters[0]).splitlines() if "this node was removed" in line), "peer=", "the refusal")
    equal({n["name"]: n["state"] for n in json.loads(cluster.cli("node", "list", "--json"))["nodes"]},
          {n["name"]: n["state"] for n in nodes}, "nodes after the removed one came back")
    cluster.tool("stop", node, must=False)
    check(cluster, "a")
    check(cluster, "b")
    cluster.await_whole()
    equal(json.loads(cluster.cli("fsck", "--json"))["clean"], True, "fsck")


def lost_disks_are_rebuilt(_world):
    with_cluster(disks_are_lost, nodes=6, disks=2, gateways=1, repair_wait="6s")


def disks_are_lost(cluster):
    fill(cluster, "a")
    equal(cluster.status()["degraded_stripes"], 0, "degraded at first")
    disks = json.loads(cluster.cli("disk", "list", "--json"))["disks"]
    # An empty disk at a known node takes the places of the one that was there, at once.
    node = cluster.process("node1")
    cluster.tool("kill", "node1")
    for name in os.listdir(node["dirs"][0]):
        path = os.path.join(node["dirs"][0], name)
        shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)
    cluster.tool("start", "node1")
    cluster.await_log("voter1", "disk_taken_over")
    cluster.await_whole()
    now = json.loads(cluster.cli("disk", "list", "--json"))["disks"]
    equal(len(now), len(disks), "disks")
    equal(len({disk["id"] for disk in now} - {disk["id"] for disk in disks}), 1, "new disks")
    equal(cluster.log("voter1").count("repair_failed"), 0, "failed repairs")
    check(cluster, "a")
    # A silent node: its shards are made again on the others after the wait, on disks of other nodes.
    cluster.tool("kill", "node2")
    time.sleep(3)
    equal(cluster.log("voter1").count("disk_given_up"), 0, "disks given up before the wait is over")
    cluster.await_log("voter1", "disk_given_up")
    cluster.await_nothing_on({"node2"}, "a")
    cluster.await_whole()
    fill(cluster, "b")
    for extent in list(cluster.extents("a")) + list(cluster.extents("b")):
        at = [cluster.homes()[shard["disk"]] for shard in extent["shards"]]
        true(max(at.count(name) for name in at) <= 2, f"more shards on a node than parity: {at}")
    # And back: its disks take part again, with nothing lost.
    cluster.tool("start", "node2")
    cluster.await_log("voter1", "disk_back")
    cluster.await_disks(12)
    cluster.await_whole()
    check(cluster, "a")
    check(cluster, "b")
    # Half of the nodes are silent: that is no loss of disks.
    for name in ("node3", "node4", "node5"):
        cluster.tool("kill", name)
    cluster.await_log("voter1", "repair_held")
    given_up = cluster.log("voter1").count("disk_given_up")
    time.sleep(3)
    equal(cluster.log("voter1").count("disk_given_up"), given_up, "disks given up while half of the nodes are silent")
    for name in ("node3", "node4", "node5"):
        cluster.tool("start", name)
    cluster.await_disks(12)
    cluster.await_whole()
    check(cluster, "a")
    check(cluster, "b")


def before_ages(cluster, before):
    """The nodes as they were, with the ages of now."""
    now = {n["id"]: n["heartbeat_age_seconds"] for n in json.loads(cluster.cli("node", "list", "--json"))["nodes"]}
    return [dict(n, heartbeat_age_seconds=now[n["id"]]) for n in before]


def said(argv):
    """What a process that must be refused says."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    equal(done.returncode, 1, f"{argv[1]}: {done.stderr}")
    return done.stderr


def a_cluster_is_made_once(_world):
    folder = tempfile.mkdtemp(prefix="cairn-cluster-")
    data = os.path.join(folder, "data")
    argv = [BINARY, "cluster", "init", "--data", data, "--listen", "127.0.0.1:7000"]
    try:
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):  # in use by somebody else: as good
                stack.enter_context(socket.create_server(("127.0.0.1", 9001)))
            done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)  # it serves nothing there
        equal(done.returncode, 0, done.stderr)
        has(done.stdout, ["access key", "secret key", "4+2"], "cluster init")
        for name in ("ca.key", "node.key", "credentials", "identity"):
            equal(os.stat(os.path.join(data, name)).st_mode & 0o777, 0o600, f"mode of {name}")
        with open(os.path.join(data, "identity"), "rb") as file:
            identity = file.read()
        again = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        equal(again.returncode, 1, "a second init")
        has(again.stderr, "belongs to a cluster already", "a second init")
        with open(os.path.join(data, "identity"), "rb") as file:
            equal(file.read(), identity, "the identity after a refused init")
        moved = subprocess.run([BINARY, "storage-node", "--data", data, "--listen", "127.0.0.1:0", folder], capture_output=True,
                               text=True, timeout=60, check=False)
        equal(moved.returncode, 2, "a port of 0")
        for words, text in ((["gateway", "--data", data], "belongs to a metadata"),
                            (["gateway", "--data", os.path.join(folder, "new")], "--join and --token"),
                            (["metadata", "--data", data], "--listen"),
                            (["storage-node", "--data", data, "--listen", "127.0.0.1:7001"], "directory"),
                            (["metadata", "--data", data, "--listen", "127.0.0.1:7000", "x"], "unexpected argument")):
            if words[0] == "gateway":
                words += ["--s3-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]
            refused = subprocess.run([BINARY, *words], capture_output=True, text=True, timeout=60, check=False)
            true(refused.returncode in (1, 2), f"{words}: {refused.returncode}")
            has(refused.stderr, text, str(words))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


CASES = {case.__name__: case for case in (a_cluster_is_made_once, who_may_join, a_gateway_joins_by_its_file,
                                             a_node_joins_anew_with_its_disks, lost_disks_are_rebuilt, a_node_is_drained_and_removed,
                                             certificates_are_renewed_under_traffic,
                                             nodes_gateways_and_the_voter_are_lost)}

if __name__ == "__main__":
    if not os.access(BINARY, os.X_OK):
        sys.exit(f"{BINARY} is not there: make build")
    run_cases("cluster", CASES)
