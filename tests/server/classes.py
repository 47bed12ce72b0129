#!/usr/bin/env python3
"""Storage classes: names of x-amz-storage-class with an erasure code of their own, and buckets with another code than new ones.

    tests/server/classes.py [CASE...]

CAIRN_BINARY names another binary, CAIRN_TEST_KEEP=1 keeps the files.
"""
import hashlib
import json
import re

from cluster import pattern, with_cluster
from disks import clean
from server_world import equal, has, run_cases, true

SIZES = (100, 50000, 3 << 20, 70 << 20)  # inline, whole copies, one extent, two
CODES = {"SMALL": "2+1", "WIDE": "8+4", "COPIES": "1+2", "STANDARD_IA": "3+2"}


def put(s3, bucket, key, body, storage_class=None, status=200):
    headers = {"x-amz-storage-class": storage_class} if storage_class else {}
    reply = s3.request("PUT", f"/{bucket}/{key}", body=body, headers=headers)
    equal(reply.status, status, f"PUT {key} as {storage_class}: {reply}")
    return reply


def get(s3, bucket, key, want):
    reply = s3.request("GET", f"/{bucket}/{key}")
    equal(reply.status, 200, f"GET {key}")
    equal(hashlib.sha256(reply.body).hexdigest(), hashlib.sha256(want).hexdigest(), f"bytes of {key}")
    return reply


def codes(cli, bucket, key):
    """Code of each extent, and every shard's state."""
    shown = json.loads(cli("explain", bucket, key, "--json"))
    for extent in shown["extents"]:
        equal({shard["state"] for shard in extent["shards"]}, {"ok"}, f"shards of {key}")
    return [extent["erasure"] for extent in shown["extents"]], shown["storage_class"]


def code_of(size, code):
    """What an object of that size in a class of that code is made of."""
    extents = max(1, -(-size // (64 << 20)))
    if size <= 100:
        return []
    if size <= 65536:
        return ["1+" + code.partition("+")[2]]
    return [code] * extents


def check(cli, s3, bucket, name, code, shown):
    for size in SIZES:
        key = f"{name}-{size}"
        reply = get(s3, bucket, key, pattern(key, size))
        equal(reply.headers.get("x-amz-storage-class"), None if shown == "STANDARD" else shown, f"class of {key}")
        equal(codes(cli, bucket, key), (code_of(size, code), shown), f"code of {key}")


def copy(s3, bucket, target, source, storage_class=None, **more):
    headers = {"x-amz-copy-source": source, **more}
    if storage_class:
        headers["x-amz-storage-class"] = storage_class
    reply = s3.request("PUT", f"/{bucket}/{target}", headers=headers)
    equal(reply.status, 200, f"copy {source} to {target}: {reply}")
    return reply


def upload(s3, bucket, key, parts, storage_class):
    reply = s3.request("POST", f"/{bucket}/{key}", "uploads=", headers={"x-amz-storage-class": storage_class})
    equal(reply.status, 200, f"an upload of {storage_class}: {reply}")
    upload_id = reply.value("UploadId")
    tags = []
    for number, part in enumerate(parts, 1):
        query = f"partNumber={number}&uploadId={upload_id}"
        if isinstance(part, str):
            reply = s3.request("PUT", f"/{bucket}/{key}", query, headers={"x-amz-copy-source": part})
            tags.append(reply.value("ETag"))
        else:
            reply = s3.request("PUT", f"/{bucket}/{key}", query, body=part)
            tags.append(reply.headers["etag"])
        equal(reply.status, 200, f"part {number}: {reply}")
    body = "".join(f"<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>" for number, tag in enumerate(tags, 1))
    reply = s3.request("POST", f"/{bucket}/{key}", f"uploadId={upload_id}",
                       body=f"<CompleteMultipartUpload>{body}</CompleteMultipartUpload>".encode())
    equal(reply.status, 200, f"complete: {reply}")


def several_classes_at_once(_world):
    with_cluster(several, nodes=6, disks=2, gateways=2, voters=3)


def several(cluster):
    s3 = cluster.s3(0)
    other = cluster.s3(1)
    equal(s3.request("PUT", "/bucket").status, 200, "bucket")
    refused = put(s3, "bucket", "nothing", b"x", "SMALL", 400)
    equal(refused.code, "InvalidStorageClass", "a class that nobody made")
    cluster.cli("class", "set", "WIDE", CODES["WIDE"])  # of all twelve disks, but nothing is in it yet
    dry = json.loads(cluster.cli("node", "drain", "node6", "--dry-run", "--json"))
    equal((dry["failure_domains"]["breaks"], dry["failure_domains"]["node"]["exposed_after"]), (["node"], 0), "five nodes for 4+2")
    for name, code in CODES.items():
        has(cluster.cli("class", "set", name, code), [name, code], "class set")
        for size in SIZES:  # at once, by another gateway than the next
            put(s3 if size % 3 else other, "bucket", f"{name}-{size}", pattern(f"{name}-{size}", size), name)
    for size in SIZES:
        put(s3, "bucket", f"plain-{size}", pattern(f"plain-{size}", size))
        put(s3, "bucket", f"label-{size}", pattern(f"label-{size}", size), "ONEZONE_IA")
    listed = {entry["name"]: entry for entry in json.loads(cluster.cli("class", "list", "--json"))["classes"]}
    equal({name: entry["erasure"] for name, entry in listed.items()}, {"STANDARD": "4+2", **CODES}, "class list")
    equal((listed["WIDE"]["disks"], listed["WIDE"]["losses"], listed["WIDE"]["overhead"]), (12, 4, 1.5), "8+4")
    everything = [(name, code, name) for name, code in CODES.items()]
    everything += [("plain", "4+2", "STANDARD"), ("label", "4+2", "ONEZONE_IA")]
    for name, code, shown in everything:
        check(cluster.cli, s3, "bucket", name, code, shown)
    page = s3.request("GET", "/bucket", "list-type=2&prefix=WIDE").body.decode()
    equal(set(re.findall("<StorageClass>([^<]*)", page)), {"WIDE"}, "StorageClass in a listing")
    has(cluster.cli("node", "drain", "node6", status=1), ["10 disks", "12 shards"], "a drain that 8+4 forbids")
    refusals(cluster)
    copies_and_uploads(cluster, s3)
    bucket_class(cluster, s3)
    # Two nodes of six are lost: 8+4 has four shards there, the others at most their parity.
    cluster.tool("kill", "node1")
    for name, _, _ in everything:
        for size in SIZES:
            get(s3, "bucket", f"{name}-{size}", pattern(f"{name}-{size}", size))
    put(s3, "bucket", "while-away", pattern("while-away", 3 << 20), "COPIES")
    cluster.tool("start", "node1")
    cluster.await_disks(12)
    cluster.await_whole()
    for name, code, shown in everything:
        check(cluster.cli, s3, "bucket", name, code, shown)
    # The name goes, the objects stay.
    cluster.cli("class", "remove", "SMALL")
    equal(put(s3, "bucket", "nothing", b"x", "SMALL", 400).code, "InvalidStorageClass", "a class that was removed")
    check(cluster.cli, s3, "bucket", "SMALL", "2+1", "SMALL")
    true(clean(cluster), "fsck")


def refusals(cluster):
    has(cluster.cli("class", "set", "HUGE", "12+4", status=1), ["16 disks", "12+4"], "more disks than there are")
    has(cluster.cli("class", "set", "STANDARD", "2+1", status=1), "cairn bucket class", "STANDARD")
    has(cluster.cli("class", "set", "GLACIER", "2+1", status=1), "archive", "an archive class")
    has(cluster.cli("class", "set", "small", "2+1", status=1), "A-Z", "small letters")
    has(cluster.cli("class", "set", "X", "2+0", status=1), "redundancy", "no parity")
    has(cluster.cli("class", "set", "X", "1+0", status=1), "parity", "one copy")
    has(cluster.cli("class", "set", "X", "six", status=1), "K+M", "no code")
    has(cluster.cli("class", "remove", "NONE", status=1), "no such storage class", "an unknown class")
    has(cluster.cli("bucket", "class", "bucket", "NONE", status=1), "no such storage class", "an unknown class")
    has(cluster.cli("bucket", "class", "nowhere", "WIDE", status=1), "no such bucket", "an unknown bucket")


def copies_and_uploads(cluster, s3):
    big = pattern("plain-73400320", 70 << 20)
    copy(s3, "bucket", "copied", "/bucket/plain-73400320", "WIDE")
    equal(codes(cluster.cli, "bucket", "copied"), (["8+4", "8+4"], "WIDE"), "a copy in another class")
    tag = get(s3, "bucket", "copied", big).headers["etag"]
    equal(tag, s3.request("HEAD", "/bucket/plain-73400320").headers["etag"], "its ETag")
    copy(s3, "bucket", "copied", "/bucket/copied", "COPIES")  # onto itself: what aws s3 cp does to change the class
    equal(codes(cluster.cli, "bucket", "copied"), (["1+2", "1+2"], "COPIES"), "onto itself in another class")
    get(s3, "bucket", "copied", big)
    copy(s3, "bucket", "back", "/bucket/copied")  # the class does not come along
    equal(codes(cluster.cli, "bucket", "back"), (["4+2", "4+2"], "STANDARD"), "a copy without a class")
    get(s3, "bucket", "back", big)
    part = pattern("part", 6 << 20)
    upload(s3, "bucket", "parts", [part, "/bucket/plain-73400320", pattern("end", 100000)], "WIDE")
    get(s3, "bucket", "parts", part + big + pattern("end", 100000))
    equal(codes(cluster.cli, "bucket", "parts"), (["8+4"] * 4, "WIDE"), "parts")


def bucket_class(cluster, s3):
    equal(s3.request("PUT", "/second").status, 200, "bucket")
    put(s3, "second", "before", pattern("before", 3 << 20))
    has(cluster.cli("bucket", "class", "second", "COPIES"), "1+2", "bucket class")
    put(s3, "second", "after", pattern("after", 3 << 20))
    put(s3, "second", "named", pattern("named", 3 << 20), "SMALL")
    equal(codes(cluster.cli, "second", "before"), (["4+2"], "STANDARD"), "what was there")
    equal(codes(cluster.cli, "second", "after"), (["1+2"], "STANDARD"), "what came after")
    equal(codes(cluster.cli, "second", "named"), (["2+1"], "SMALL"), "a class of its own")
    listed = {entry["name"]: entry["erasure"] for entry in json.loads(cluster.cli("bucket", "list", "--json"))["buckets"]}
    equal(listed, {"bucket": "4+2", "second": "1+2"}, "bucket list")
    cluster.cli("bucket", "class", "second", "STANDARD")
    put(s3, "second", "again", pattern("again", 3 << 20))
    equal(codes(cluster.cli, "second", "again"), (["4+2"], "STANDARD"), "back")


def classes_of_one_server(world):
    folders = world.dirs(12)
    server = world.up(folders, "--erasure", "4+2")

    def cli(*words):
        status, out, err = server.cli(*[word for word in words if word != "--json"])
        equal(status, 0, f"cairn {words}: {err}")
        return json.dumps(out)

    s3 = server.s3()
    equal(s3.request("PUT", "/bucket").status, 200, "bucket")
    for name, code in CODES.items():
        cli("class", "set", name, code)
        for size in SIZES:
            put(s3, "bucket", f"{name}-{size}", pattern(f"{name}-{size}", size), name)
        check(cli, s3, "bucket", name, code, name)
    status, _, err = server.cli("class", "set", "HUGE", "12+4")
    equal(status, 1, "more disks than there are")
    has(err, "16 disks", "more disks than there are")
    equal(server.stop(), 0, "stop")
    server = world.up(folders)
    for name, code in CODES.items():
        check(cli, server.s3(), "bucket", name, code, name)
        put(server.s3(), "bucket", "later", pattern("later", 3 << 20), name)
        equal(codes(cli, "bucket", "later"), ([code], name), "written after a restart")


CASES = {case.__name__: case for case in (several_classes_at_once, classes_of_one_server)}

if __name__ == "__main__":
    run_cases("classes", CASES)
