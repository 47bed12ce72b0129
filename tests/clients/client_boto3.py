"""boto3 of Debian: every operation of the core, through boto_cases.py."""
import os
import re

from counter import true
from process import run as execute

HERE = os.path.dirname(os.path.abspath(__file__))


def run(server, counter):
    cases(server, counter, "boto3", {})


def cases(server, counter, which, extra_env):
    env = dict(server.client_environment(), **extra_env)
    text = execute(["/usr/bin/python3", os.path.join(HERE, "boto_cases.py"), which], env, status=None, timeout=900)
    print(text, end="", flush=True)
    match = re.search(r"^cases: (\d+) passed, (\d+) failed, (\d+) skipped$", text, re.M)
    if match is None:
        counter.case(f"{which}: comes to its end", lambda: true(False, text[-1500:]))
    else:
        counter.add(*(int(n) for n in match.groups()))
