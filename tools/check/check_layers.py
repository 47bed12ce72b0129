#!/usr/bin/env python3
"""Holds every #include to layers.txt: folders by layer, third-party headers by adapter."""
import re

import tree

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(["<])([^">]+)[">]', re.M)


def rules():
    folders, third = {}, {}
    for line in tree.text("tools/check/layers.txt").splitlines():
        line = line.split("#")[0].strip()
        if not line:
            continue
        left, right = line.split(":", 1)
        if left.startswith("third "):
            third[left[6:].strip()] = right.split()
        else:
            folders[left] = right.split()
    return folders, third


def owner(path, folders):
    """The longest rule that a file falls under."""
    best = ""
    for name in folders:
        if (path == name or path.startswith(name + "/")) and len(name) > len(best):
            best = name
    return best


def allowed(target, home, may, folders):
    target_home = owner(target, folders)
    if target_home == home or "all" in may:
        return True
    return target_home in may or target in may


def main():
    folders, third = rules()
    findings = []
    known = set(tree.files(".h"))
    for path in tree.files(".c", ".h"):
        home = owner(path, folders)
        if not home:
            findings.append((path, 1, "no rule of layers.txt holds for this folder"))
            continue
        body = tree.text(path)
        for match in INCLUDE.finditer(body):
            line = body.count("\n", 0, match.start()) + 1
            kind, target = match.groups()
            if kind == '"':
                if target not in known:
                    findings.append((path, line, f'"{target}" is no header of this tree (paths begin at its root)'))
                elif not allowed(target, home, folders[home], folders):
                    findings.append((path, line, f"{home} may not include {target}"))
            elif not path.startswith("tests/"):
                fits = [p for p in third if target == p or (p.endswith("/") and target.startswith(p))]
                users = [u for p in fits for u in third[p]]
                if fits and not any(path == u or (u.endswith("/") and path.startswith(u)) for u in users):
                    findings.append((path, line, f"<{target}> belongs to {', '.join(sorted(set(users)))}"))
    tree.finish(findings)


main()
