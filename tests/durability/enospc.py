"""Really full file systems: writes are refused with 503 or 507, reads and deletes work, and space comes back."""
import hashlib
import os
import time

from faults_common import MIB, Server, equal, mount_tmpfs, seeded, true, unmount

BUCKET = "full"
DISK_MIB = 160
OBJECT = 2 * MIB


def scenario(server):
    source = seeded("enospc")
    s3 = server.s3()
    equal(s3.make_bucket(BUCKET).status, 200, "make bucket")
    wrote, refusals, said_full, number = {}, 0, 0, 0
    while refusals < 5:
        body = source.randbytes(OBJECT)
        response = s3.put(BUCKET, f"o{number}", body)
        if response.status == 200:
            wrote[f"o{number}"] = hashlib.sha256(body).hexdigest()
        else:
            true(response.status in (503, 507), f"a write on full disks: {response}")
            refusals += 1
            said_full += response.status == 507
        number += 1
        true(number < 2000, "the disks never fill up")
    true(said_full > 1, "no more than one of five refusals says that the disks are full")
    true(len(wrote) > 20, f"only {len(wrote)} objects fitted")
    print(f"enospc: {len(wrote)} objects of 2 MiB, then {refusals} refusals", flush=True)
    true(server.alive(), "the server ended: " + server.log_tail())
    for key, digest in wrote.items():
        true(hashlib.sha256(s3.get(BUCKET, key).body).hexdigest() == digest, f"{key}: wrong bytes")
    equal(sorted(s3.list_all(BUCKET)), sorted(wrote), "listing")
    victims = sorted(wrote)[: len(wrote) * 3 // 4]
    for key in victims:
        response = s3.delete(BUCKET, key)
        equal(response.status, 204, f"a delete on full disks: {response}")
        del wrote[key]
    deadline = time.monotonic() + 180
    done = 0
    while done < len(victims) // 3:
        body = source.randbytes(OBJECT)
        response = s3.put(BUCKET, f"again{done}", body)
        if response.status == 200:
            wrote[f"again{done}"] = hashlib.sha256(body).hexdigest()
            done += 1
        else:
            true(time.monotonic() < deadline, f"space does not come back: {done} of {len(victims) // 3}, {response}")
            time.sleep(1)
    equal(server.stop(), 0, "exit status")
    server.start()
    s3 = server.s3()
    for key, digest in wrote.items():
        true(hashlib.sha256(s3.get(BUCKET, key).body).hexdigest() == digest, f"{key}: wrong bytes after a restart")


def full(counter):
    server = Server(4)
    mounted = []
    try:
        for disk in server.disks:
            mount_tmpfs(disk, DISK_MIB)
            mounted.append(disk)
        with server:
            scenario(server)
    finally:
        server.kill()
        for disk in mounted:
            unmount(disk, lazy=True)
        if os.path.isdir(server.base):
            server.remove()


def run(counter, long_run):
    _ = long_run
    counter.case("full disks: refused, readable, deletable, and space comes back", full, counter)
