#!/usr/bin/env python3
"""Events: what the program logs stands in docs/OPERATIONS.md, which tells an operator what to do about it."""
import re

import tree

EVENT = re.compile(r'(?<!LOG_DEBUG\()(?:log_event\(|voter_event\(\w+, )(?:[\w>-]+ \? )?"(\w+)"(?:\s*:\s*"(\w+)")?')


def main():
    findings = []
    documented = set(re.findall(r"`(\w+)`", tree.text("docs/OPERATIONS.md")))
    for path in tree.files(".c"):
        if path.startswith("tests/"):
            continue
        body = tree.text(path)
        for match in EVENT.finditer(body):
            for name in filter(None, match.groups()):
                if name not in documented:
                    findings.append((path, body.count("\n", 0, match.start()) + 1, f"the event {name} is not in docs/OPERATIONS.md"))
    tree.finish(findings)


main()
