"""Packages from the npm client's own registry, kept in build/clients; Skip where they cannot be had."""
import os
import shutil
import subprocess

from counter import Skip
from process import need
from server import ROOT

CACHE = os.path.join(ROOT, "build", "clients")


def _npm(arguments, cwd):
    need("npm")
    done = subprocess.run(["npm", *arguments], cwd=cwd, capture_output=True, text=True, timeout=600,
                          env=dict(os.environ, npm_config_update_notifier="false"))
    if done.returncode != 0:
        raise Skip(f"npm {' '.join(arguments)} failed: {done.stderr.strip()[-300:]}")
    return done.stdout


def install(folder):
    """node_modules of a folder with package.json and package-lock.json; returns the installed folder."""
    name = os.path.basename(folder)
    target = os.path.join(CACHE, name)
    lock = os.path.join(folder, "package-lock.json")
    done = os.path.join(target, "done")
    with open(lock, encoding="utf-8") as f:
        wanted = f.read()
    if not (os.path.exists(done) and open(done, encoding="utf-8").read() == wanted):
        shutil.rmtree(target, ignore_errors=True)
        os.makedirs(target)
        shutil.copy(os.path.join(folder, "package.json"), target)
        shutil.copy(lock, target)
        _npm(["ci", "--no-audit", "--no-fund", "--ignore-scripts"], target)
        with open(done, "w", encoding="utf-8") as f:
            f.write(wanted)
    return target


def unpack(package, version, member, into):
    """One zip file out of a package, unpacked; returns the folder."""
    target = os.path.join(CACHE, into)
    if not os.path.exists(os.path.join(target, "done")):
        shutil.rmtree(target, ignore_errors=True)
        os.makedirs(target)
        tarball = _npm(["pack", "--silent", f"{package}@{version}"], target).strip().split("\n")[-1]
        need("unzip")
        subprocess.run(["tar", "-xf", tarball, f"package/{member}"], cwd=target, check=True)
        subprocess.run(["unzip", "-q", f"package/{member}", "-d", "."], cwd=target, check=True)
        os.remove(os.path.join(target, tarball))
        shutil.rmtree(os.path.join(target, "package"))
        open(os.path.join(target, "done"), "w", encoding="utf-8").close()
    return target
