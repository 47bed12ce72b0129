#!/usr/bin/env python3
"""What the build takes from the machine belongs to a package of tools/packages.txt (or to one that it depends on by
Debian's own word: the C library, the compiler). Looks at the headers of the last build and at the binary's libraries."""
import os
import re
import subprocess
import sys

import tree

BASE = re.compile(r"^(libc6|libc6-dev|linux-libc-dev|gcc-\d+.*|libgcc.*|libstdc\+\+.*|cpp-.*|build-essential)(:.*)?$")


def listed():
    names = set()
    for line in tree.text("tools/packages.txt").splitlines():
        word = line.split("#")[0].split()
        if word and not word[0].startswith("["):
            names.add(word[0])
    return names


def headers(build):
    out = subprocess.run(["ninja", "-C", build, "-t", "deps"], capture_output=True, text=True).stdout
    return sorted({os.path.realpath(line.strip()) for line in out.splitlines()
                   if line.startswith("    /usr/") or line.startswith("    /opt/")})


def libraries(binary):
    out = subprocess.run(["readelf", "-d", binary], capture_output=True, text=True).stdout
    needed = set(re.findall(r"\(NEEDED\).*\[(.+)\]", out))
    loaded = subprocess.run(["ldd", binary], capture_output=True, text=True).stdout
    found = dict(re.findall(r"(\S+) => (\S+)", loaded))
    return sorted(os.path.realpath(found[n]) for n in needed if n in found)


def owners(paths):
    """Path -> package, for those that dpkg knows (also by the name before /usr was merged)."""
    result = {}
    for start in range(0, len(paths), 500):
        part = paths[start:start + 500]
        out = subprocess.run(["dpkg", "-S", *part, *(p[4:] for p in part if p.startswith("/usr/lib/"))],
                             capture_output=True, text=True).stdout
        for line in out.splitlines():
            names, _, path = line.rpartition(": ")
            for key in (path, "/usr" + path):
                if key in part:
                    result[key] = names.split(",")[0].strip().split(":")[0]
    return result


def depends(names):
    """Packages that the listed ones depend on directly."""
    out = subprocess.run(["dpkg-query", "-W", "-f", "${Depends}, ${Pre-Depends}\n", *sorted(names)],
                         capture_output=True, text=True).stdout
    return {re.sub(r"[ (:].*", "", word.strip()) for line in out.splitlines() for word in re.split(r"[,|]", line)}


def main():
    build = os.path.join(tree.ROOT, "build", "release")
    binary = os.path.join(build, "cairn")
    if not os.path.isfile(binary):
        print("build/release/cairn is not built: nothing to compare")
        sys.exit(77)
    if subprocess.run(["which", "dpkg"], capture_output=True).returncode != 0:
        print("no dpkg here: nothing to compare with")
        sys.exit(77)
    names = listed()
    fine = names | depends(names)
    paths = headers(build) + libraries(binary)
    found = owners(paths)
    findings = []
    for path in paths:
        package = found.get(path)
        if package is None:
            findings.append((path, 1, "belongs to no Debian package, yet the build uses it"))
        elif package not in fine and not BASE.match(package):
            findings.append((path, 1, f"comes from {package}, which tools/packages.txt does not name"))
    tree.finish(findings)


main()
