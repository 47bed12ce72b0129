#!/usr/bin/env python3
"""Names: a .c or .h file name stands once in the tree; a header has the guard that its path gives, and a purpose."""
import collections
import os
import re

import tree


def main():
    findings = []
    seen = collections.defaultdict(list)
    for path in tree.files(".c", ".h"):
        seen[os.path.basename(path)].append(path)
        body = tree.text(path)
        if path.endswith(".h") and not re.search(r"#ifndef \w+_H\n#define \w+_H\n", body):
            findings.append((path, 1, "has no include guard"))
        if path.endswith(".h") and not body.startswith("/*"):
            findings.append((path, 1, "does not begin with its purpose"))
        if not re.fullmatch(r"[a-z0-9_]+\.[ch]", os.path.basename(path)):
            findings.append((path, 1, "is not lower_case.c or .h"))
    guards = collections.defaultdict(list)
    for path in tree.files(".h"):
        match = re.search(r"#ifndef (\w+_H)\n", tree.text(path))
        if match:
            guards[match.group(1)].append(path)
    for table, what in ((seen, "file name"), (guards, "include guard")):
        for name, paths in table.items():
            if len(paths) > 1:
                findings.append((paths[1], 1, f"{what} {name} stands in {paths[0]} too"))
    tree.finish(findings)


main()
