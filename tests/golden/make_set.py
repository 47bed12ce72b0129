#!/usr/bin/env python3
"""Makes the golden set of the release that build/release/cairn is: tests/golden/VERSION with a manifest, the directories of a
`cairn server` and those of a cluster.

    tests/golden/make_set.py [--replace]

A set is made once, by the release itself, and never again: --replace is for a version that is not released yet. The cluster's
certificates have ended before the set is packed, as they will have for every reader of it.
"""
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

from sets import (ACCESS, ADMIN_PORT, HERE, HOST, RPC_PORT, S3, SECRET, Set, addresses, binary, equal, ids_of, local_cluster,
                  objects, pack, pattern, quote, true)

from server import Server

CERTIFICATE_LIFE_S = 30
PART_BYTES = 5 << 20


def fill(s3):
    """Everything that a set holds; returns what the manifest says of it."""
    buckets, uploads = {}, []
    for bucket in ("golden", "golden-2", "golden-empty"):
        equal(s3.make_bucket(bucket).status, 200, "make bucket")
        buckets[bucket] = {}
    equal(s3.put("golden", "deleted", b"x" * 20000).status, 200, "put")
    equal(s3.delete("golden", "deleted").status, 204, "delete")
    equal(s3.put("golden", "size/300000", b"overwritten").status, 200, "put")
    for bucket, key, body, headers in objects():
        put = s3.put(bucket, key, body, headers)
        equal(put.status, 200, f"put of {key!r}")
        buckets[bucket][key] = {"sha256": hashlib.sha256(body).hexdigest(), "size": len(body), "etag": put.headers["etag"],
                                "headers": headers}
    parts = [pattern("part 1", PART_BYTES), pattern("part 2", PART_BYTES), pattern("part 3", 12345)]
    done = s3.multipart_put("golden", "upload", parts)
    equal(done.status, 200, "multipart")
    whole = b"".join(parts)
    buckets["golden"]["upload"] = {"sha256": hashlib.sha256(whole).hexdigest(), "size": len(whole), "headers": {},
                                   "etag": done.value("ETag")}
    equal(s3.request("PUT", "/golden/copy", headers={"x-amz-copy-source": "/golden/upload"}).status, 200, "copy")
    copy = s3.stat("golden", "copy")
    buckets["golden"]["copy"] = {"sha256": hashlib.sha256(whole).hexdigest(), "size": len(whole), "headers": {},
                                 "etag": copy.headers["etag"]}
    path = "/golden/" + quote("begun")
    upload = s3.request("POST", path, "uploads=").value("UploadId")
    part = s3.request("PUT", path, f"partNumber=1&uploadId={quote(upload)}", parts[2])
    equal(part.status, 200, "part")
    uploads.append({"bucket": "golden", "key": "begun", "upload": upload, "etag": part.headers["etag"],
                    "sha256": hashlib.sha256(parts[2]).hexdigest()})
    return {"buckets": buckets, "uploads": uploads}


def of_server(target):
    with Server(disks=3) as server:
        server.stop()  # that one's keys are random
        for disk in server.disks:
            shutil.rmtree(disk)
            os.makedirs(disk)
        server.access, server.secret = ACCESS, SECRET
        server.start()
        said = fill(server.s3())
        status = server.cli("status")
        equal((status["degraded_stripes"], server.stop()), (0, 0), "the server")
        said.update(pack(server.base, [os.path.basename(disk) for disk in server.disks], target), access_key=ACCESS,
                    secret_key=SECRET, directories=[os.path.basename(disk) for disk in server.disks],
                    erasure=status["erasure"])
        return said


def of_cluster(target):
    base = tempfile.mkdtemp(prefix="cairn-golden-")
    tool = local_cluster()
    cluster = tool.Cluster(os.path.join(base, "cluster"))
    try:
        options = tool.arguments_of(["up", "--voters", "3", "--nodes", "3", "--disks", "1", "--gateways", "1", "--erasure", "2+1",
                                     "--certificate-life", f"{CERTIFICATE_LIFE_S}s"])
        cluster.create(options)
        for number, process in enumerate(cluster.state["processes"], 1):
            process["listen"] = f"{HOST.format(number)}:{RPC_PORT}"
            process["admin"] = f"{HOST.format(number)}:{ADMIN_PORT}"
        cluster.save()
        cluster.up(lambda name: None)
        gateway = cluster.of_role("gateway")[0]["listen"].split(":")
        said = fill(S3(gateway[0], int(gateway[1]), cluster.state["access_key"], cluster.state["secret_key"]))
        status = cluster.cli("status", "--json")
        equal(status["degraded_stripes"], 0, "degraded stripes")
        said.update(ids_of(cluster))
        cluster.down()
        time.sleep(CERTIFICATE_LIFE_S + 1)
        for process in cluster.state["processes"]:  # paths from the set's own folder on
            for key in ("data", "log"):
                process[key] = os.path.relpath(process[key], cluster.folder)
            process["dirs"] = [os.path.relpath(path, cluster.folder) for path in process["dirs"]]
        cluster.state["binary"] = ""
        cluster.save()
        said.update(pack(cluster.folder, os.listdir(cluster.folder), target), access_key=cluster.state["access_key"],
                    secret_key=cluster.state["secret_key"], erasure=status["erasure"])
        return said
    finally:
        if cluster.state is not None and cluster.state["binary"]:
            cluster.down()
        shutil.rmtree(base)


def main():
    version = subprocess.run([binary(), "version"], capture_output=True, text=True, check=True).stdout.split()[1]
    golden = Set(os.path.join(HERE, version))
    true(golden.manifest is None or "--replace" in sys.argv[1:], f"there is a set of {version}: it stays as it is")
    os.makedirs(golden.folder, exist_ok=True)
    manifest = {"version": version, "made": time.strftime("%Y-%m-%d", time.gmtime()), "server": of_server(golden.archive("server"))}
    with addresses():
        manifest["cluster"] = of_cluster(golden.archive("cluster"))
    with open(golden.path, "w", encoding="utf-8") as file:
        json.dump(manifest, file, indent=1, sort_keys=True)
        file.write("\n")
    for kind in ("server", "cluster"):
        print(f"{golden.archive(kind)}: {manifest[kind]['archive_bytes']} bytes")


if __name__ == "__main__":
    main()
