"""The shortest way through: our own client puts, reads, lists, deletes; the admin verbs answer."""
import hashlib
import os

from counter import equal, true


def run(server, counter):
    s3 = server.s3()

    def objects():
        equal(s3.make_bucket("smoke").status, 200, "make bucket")
        for size in (0, 1, 4096, 100000, 1 << 20, 20 << 20):
            body = os.urandom(size)
            put = s3.put("smoke", f"size/{size}", body)
            equal(put.status, 200, f"put of {size}: {put}")
            equal(put.headers["etag"], '"' + hashlib.md5(body).hexdigest() + '"', "ETag")
            got = s3.get("smoke", f"size/{size}")
            equal(got.status, 200, "get")
            true(got.body == body, f"the bytes of {size} differ")
        equal(len(s3.list_all("smoke")), 6, "keys")
        for key in s3.list_all("smoke"):
            equal(s3.delete("smoke", key).status, 204, "delete")
        equal(s3.get("smoke", "size/1").code, "NoSuchKey", "after delete")
        equal(s3.list_all("smoke"), [], "keys")

    def admin():
        status = server.cli("status")
        equal(status["degraded_stripes"], 0, "degraded_stripes")
        equal(len(status["disks"]), 6, "disks")
        equal([b["name"] for b in server.cli("bucket", "list")["buckets"]], ["smoke"], "buckets")
        s3.put("smoke", "explained", os.urandom(300000))
        shown = server.cli("explain", "smoke", "explained")
        true(all(s["state"] == "ok" for e in shown["extents"] for s in e["shards"]), f"a shard is not ok: {shown}")

    def restart():
        body = os.urandom(5 << 20)
        equal(s3.put("smoke", "kept", body).status, 200, "put")
        equal(server.restart(), 0, "exit status")
        true(server.s3().get("smoke", "kept").body == body, "the bytes differ after a restart with other order")

    counter.case("objects of all sizes", objects)
    counter.case("admin verbs", admin)
    counter.case("a second start, directories in another order", restart)
