"""What the durability programs share: paths, sizes, a line for every seed, root or not."""
import os
import random
import subprocess
import sys
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "clients", "lib")]

from counter import Counter, Skip, equal, true  # noqa: E402,F401
from s3http import Broken, S3  # noqa: E402,F401
from server import Server, ServerFailed  # noqa: E402,F401

MIB = 1 << 20


def seeded(name, seed=None):
    """A random source; the seed is printed, and CAIRN_SEED replays it."""
    seed = int(os.environ.get("CAIRN_SEED", seed if seed is not None else time.time_ns() % (1 << 32)))
    print(f"{name}: seed {seed} (replay: CAIRN_SEED={seed})", flush=True)
    return random.Random(seed)


def size_of(source):
    """Sizes that meet every class: empty, inline, one cell, several, several stripes."""
    return source.choice([0, 1, 100, 4096, 4096, 16000, 70000, 300000, MIB, 5 * MIB + 7])


def is_root():
    return os.geteuid() == 0


def mount_tmpfs(path, mib):
    """A small file system on path; Skip where that is not allowed."""
    os.makedirs(path, exist_ok=True)
    if not is_root():
        raise Skip("mounting needs root")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", path], capture_output=True, text=True)
    if done.returncode != 0:
        raise Skip(f"mount: {done.stderr.strip()}")


def unmount(path, lazy=False):
    subprocess.run(["umount", *(["-l"] if lazy else []), path], capture_output=True)
