"""System calls of the write path that fail once, by strace: what fails is never acknowledged, and never lost.

A write that was acknowledged although one of its syncs failed must be readable after a kill -9 and a restart. Each run
makes every N-th call of one kind fail with EIO on the running server.
"""
import hashlib
import os
import shutil
import time

from faults_common import Broken, Server, ServerFailed, Skip, equal, seeded, true

BUCKET = "inject"
# A call that does not occur on the path counts as skipped only if strace never saw it.
# The number counts calls of one thread, as strace does; the first failure comes between it and twice as many calls.
FAULTS = [
    ("fdatasync", "EIO", 40), ("pwritev", "EIO", 60), ("fsync", "EIO", 2), ("write", "EIO", 10),
    ("rename,renameat,renameat2", "EIO", 3), ("fdatasync", "ENOSPC", 40), ("pwritev", "ENOSPC", 60),
    ("fallocate", "EIO", 1), ("fallocate", "ENOSPC", 1), ("ftruncate", "EIO", 1),  # strace -c: no pwrite, no pwrite64 on this path
]


def one(calls, error, every):
    if shutil.which("strace") is None:
        raise Skip("strace is not installed")
    source = seeded(f"inject {calls} {error}")
    server = Server(6)
    trace = os.path.join(server.base, "trace")
    first = every + source.randrange(every)
    server.wrap = ["strace", "-f", "-qq", "-o", trace, "-e", f"trace={calls}", "-e",
                   f"inject={calls}:error={error}:when={first}+{every * 7}"]
    # a first start without faults: the fault belongs to the write path, not to formatting
    wrap, server.wrap = server.wrap, []
    with server:
        equal(server.s3().make_bucket(BUCKET).status, 200, "make bucket")
        equal(server.stop(), 0, "exit status")
        server.wrap = wrap
        try:
            server.start(20)
        except ServerFailed:
            if not hit(trace):
                raise
            server.kill()  # the fault struck the start itself: it must refuse, and the next start must be whole
            server.wrap = []
            server.start()
        may = traffic(server, source)
        struck = hit(trace)
        # A fault that lasts from the first write on rightly has every one refused; without one, all must go well.
        true(struck > 0 or all(len(allowed) == 1 for allowed in may.values()), "a write failed although no call did")
        server.kill()
        server.wrap = []
        server.start()
        s3 = server.s3()
        for key, allowed in may.items():
            response = s3.get(BUCKET, key)
            true(response.status in (200, 404), f"{key} after the restart: {response}")
            found = hashlib.sha256(response.body).hexdigest() if response.status == 200 else None
            true(found in allowed, f"{key} holds {found}, allowed {allowed} after {struck} failed calls")
        equal(server.stop(), 0, "exit status")
        if struck == 0:
            raise Skip(f"{calls} never came to its turn on this path")
        print(f"inject: {calls} failed {struck} times with {error}; {len(may)} keys hold", flush=True)


def hit(trace):
    try:
        with open(trace, errors="replace") as f:
            return sum("(INJECTED)" in line for line in f)
    except OSError:
        return 0


def traffic(server, source):
    """Key -> digests (None: absent) that it may hold."""
    s3, may = server.s3(timeout=30), {}
    failures, deadline = 0, time.monotonic() + 12
    number = 0
    while number < 150 and time.monotonic() < deadline and failures < 30:
        key = f"k{number % 40}"
        body = source.randbytes(source.choice([10, 4096, 60000, 400000]))
        digest = hashlib.sha256(body).hexdigest()
        number += 1
        before = may.get(key, {None})
        try:
            status = s3.put(BUCKET, key, body).status
        except (Broken, OSError):
            s3.close()
            status = 0
            if not server.alive():
                may[key] = before | {digest}
                break
        if status == 200:
            may[key] = {digest}
        else:
            may[key] = before | {digest}  # not acknowledged: either is right
            failures += 1
    return may


def run(counter, _long_run):
    for calls, error, every in FAULTS:  # a second each
        counter.case(f"failed {calls} ({error})", one, calls, error, every)
