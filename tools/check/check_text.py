#!/usr/bin/env python3
"""Words that have no place in the tree: package registries, paths of one machine, unfinished business; and the
encoding and line ends of every text."""
import re

import tree

RULES = [
    (re.compile(r"registry\.npmjs\.org|registry\.yarnpkg\.com|pypi\.org|pythonhosted\.org|proxy\.golang\.org|crates\.io/api|"
                r"(?:deb|security|snapshot|ftp)\.debian\.org|archive\.ubuntu\.com"), "names a registry or mirror"),
    (re.compile(r"(?<![\w.])/(?:work|root|home/[a-z]+)/"), "names a path of one machine"),
    (re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b"), "unfinished: make an issue or finish it"),
]
TABLE_ROW = re.compile(r"\s*(?:\w+\(|\{|\"|\()")  # rows of tables may be as wide as they are
EXEMPT = {"tools/check/check_text.py", "LICENSE"}
# Bodies of objects and fuzz inputs may hold anything.
BINARY = ("tests/fuzz/corpus/", "tests/golden/")


def main():
    findings = []
    for path in tree.files():
        if path in EXEMPT or path.startswith(BINARY):
            continue
        with open(f"{tree.ROOT}/{path}", "rb") as f:
            raw = f.read()
        try:
            body = raw.decode("utf-8")
        except UnicodeDecodeError:
            findings.append((path, 1, "is not UTF-8"))
            continue
        if raw and not raw.endswith(b"\n"):
            findings.append((path, body.count("\n") + 1, "does not end with a line feed"))
        if "\r\n" in body:
            findings.append((path, 1, "has CRLF line ends"))
        for number, line in enumerate(body.split("\n"), 1):
            for pattern, sentence in RULES:
                if pattern.search(line):
                    findings.append((path, number, sentence))
            if path.endswith((".c", ".h", ".py", ".sh")) and line != line.rstrip():
                findings.append((path, number, "blanks at the end"))
            if path.endswith((".c", ".h", ".py", ".sh")) and len(line) > 140 and not TABLE_ROW.match(line):
                findings.append((path, number, "longer than 140 columns"))
    tree.finish(findings)


main()
