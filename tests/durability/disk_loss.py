"""Lost disks: removed under the running server, made unreadable, unmounted; then replaced."""
import hashlib
import os
import shutil
import subprocess
import threading
import time

from faults_common import MIB, Broken, Server, ServerFailed, Skip, equal, is_root, mount_tmpfs, seeded, true, unmount

BUCKET = "loss"
SIZES = [0, 1, 4096, 30000, 300000, 2 * MIB, 9 * MIB + 5]


def fill(server, source, prefix, count=3):
    """Key -> digest of what was acknowledged."""
    s3, wrote = server.s3(), {}
    for size in SIZES:
        for i in range(count if size < MIB else 1):
            body = source.randbytes(size)
            key = f"{prefix}/{size}/{i}"
            response = s3.put(BUCKET, key, body)
            equal(response.status, 200, f"put {key}: {response}")
            wrote[key] = hashlib.sha256(body).hexdigest()
    return wrote


def compare(server, wrote):
    s3 = server.s3()
    for key, digest in wrote.items():
        response = s3.get(BUCKET, key)
        equal(response.status, 200, f"get {key}: {response}")
        true(hashlib.sha256(response.body).hexdigest() == digest, f"{key}: wrong bytes")
    equal(sorted(set(s3.list_all(BUCKET)) & set(wrote)), sorted(wrote), "listing")


class Traffic(threading.Thread):
    """Reads and writes without a pause; keeps the first failure."""

    def __init__(self, server, wrote):
        super().__init__(daemon=True)
        self.s3, self.wrote, self.stopping, self.failure, self.count = server.s3(), dict(wrote), False, None, 0
        self.new = {}

    def run(self):
        keys = sorted(self.wrote)
        while not self.stopping:
            key = keys[self.count % len(keys)]
            try:
                response = self.s3.get(BUCKET, key)
                if response.status != 200 or hashlib.sha256(response.body).hexdigest() != self.wrote[key]:
                    self.failure = self.failure or f"get {key}: {response}"
                body = f"{self.count}".encode() * 2000
                new = f"traffic/{self.count % 50}"
                response = self.s3.put(BUCKET, new, body)
                if response.status == 200:
                    self.new[new] = hashlib.sha256(body).hexdigest()
                else:
                    self.failure = self.failure or f"put {new}: {response}"
            except (Broken, OSError) as error:
                self.failure = self.failure or f"{key}: {error}"
                self.s3.close()
            self.count += 1

    def end(self):
        self.stopping = True
        self.join(60)
        true(self.failure is None, f"{self.failure} (request {self.count})")
        true(self.count > 5, "no traffic")


def removed_under_traffic(counter, disks, m):
    """rm -rf of m directories under traffic; nothing fails; replaced by empty ones, rebuilt, and lost again elsewhere."""
    source = seeded(f"disk loss, {disks} disks")
    server = Server(disks)

    def lose():
        server.s3().make_bucket(BUCKET)
        wrote.update(fill(server, source, "before"))
        traffic = Traffic(server, wrote)
        traffic.start()
        time.sleep(0.5)
        for disk in server.disks[:m]:
            shutil.rmtree(disk)
            time.sleep(0.7)
        time.sleep(1.5)
        wrote.update(fill(server, source, "during", 1))
        traffic.end()
        wrote.update(traffic.new)
        compare(server, wrote)
        true(server.cli("status")["degraded_stripes"] > 0, "nothing counts as degraded")

    def restart_degraded():
        equal(server.stop(), 0, "exit status")
        for disk in server.disks[:m]:
            os.makedirs(disk, exist_ok=True)  # empty ones among known ones
        try:
            server.start()
        except ServerFailed:  # with half of them away it may want to be told which are given up, and must say how
            true(2 * m >= disks and "--start-without" in server.log_tail(5), f"does not start:\n{server.log_tail(5)}")
            server.args = [word for disk in server.disks[:m] for word in ("--start-without", disk)]
            server.start()
        compare(server, wrote)

    def replace():
        for disk in server.disks[:m]:
            server.cli("disk", "replace", disk)
        status = server.wait_repaired(180)
        equal(status["degraded_stripes"], 0, "degraded_stripes")
        equal(sum(d["state"] == "online" for d in status["disks"]), disks, "disks online")
        compare(server, wrote)

    def others():
        """Only what was really rebuilt survives the loss of m others."""
        for disk in server.disks[m:2 * m]:
            shutil.rmtree(disk)
        time.sleep(1)
        compare(server, wrote)

    wrote = {}
    label = f"{disks} disks, {m} lost"
    with server:
        for name, function in (("removed under traffic", lose), ("a start among empty ones", restart_degraded),
                               ("replaced and rebuilt", replace), ("then others lost", others)):
            if not counter.case(f"{label}: {name}", function):
                print(server.log_tail(8), flush=True)
                break


def replaced_while_running(counter):
    """The usual way: a disk dies, an empty one is mounted in its place, and the server is told; no restart."""
    server = Server(6)
    with server:
        source = seeded("replaced while running")
        server.s3().make_bucket(BUCKET)
        wrote = fill(server, source, "a")
        for disk in server.disks[:2]:
            shutil.rmtree(disk)
        time.sleep(2)
        wrote.update(fill(server, source, "b", 1))
        for disk in server.disks[:2]:
            os.makedirs(disk)
            server.cli("disk", "replace", disk)
        server.wait_repaired(120)
        for disk in server.disks[2:4]:  # only what was rebuilt survives this
            shutil.rmtree(disk)
        time.sleep(1)
        compare(server, wrote)


def too_many(counter):
    """More than m gone: 503, never 404; all is back when they return."""
    source = seeded("too many lost")
    server = Server(6)
    aside = []

    def gone():
        server.s3().make_bucket(BUCKET)
        wrote.update(fill(server, source, "all", 1))
        for disk in server.disks[:3]:
            os.rename(disk, disk + ".aside")
        time.sleep(3)
        s3 = server.s3(timeout=30)
        for key, digest in wrote.items():
            response = s3.get(BUCKET, key)
            true(response.status in (200, 503), f"{key}: {response} (3 of 6 directories renamed away under the server)")
            true(response.status == 503 or hashlib.sha256(response.body).hexdigest() == digest, f"{key}: wrong bytes")
        server.stop()
        for disk in server.disks[:3]:
            if os.path.isdir(disk):
                shutil.rmtree(disk)
            os.rename(disk + ".aside", disk)
        for disk in server.disks[:3]:
            os.rename(disk, disk + ".aside")
            aside.append(disk)
        try:
            server.start(30)
        except Exception:
            if server.process.poll() is not None:
                true(server.process.returncode != 0, "an unreadable cluster that ends with status 0")
                return  # refusing to start is an honest answer too
            # it runs and is not ready: asked below
        s3 = server.s3(timeout=30)
        for key in wrote:
            response = s3.get(BUCKET, key)
            true(response.status in (200, 503), f"{key}: {response} (with 3 of 6 disks gone, a 4+2)")
        equal(s3.put(BUCKET, "none", b"x" * 100000).status in (200, 503), True, "put")

    def back():
        server.kill()
        for disk in aside:
            if os.path.isdir(disk):
                shutil.rmtree(disk)
            os.rename(disk + ".aside", disk)
        server.start()
        compare(server, wrote)
        server.wait_repaired(120)

    wrote = {}
    with server:
        if counter.case("6 disks, 3 lost: 503, never 404", gone):
            counter.case("6 disks, 3 back: all is back", back)


def unreadable(counter):
    """chmod 000, where we are not root (root reads it all the same)."""
    if is_root():
        raise Skip("root reads a directory of mode 000 all the same")
    server = Server(4)
    with server:
        source = seeded("chmod 000")
        server.s3().make_bucket(BUCKET)
        wrote = fill(server, source, "a", 1)
        os.chmod(server.disks[0], 0)
        wrote.update(fill(server, source, "b", 1))
        compare(server, wrote)


def unmounted(counter):
    """A disk whose file system is pulled out from under the running server."""
    server = Server(4)
    path = server.disks[1]
    try:
        mount_tmpfs(path, 300)
        with server:
            source = seeded("unmount")
            server.s3().make_bucket(BUCKET)
            wrote = fill(server, source, "a", 1)
            unmount(path, lazy=True)
            time.sleep(2)
            wrote.update(fill(server, source, "b", 1))
            compare(server, wrote)
            server.stop()
            unmount(path)
    finally:
        unmount(path)
        server.remove()


def refusals(counter):
    """Starts that must not happen: each says why, ends with a status that is not 0, and writes nothing."""
    server = Server(4)

    def start_fails(disks, what, word=""):
        old, server.disks = server.disks, disks
        before = snapshot(old)
        server.spawn()
        try:
            status = server.process.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            raise AssertionError(f"{what}: the server runs") from None
        finally:
            server.disks = old
        true(status != 0, f"{what}: status 0")
        said = server.log_tail(3)
        true(word in said, f"{what}: the last words do not name it: {said}")
        equal(snapshot(old), before, f"{what}: something was written")

    def snapshot(disks):
        return sorted(os.path.join(d, f) for disk in disks for d, _, files in os.walk(disk) for f in files)

    def first_start():
        start_fails([server.disks[0], server.disks[0]], "the same directory twice", server.disks[0])
        plain = os.path.join(server.base, "file")
        open(plain, "w").close()
        start_fails([server.disks[0], plain], "a file", plain)
        server.args = ["--erasure", "4+2"]
        try:
            start_fails(server.disks, "fewer than k+m")
        finally:
            server.args = []

    def second_start():
        server.start()
        server.stop()
        other = Server(2)
        with other:
            other.stop()
            start_fails([*server.disks[:3], other.disks[0]], "a directory of another cluster", other.disks[0])
        server.start()
        second = Server(server.disks)
        second.spawn()
        true(second.process.wait(20) != 0, "two servers on the same directories")
        second.disks = []
        second.remove()
        server.stop()

    with_cleanup(server, counter, (("at a first start", first_start), ("at a second start", second_start)))


def with_cleanup(server, counter, cases):
    try:
        for name, function in cases:
            counter.case(f"refused starts, {name}", function)
    finally:
        server.remove()


def run(counter, long_run):
    removed_under_traffic(counter, 6, 2)
    if long_run:
        removed_under_traffic(counter, 2, 1)
        removed_under_traffic(counter, 3, 1)
        removed_under_traffic(counter, 5, 2)
        removed_under_traffic(counter, 12, 4)
    removed_under_traffic(counter, 4, 2)
    counter.case("6 disks, 2 lost and replaced while running", replaced_while_running, counter)
    too_many(counter)
    counter.case("chmod 000 under the running server", unreadable, counter)
    counter.case("unmounted under the running server", unmounted, counter)
    refusals(counter)
