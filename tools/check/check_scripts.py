#!/usr/bin/env python3
"""Shell and Python files parse; what is meant to be run has its executable bit."""
import ast
import os
import subprocess

import tree


def main():
    findings = []
    for path in tree.files(".sh", ".py") + [".ci/run"]:
        full = os.path.join(tree.ROOT, path)
        body = tree.text(path)
        if path.endswith(".py"):
            try:
                ast.parse(body)
            except SyntaxError as error:
                findings.append((path, error.lineno or 1, f"does not parse: {error.msg}"))
        else:
            shell = "bash" if body.startswith("#!/bin/bash") else "sh"
            run = subprocess.run([shell, "-n", full], capture_output=True, text=True)
            if run.returncode != 0:
                findings.append((path, 1, run.stderr.strip()))
        if body.startswith("#!") and not os.access(full, os.X_OK):
            findings.append((path, 1, "begins with #! but is not executable"))
    tree.finish(findings)


main()
