#!/usr/bin/env python3
"""What an operator asks of a running system, of `cairn server` and of a cluster alike, with real processes: durability, fsck, trace,
support bundle.

    tests/server/verbs.py [CASE...]

CAIRN_BINARY names another binary, CAIRN_TEST_KEEP=1 keeps the files.
"""
import json
import os
import shutil
import signal
import subprocess
import tarfile
import threading
import time

from server_world import binary, equal, has, run_cases, true
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
    for verb in ("durability", "fsck", "trace"):
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


class Trace:
    """`cairn trace --json` in the background."""

    def __init__(self, admin, env, *words):
        self.process = subprocess.Popen([binary(), "trace", "--admin", admin, "--json", *words], env=dict(os.environ, **env),
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.lines = []
        self.thread = threading.Thread(target=self.read)
        self.thread.start()
        time.sleep(1)  # until it has asked once: from then on lines are kept

    def read(self):
        for line in self.process.stdout:
            self.lines.append(json.loads(line))

    def wait(self, wanted, seconds=20):
        until = time.monotonic() + seconds
        while not wanted(self.lines):
            true(time.monotonic() < until and self.process.poll() is None, f"trace: {self.lines[-5:]}")
            time.sleep(0.05)

    def stop(self, expect=0):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        equal(self.process.wait(20), expect, f"end of trace: {self.process.stderr.read()}")
        self.thread.join()
        return self.lines


def env_of(up):
    return {"CAIRN_ACCESS_KEY": up.access, "CAIRN_SECRET_KEY": up.secret}


def trace_shows_requests(world):
    up = world.up(world.dirs(1))
    s3 = up.s3()
    s3.make_bucket("bucket")
    s3.put("bucket", "before", b"x")
    admin = f"127.0.0.1:{up.admin_port}"
    everything = Trace(admin, env_of(up))
    missing = Trace(admin, env_of(up), "--status", "4xx", "--bucket", "bucket")
    s3.put("bucket", "key\n1", b"12345")
    request_id = s3.get("bucket", "nothing").headers["x-amz-request-id"]
    s3.get("elsewhere", "nothing")
    everything.wait(lambda lines: len(lines) >= 3)
    missing.wait(lambda lines: len(lines) >= 1)
    lines = everything.stop()
    equal([(x["op"], x["bucket"], x["key"], x["status"]) for x in lines],
          [("PutObject", "bucket", "key\n1", 200), ("GetObject", "bucket", "nothing", 404),
           ("GetObject", "elsewhere", "nothing", 404)], "lines")
    equal((lines[0]["received"], lines[0]["principal"], lines[1]["id"], lines[1]["code"], lines[0]["code"]),
          (5, up.access, request_id, "NoSuchKey", ""),
          "fields")
    equal([(x["bucket"], x["status"]) for x in missing.stop()], [("bucket", 404)], "filtered lines")
    # A reader that stands still costs nothing, and is told what it missed.
    slow = Trace(admin, env_of(up))
    slow.process.send_signal(signal.SIGSTOP)
    for _ in range(6000):
        s3.stat("bucket", "before")
    slow.process.send_signal(signal.SIGCONT)
    slow.wait(lambda lines: any("dropped" in x for x in lines), 30)
    slow.wait(lambda lines: sum(x.get("dropped", 1) for x in lines) >= 6000, 30)
    lines = slow.stop()
    dropped = [x["dropped"] for x in lines if "dropped" in x]
    true(len(dropped) == 1 and 1000 < dropped[0] < 6000, f"dropped: {dropped}")
    for words in (["--status", "abc"], ["--status", "5x"], ["--status", "50000"]):
        Trace(admin, env_of(up), *words).stop(expect=1)
    Trace("127.0.0.1:1", env_of(up)).stop(expect=1)
    Trace(admin, {**env_of(up), "CAIRN_SECRET_KEY": "wrong"}).stop(expect=1)
    equal(up.http("/admin/v1/trace")[0], 403, "trace without a signature")


def bundle_read(path):
    with tarfile.open(path) as archive:
        return {m.name.split("/", 1)[1]: archive.extractfile(m).read() for m in archive.getmembers() if m.isfile()}


def secrets_of(folder):
    """What must never leave: keys and credentials, as they lie in the folder, line by line."""
    found = set()
    for base, _, names in os.walk(folder):
        for name in names:
            if name in ("credentials", "ca.key", "node.key", "token") or name.endswith((".key", ".token")):
                with open(os.path.join(base, name), "rb") as file:
                    lines = [line for line in file.read().splitlines() if not line.startswith((b"#", b"cluster=", b"access_key="))]
                    found.update(word for line in lines for word in line.replace(b"=", b" ").split() if len(word) >= 20)
    return found


def support_bundle(world):
    up = world.up(world.dirs(3))
    up.s3().make_bucket("bucket")
    up.s3().put("bucket", "a-private-name", BODY)
    path = os.path.join(world.base, "bundle.tar.gz")
    code, out, err = up.cli("support", "bundle", "--output", path)
    equal((code, out), (0, {"file": path}), f"bundle: {err}")
    equal(os.stat(path).st_mode & 0o777, 0o600, "mode of the bundle")
    files = bundle_read(path)
    folder = f"127.0.0.1_{up.admin_port}"
    names = {name.split("/")[1] for name in files if name.startswith(folder)}
    true({"config.json", "metrics.txt", "log.txt", "status.json", "durability.json", "disks.json", "topology.json",
          "fsck.json"} <= names, f"files: {sorted(files)}")
    config, topology = (json.loads(files[f"{folder}/{name}.json"]) for name in ("config", "topology"))
    equal((config["role"], config["erasure"], len(config["dirs"])), ("server", "2+1", 3), "configuration")
    equal((len(topology["disks"]), topology["voter"]["serving"]), (3, True), "topology")
    has(files[f"{folder}/log.txt"].decode(), "event=disk_state", "log")
    has(files[f"{folder}/metrics.txt"].decode(), "cairn_disk_up", "metrics")
    access = secrets_of(world.base)
    true(up.secret.encode() in access or len(access) > 0, "the test knows no secret")
    for name, text in files.items():
        for secret in access | {up.secret.encode()}:
            true(secret not in text or secret == up.access.encode(), f"{name} has a secret")
        true(b"PRIVATE KEY" not in text and b"a-private-name" not in text, f"{name} has what it must not have")
    equal(up.cli("support", "bundle", "--output", path)[0], 1, "a file that is there is left alone")
    equal(up.cli("support", json_wanted=False)[0], 2, "support alone")
    other = os.path.join(world.base, "other.tar.gz")
    equal(up.cli("support", "bundle", "--output", other, env={"CAIRN_SECRET_KEY": "wrong"})[0], 0, "/metrics needs no key")
    equal(sorted(bundle_read(other)), [f"{folder}/metrics.txt", "notes.txt"], "with a wrong key")
    for verb in ("config", "log", "topology"):
        equal(up.http(f"/admin/v1/{verb}")[0], 403, f"{verb} without a signature")
    up.stop()
    equal(up.cli("support", "bundle", "--output", other + "2")[0], 1, "without a server")
    true(not os.path.exists(other + "2"), "a bundle of nothing")


# ---- of a cluster ----

def node_dirs(cluster, name):
    return [p["dirs"] for p in cluster.shown["processes"] if p["name"] == name][0]


def trace_and_bundle_of_a_cluster(_world):
    with_cluster(trace_and_bundle, nodes=3, disks=1, gateways=2)


def trace_and_bundle(cluster):
    gateways = [cluster.process(f"gateway{i}")["admin"] for i in (1, 2)]
    trace = Trace(",".join(gateways), cluster.keys)
    cluster_fill(cluster, "a", gateway=0)
    cluster.s3(1).get("bucket", "a100")
    cluster.s3(1).get("bucket", "nothing")
    trace.wait(lambda lines: len({x["gateway"] for x in lines}) == 2 and any(x["status"] == 404 for x in lines))
    trace.stop()
    done = subprocess.run([BINARY, "trace", "--admin", cluster.shown["admin"]], env=dict(os.environ, **cluster.keys),
                          capture_output=True, text=True, timeout=60, check=False)
    equal(done.returncode, 1, "trace of a voter")
    has(done.stderr, "admin port of a gateway", "trace of a voter")
    path = os.path.join(cluster.folder, "bundle.tar.gz")
    done = subprocess.run([BINARY, "support", "bundle", "--output", path, "--admin",
                           ",".join([cluster.shown["admin"], *gateways])], env=dict(os.environ, **cluster.keys),
                          capture_output=True, text=True, timeout=120, check=False)
    equal(done.returncode, 0, f"bundle: {done.stderr}")
    files = bundle_read(path)
    roles = {json.loads(text)["role"] for name, text in files.items() if name.endswith("/config.json")}
    equal(roles, {"metadata", "gateway"}, "roles")
    nodes = [json.loads(text)["nodes"] for name, text in files.items() if name.endswith("/nodes.json")]
    equal([len(n) for n in nodes], [6], "nodes")
    secrets = secrets_of(cluster.folder) | {cluster.shown["secret_key"].encode()}
    true(len(secrets) > 10, f"the test knows few secrets: {len(secrets)}")
    for name, text in files.items():
        for secret in secrets - {cluster.shown["access_key"].encode()}:
            true(secret not in text, f"{name} has a secret: {secret}")
        true(b"PRIVATE KEY" not in text and b"cairn-token-1" not in text, f"{name} has what it must not have")


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
                                             a_server_ends_in_the_midst_of_fsck, trace_shows_requests, support_bundle,
                                             trace_and_bundle_of_a_cluster, verbs_of_a_cluster)}

if __name__ == "__main__":
    run_cases("verbs", CASES)
