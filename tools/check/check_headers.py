#!/usr/bin/env python3
"""Every header compiles alone. Several at a time, syntax only."""
import concurrent.futures
import os
import subprocess

import tree

PACKAGES = ["libuv", "libh2o", "jansson", "libcurl", "libxml-2.0", "raft", "libisal", "rocksdb", "openssl"]


def compile_alone(path, flags):
    source = f'#include "{path}"\n#include "{path}"\n'
    run = subprocess.run(["cc", "-std=c11", "-D_GNU_SOURCE", '-DCAIRN_VERSION="0"', "-fsyntax-only", "-Wall", "-Wextra",
                          "-Wstrict-prototypes", "-Werror", "-x", "c", "-I", tree.ROOT, *flags, "-"],
                         input=source, text=True, capture_output=True)
    return path, run.returncode, run.stderr


def main():
    flags = subprocess.run(["pkg-config", "--cflags", *PACKAGES], check=True, capture_output=True,
                           text=True).stdout.split()
    flags = [f.replace("-I", "-isystem", 1) if f.startswith("-I") else f for f in flags]
    findings = []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for path, status, errors in pool.map(lambda p: compile_alone(p, flags), tree.files(".h")):
            if status != 0:
                findings.append((path, 1, "does not compile alone:\n" + errors))
    tree.finish(findings)


main()
