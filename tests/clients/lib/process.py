"""Runs client programs; tells apart a program that is missing from one that fails."""
import os
import shutil
import subprocess

from counter import Skip

TAIL = 3000


def need(program):
    path = shutil.which(program)
    if path is None:
        raise Skip(f"{program} is not installed (make test installs it where apt can)")
    return path


def run(arguments, env, cwd=None, timeout=300, status=0, stdin=None):
    """Standard output of a command; any other exit status than `status` (None: any) is an error with what it said."""
    done = subprocess.run([str(a) for a in arguments], env=env, cwd=cwd, capture_output=True, text=True, timeout=timeout,
                          input=stdin, errors="replace")
    if status is not None and done.returncode != status:
        raise AssertionError(f"{' '.join(map(str, arguments))[:200]}: status {done.returncode}\n"
                             f"{(done.stdout + done.stderr)[-TAIL:]}")
    return done.stdout


def fill_tree(root, seed, sizes):
    """A folder tree of files with the given sizes; repeatable bytes."""
    import random
    source = random.Random(seed)
    for number, size in enumerate(sizes):
        folder = os.path.join(root, f"d{number % 3}", "sub dir" if number % 2 else "sub")
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, f"file-{number}.bin"), "wb") as f:
            f.write(source.randbytes(size))


def same_tree(left, right):
    done = subprocess.run(["diff", "-r", left, right], capture_output=True, text=True)
    if done.returncode != 0:
        raise AssertionError("trees differ:\n" + done.stdout[-TAIL:])
