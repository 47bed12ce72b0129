#!/usr/bin/env python3
"""The data of every release that has a set here, taken up by the program of today: started, listed, read to the last byte,
written to, started again.

    tests/golden/golden_test.py [VERSION...]

CAIRN_BINARY names another binary, CAIRN_TEST_KEEP=1 keeps the files.
"""
import hashlib
import os
import shutil
import sys
import tempfile
import time

from sets import HERE, S3, Set, addresses, binary, cairn, equal, ids_of, local_cluster, pattern, quote, true
from counter import Counter
from server import Server

AWAY_S = 60


class Folder:
    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix="cairn-golden-")
        return self.path

    def __exit__(self, *_):
        if os.environ.get("CAIRN_TEST_KEEP"):
            print(f"kept {self.path}", file=sys.stderr)
        else:
            shutil.rmtree(self.path, ignore_errors=True)


# ---- what must be there ----

def listed(s3, bucket):
    """Keys of a bucket, exactly: encoding-type=url carries those that XML cannot."""
    keys, token = [], ""
    while True:
        page = s3.request("GET", f"/{bucket}", "list-type=2&encoding-type=url&max-keys=25" +
                          (f"&continuation-token={quote(token)}" if token else ""))
        equal(page.status, 200, f"listing of {bucket}")
        keys += [unquote(key) for key in page.values("Key")]
        if page.value("IsTruncated") != "true":
            return keys
        token = page.value("NextContinuationToken")


def unquote(text):
    from urllib.parse import unquote_plus
    return unquote_plus(text)


def all_is_there(s3, said, more=()):
    """Buckets, listings in order, bytes, ETags and headers; `more`: names of golden-2 that were written since."""
    equal(sorted(s3.request("GET", "/").values("Name")), sorted(said["buckets"]), "buckets")
    for bucket, there in said["buckets"].items():
        wanted = sorted([*there, *(more if bucket == "golden-2" else ())], key=lambda key: key.encode())
        equal(listed(s3, bucket), wanted, f"keys of {bucket}")
        for key, was in there.items():
            got = s3.get(bucket, key)
            equal((got.status, got.headers.get("etag"), len(got.body)), (200, was["etag"], was["size"]), f"{bucket}/{key!r}")
            equal(hashlib.sha256(got.body).hexdigest(), was["sha256"], f"bytes of {bucket}/{key!r}")
            equal({name: got.headers.get(name) for name in was["headers"]}, was["headers"], f"headers of {bucket}/{key!r}")
            size = was["size"]
            if size > 1000:
                part = s3.get(bucket, key, {"range": f"bytes={size // 2}-{size // 2 + 99}"})
                equal((part.status, part.body), (206, got.body[size // 2:size // 2 + 100]), f"range of {bucket}/{key!r}")
    for key in more:
        equal(s3.get("golden-2", key).body, pattern(key, 100000), f"{key}, written today")


def uploads_go_on(s3, said):
    """An upload that was open when the set was made is listed, takes a part, and is completed."""
    for upload in said["uploads"]:
        path, query = f"/{upload['bucket']}/{quote(upload['key'])}", f"uploadId={quote(upload['upload'])}"
        equal(s3.request("GET", f"/{upload['bucket']}", "uploads=").values("UploadId"), [upload["upload"]], "uploads")
        equal(s3.request("GET", path, query).values("ETag"), [upload["etag"]], "parts")
        part = pattern("today", 5 << 20)  # takes the place of the part that is there: but the last, parts have 5 MiB
        first = s3.request("PUT", path, f"partNumber=1&{query}", part)
        last = s3.request("PUT", path, f"partNumber=2&{query}", b"end")
        equal((first.status, last.status), (200, 200), "parts")
        listing = "".join(f"<Part><PartNumber>{number}</PartNumber><ETag>{answer.headers['etag']}</ETag></Part>"
                          for number, answer in ((1, first), (2, last)))
        done = s3.request("POST", path, query, f"<CompleteMultipartUpload>{listing}</CompleteMultipartUpload>".encode())
        equal(done.status, 200, f"complete: {done.body}")
        true(s3.get(upload["bucket"], upload["key"]).body == part + b"end", "the bytes differ")
        equal(s3.delete(upload["bucket"], upload["key"]).status, 204, "delete")


def writes_go_on(s3, names):
    for name in names:
        equal(s3.put("golden-2", name, pattern(name, 100000)).status, 200, f"put of {name}")
    equal(s3.put("golden-empty", "k", b"1").status, 200, "put")
    equal(s3.delete("golden-empty", "k").status, 204, "delete")


def is_whole(admin, said):
    """Nothing is degraded, and every counter, reference and shard is what the metadata says."""
    until = time.monotonic() + AWAY_S
    while (status := cairn(admin, said["access_key"], said["secret_key"], "status"))["degraded_stripes"] != 0:
        true(time.monotonic() < until, f"degraded after {AWAY_S} s: {status['degraded_stripes']} stripes")
        time.sleep(0.2)
    equal(status["erasure"], said["erasure"], "erasure")
    cairn(admin, said["access_key"], said["secret_key"], "fsck")  # its status is 0 only where nothing was found


# ---- a server ----

def server_set(golden):
    said = golden.manifest["server"]
    with Folder() as folder:
        golden.unpack("server", folder)
        server = Server(disks=[os.path.join(folder, name) for name in said["directories"]])
        try:
            shutil.rmtree(server.base)
            server.base, server.log_path = folder, os.path.join(folder, "log")
            server.access, server.secret = said["access_key"], said["secret_key"]
            admin = f"127.0.0.1:{server.admin_port}"
            server.start()
            all_is_there(server.s3(), said)
            is_whole(admin, said)
            uploads_go_on(server.s3(), said)
            writes_go_on(server.s3(), ["today/1", "today/2"])
            equal(server.stop(), 0, "exit status")
            server.start()
            all_is_there(server.s3(), said, ["today/1", "today/2"])
            is_whole(admin, said)
            equal(server.stop(), 0, "exit status")
            # One directory less: what the release wrote as parity is parity.
            shutil.rmtree(server.disks.pop(0))
            server.start()
            all_is_there(server.s3(), said, ["today/1", "today/2"])
        finally:
            server.kill()


# ---- a cluster ----

def cluster_set(golden):
    """Every certificate of the set has ended: the voter issues its own anew, the others join again with a token, as docs/OPERATIONS.md
    says of a node that was down for long."""
    said = golden.manifest["cluster"]
    with Folder() as folder, addresses():
        golden.unpack("cluster", folder)
        tool = local_cluster()
        cluster = tool.Cluster(folder)
        cluster.state.update(binary=binary(), certificate_life="")
        for process in cluster.state["processes"]:
            process.update(pid=0, joined=process["role"] == "metadata")
            process.update({key: os.path.join(folder, process[key]) for key in ("data", "log")})
            process["dirs"] = [os.path.join(folder, path) for path in process["dirs"]]
        cluster.save()
        try:
            cluster.up(lambda name: None)
            equal(ids_of(cluster), {kind: said[kind] for kind in ("nodes", "disks")}, "nobody joined as somebody else")
            gateway = cluster.of_role("gateway")[0]["listen"].split(":")
            s3 = S3(gateway[0], int(gateway[1]), said["access_key"], said["secret_key"])
            all_is_there(s3, said)
            is_whole(cluster.admin_addresses(), said)
            uploads_go_on(s3, said)
            writes_go_on(s3, ["today/1", "today/2"])
            s3.close()
            cluster.down()
            cluster.up(lambda name: None)
            all_is_there(s3, said, ["today/1", "today/2"])
            is_whole(cluster.admin_addresses(), said)
            cluster.signal(cluster.of_role("storage-node")[0], 9)
            all_is_there(s3, said, ["today/1", "today/2"])
        finally:
            cluster.down()


def main():
    counter = Counter("golden")
    versions = sys.argv[1:] or sorted(name for name in os.listdir(HERE) if os.path.isdir(os.path.join(HERE, name)))
    for version in versions:
        golden = Set(os.path.join(HERE, version))
        counter.case(f"a server of {version}", server_set, golden)
        counter.case(f"a cluster of {version}", cluster_set, golden)
    if not versions:
        counter.case("there is a set", true, False, "no set")
    counter.finish()


if __name__ == "__main__":
    main()
