"""What the golden sets hold and where they lie; shared by make_set.py and golden_test.py."""
import contextlib
import fcntl
import hashlib
import importlib.machinery
import importlib.util
import json
import lzma
import os
import subprocess
import sys
import tarfile
import tempfile

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [os.path.join(ROOT, "tests", "clients", "lib")]

from counter import equal, true  # noqa: E402,F401
from s3http import S3, quote  # noqa: E402
from server import binary  # noqa: E402

ACCESS, SECRET = "GOLDENSETACCESSKEY01", "golden-set-secret-key-of-no-other-use-01"
# A cluster keeps the addresses that it was made with. These are loopback, and no system gives them to anybody.
HOST = "127.71.76.{}"
RPC_PORT, ADMIN_PORT = 7400, 7401
LEFT_OUT = ("LOG", "LOCK", "log", "lock", "cluster.json.new")  # what a run writes for people, and what a start makes anew
ARCHIVE_BYTES_MAX = 200 << 10


def pattern(name, size):
    """Bytes that differ from object to object and pack well."""
    return (hashlib.sha256(name.encode()).digest() * (size // 32 + 1))[:size]


def objects():
    """(bucket, key, body, headers): every class of size, overwritten and odd names, metadata."""
    made = [("golden", f"size/{size}", pattern(f"size {size}", size), {}) for size in
            (0, 1, 100, 8192, 8193, 65536, 65537, 300000, (1 << 20) - 1, 5 << 20)]
    made += [("golden", f"name/{name}", pattern(name, 500), {}) for name in
             ("two  spaces", "ümläut", "plus+sign", "hash#mark", "per%20cent", "日本", "a/../b", "\n", "\x01")]
    made += [("golden", "headers", pattern("headers", 70000), {"content-type": "text/x-golden", "cache-control": "no-cache",
              "x-amz-meta-colour": "gold", "x-amz-storage-class": "STANDARD_IA"})]
    made += [("golden-2", f"page/{number:03}", pattern(f"page {number}", 10), {}) for number in range(60)]
    return made


class Set:
    """One folder: manifest.json and the archives that it names."""

    def __init__(self, folder):
        self.folder = folder
        self.path = os.path.join(folder, "manifest.json")
        self.manifest = None
        if os.path.exists(self.path):
            with open(self.path, encoding="utf-8") as file:
                self.manifest = json.load(file)

    def archive(self, kind):
        return os.path.join(self.folder, kind + ".tar.xz")

    def unpack(self, kind, target):
        with open(self.archive(kind), "rb") as file:
            raw = file.read()
        equal(hashlib.sha256(raw).hexdigest(), self.manifest[kind]["archive_sha256"], f"{self.archive(kind)} was changed")
        with tarfile.open(self.archive(kind), "r:xz") as tar:
            tar.extractall(target)


def pack(folder, names, target):
    """Small and the same for the same files: sorted, without owners. Preallocated space of segments is no part of a file."""
    def plain(info):
        if os.path.basename(info.name).split(".")[0] in LEFT_OUT and not info.isdir():
            return None
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        return info
    with lzma.open(target, "wb", preset=9 | lzma.PRESET_EXTREME) as stream, tarfile.open(fileobj=stream, mode="w") as tar:
        for name in sorted(names):
            tar.add(os.path.join(folder, name), arcname=name, filter=plain)
    size = os.path.getsize(target)
    true(size <= ARCHIVE_BYTES_MAX, f"{target} has {size} bytes, more than {ARCHIVE_BYTES_MAX}")
    return {"archive_sha256": digest_of(target), "archive_bytes": size}


def digest_of(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


# ---- the cluster, by deploy/local-cluster ----

def local_cluster():
    """deploy/local-cluster as a module."""
    path = os.path.join(ROOT, "deploy", "local-cluster")
    loader = importlib.machinery.SourceFileLoader("local_cluster", path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("local_cluster", loader))
    loader.exec_module(module)
    module.BINARY = binary()
    return module


def ids_of(cluster):
    """Who is in it."""
    return {kind: sorted(entry["id"] for entry in cluster.cli(verb, "list", "--json")[kind])
            for verb, kind in (("node", "nodes"), ("disk", "disks"))}


@contextlib.contextmanager
def addresses():
    """The golden cluster's addresses, for one user of them at a time."""
    with open(os.path.join(tempfile.gettempdir(), f"cairn-golden-{os.getuid()}.lock"), "w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def cairn(admin, access, secret, *words):
    env = dict(os.environ, CAIRN_ACCESS_KEY=access, CAIRN_SECRET_KEY=secret)
    done = subprocess.run([binary(), *words, "--admin", admin, "--json"], env=env, capture_output=True, text=True, timeout=120,
                          check=False)
    equal(done.returncode, 0, f"cairn {' '.join(words)}: {done.stderr.strip() or done.stdout[-500:]}")
    return json.loads(done.stdout)
