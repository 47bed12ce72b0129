#!/usr/bin/env python3
"""`cairn cluster init --from DIR...`: the data set of a `cairn server` becomes a cluster.

    tests/server/convert.py [CASE...]

CAIRN_BINARY names another binary, CAIRN_TEST_KEEP=1 keeps the files.
"""
import json
import os
import shutil
import signal
import subprocess
import time

from server_world import S3, Skip, binary, equal, has, listing, run_cases, true
from server import free_ports
from cluster import pattern

SIZES = (0, 100, 70000, 5 << 20)
KEYS = ("rootrootroot", "secretsecretsecret")
ENV = {"CAIRN_ROOT_ACCESS_KEY": KEYS[0], "CAIRN_ROOT_SECRET_KEY": KEYS[1]}


class Roles:
    """The processes of a cluster, each by its own command, as an operator starts them."""

    def __init__(self, world):
        self.world, self.processes = world, []
        self.listen, self.admin, self.s3_listen = (f"127.0.0.1:{port}" for port in free_ports(3))
        self.env = world.environment({"CAIRN_ACCESS_KEY": KEYS[0], "CAIRN_SECRET_KEY": KEYS[1]})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
        for process in reversed(self.processes):
            equal(process.wait(60), 0, f"the end of {process.args[1]}")

    def start(self, *words):
        log = os.path.join(self.world.base, f"{words[0]}{len(self.processes)}.log")
        with open(log, "w", encoding="utf-8") as err:
            self.processes.append(subprocess.Popen([binary(), *words], env=self.env, stdout=err, stderr=err))

    def cairn(self, *words, status=0):
        done = subprocess.run([binary(), *words, "--admin", self.admin], env=self.env, capture_output=True, text=True, timeout=60,
                              check=False)
        if status is not None:
            equal(done.returncode, status, f"cairn {words}: {done.stderr}")
        return done.stdout

    def until(self, what, wanted, seconds=120):
        end = time.monotonic() + seconds
        while not wanted():
            true(time.monotonic() < end, f"not within {seconds} s: {what}")
            time.sleep(0.2)

    def token(self, role):
        path = os.path.join(self.world.base, f"token-{role}-{len(self.processes)}")
        with open(path, "w", encoding="utf-8") as file:
            file.write(self.cairn("token", "create", "--role", role))
        return path

    def voter(self, data):
        self.start("metadata", "--data", data, "--listen", self.listen, "--admin-listen", self.admin)
        self.until("the voter leads", lambda: self.cairn("status", "--json", status=None))

    def node(self, name, dirs):
        port = free_ports(1)[0]
        self.start("storage-node", "--data", os.path.join(self.world.base, name), "--name", name, "--listen", f"127.0.0.1:{port}",
                   "--join", self.listen, "--token-file", self.token("storage-node"), *dirs)

    def gateway(self):
        self.start("gateway", "--data", os.path.join(self.world.base, "gateway"), "--join", self.listen, "--token-file",
                   self.token("gateway"), "--s3-listen", self.s3_listen, "--admin-listen", "127.0.0.1:0")
        self.until("the gateway serves", self.serves)

    def serves(self):
        try:
            s3 = self.s3()  # it hears within seconds which disks are in service
            return s3.get("bucket", "a70000").status == 200 and s3.put("bucket", "probe", bytes(100000)).status == 200
        except OSError:
            return False

    def s3(self):
        host, port = self.s3_listen.split(":")
        return S3(host, int(port), *KEYS)

    def status(self):
        return json.loads(self.cairn("status", "--json"))


def put_some(s3, prefix):
    for size in SIZES:
        equal(s3.put("bucket", f"{prefix}{size}", pattern(prefix, size)).status, 200, f"put {prefix}{size}")


def check_some(s3, prefix):
    for size in SIZES:
        got = s3.get("bucket", f"{prefix}{size}")
        true(got.status == 200 and got.body == pattern(prefix, size), f"{prefix}{size}: {got.status}")


def server_filled(world, dirs):
    up = world.up(dirs, env=ENV)
    s3 = S3("127.0.0.1", up.port, *KEYS)
    equal(s3.make_bucket("bucket").status, 200, "make bucket")
    put_some(s3, "a")
    return up, s3


def init(world, data, listen, dirs, *more, wrap=()):
    argv = [*wrap, binary(), "cluster", "init", "--data", data, "--listen", listen, *more, "--from", *dirs]
    return subprocess.run(argv, env=world.environment(), capture_output=True, text=True, timeout=120, check=False)


def refused(world, words, *args, **more):
    done = init(world, *args, **more)
    true(done.returncode in (1, 2), f"not refused: {done.stdout}")
    has(done.stderr, words)


def spread(roles):
    said = json.loads(roles.cairn("durability", "--json"))
    return said["degraded_stripes"] == said["degraded_placement_stripes"] == said["crowded_stripes"] == 0


def part_put(s3, key, upload, number, body):
    done = s3.request("PUT", f"/bucket/{key}", f"partNumber={number}&uploadId={upload}", body)
    equal(done.status, 200, f"part {number}")
    return f"<Part><PartNumber>{number}</PartNumber><ETag>{done.headers['etag']}</ETag></Part>"


def a_server_becomes_a_cluster(world):
    """Killed, with an upload under way and a directory joined late; then five more nodes."""
    dirs = world.dirs(7)
    up, s3 = server_filled(world, dirs[:6])
    upload = s3.request("POST", "/bucket/late", "uploads=").value("UploadId")
    first = part_put(s3, "late", upload, 1, pattern("part", 5 << 20))
    equal(s3.delete("bucket", "a0").status, 204, "delete")
    equal(up.stop(), 0, "stop")
    up = world.up(dirs, env=ENV)
    s3 = S3("127.0.0.1", up.port, *KEYS)
    put_some(s3, "a")
    up.kill_group()
    data = os.path.join(world.base, "voter")
    with Roles(world) as roles:
        done = init(world, data, roles.listen, dirs)
        equal(done.returncode, 0, done.stderr)
        has(done.stdout, ["7 directories", f"cairn metadata --data {data}", "cairn storage-node", dirs[6]])
        world.refused(dirs, ["became a cluster's disk", "cairn storage-node"], env=ENV)
        refused(world, "belongs to a cluster already", data, roles.listen, dirs)
        refused(world, "has moved already", os.path.join(world.base, "second"), roles.listen, dirs)
        roles.voter(data)
        roles.node("old", dirs)
        roles.gateway()
        s3 = roles.s3()
        check_some(s3, "a")
        second = part_put(s3, "late", upload, 2, b"end")
        body = f"<CompleteMultipartUpload>{first}{second}</CompleteMultipartUpload>".encode()
        equal(s3.request("POST", "/bucket/late", f"uploadId={upload}", body).status, 200, "the upload goes on")
        true(s3.get("bucket", "late").body == pattern("part", 5 << 20) + b"end", "the upload's object")
        put_some(s3, "b")
        roles.until("everything is whole", lambda: roles.status()["degraded_stripes"] == 0)
        for number in range(5):
            roles.node(f"new{number}", [world.dir(f"n{number}")])
        roles.until("one shard a node", lambda: spread(roles), 240)
        roles.until("nothing is left over", lambda: roles.cairn("fsck", status=None).endswith("Findings       0\n"))
        for prefix in "ab":
            check_some(s3, prefix)


def interrupted_it_goes_on(world):
    """kill -9 at each rename. The same command ends it; until metadata moves the server still starts."""
    if shutil.which("strace") is None:
        raise Skip("strace is not installed")
    calls = "rename,renameat,renameat2"
    halves = set()
    ended = False
    for step in range(1, 80):
        dirs = [world.dir(f"at{step}-{i}") for i in range(4)]
        up, _ = server_filled(world, dirs)
        up.kill_group()
        data = os.path.join(world.base, f"voter{step}")
        with Roles(world) as roles:
            wrap = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={calls}", "-e", f"inject={calls}:signal=KILL:when={step}"]
            ended = init(world, data, roles.listen, dirs, wrap=wrap).returncode == 0
            moved = sum(os.path.exists(os.path.join(path, "metadata-moved")) for path in dirs)
            halves.add(moved)
            if moved == 0:
                up = world.up(dirs, env=ENV)
                check_some(S3("127.0.0.1", up.port, *KEYS), "a")
                equal(up.stop(), 0, "stop")
            else:
                world.refused(dirs, "became a cluster's disk", env=ENV)
                other = os.path.join(world.base, f"other{step}")
                refused(world, "has moved already", other, roles.listen, dirs)
            if not ended:
                done = init(world, data, roles.listen, dirs)
                true(done.returncode == 0 or "belongs to a cluster already" in done.stderr, f"step {step}: {done.stderr}")
            if moved == 0 and not ended and step % 8 != 1:
                continue  # they only differ in what the second try sweeps away
            roles.voter(data)
            roles.node(f"old{step}", dirs)
            shutil.rmtree(os.path.join(world.base, "gateway"), ignore_errors=True)
            roles.gateway()
            check_some(roles.s3(), "a")
        if ended:
            break
    true(ended and halves == {0, 1, 2, 3, 4}, f"directories moved at the moments of death: {halves} up to step {step}")


def what_is_refused(world):
    dirs = world.dirs(4)
    other = [world.dir("other1"), world.dir("other2")]
    up, _ = server_filled(world, dirs)
    listen = f"127.0.0.1:{free_ports(1)[0]}"
    data = os.path.join(world.base, "voter")
    refused(world, "another server", data, listen, dirs)
    equal(up.stop(), 0, "stop")
    equal(world.up(other).stop(), 0, "another data set")
    before = [listing(path) for path in dirs]
    refused(world, "exclude each other", data, listen, dirs, "--erasure", "1+1")
    refused(world, "is no directory of a data set", data, listen, [*dirs, world.dir("empty")])
    refused(world, "is no directory of a data set", data, listen, [*dirs, os.path.join(world.base, "absent")])
    refused(world, "belongs to another cluster", data, listen, [*dirs, other[0]])
    refused(world, "given twice", data, listen, [*dirs, dirs[0]])
    refused(world, "missing", data, listen, dirs[:2])
    equal([listing(path) for path in dirs], before, "what lies in the directories")
    up = world.up(dirs, env=ENV)
    check_some(S3("127.0.0.1", up.port, *KEYS), "a")


CASES = {case.__name__: case for case in (a_server_becomes_a_cluster, interrupted_it_goes_on, what_is_refused)}

if __name__ == "__main__":
    run_cases("convert", CASES)
