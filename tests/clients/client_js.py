"""AWS SDK for JavaScript v3: js/sdk.mjs prints one line a case, in this suite's form."""
import os
import re

from npm import install
from process import need, run as execute

HERE = os.path.dirname(os.path.abspath(__file__))


def run(server, counter):
    folder = []

    def prepare():
        need("node")
        folder.append(install(os.path.join(HERE, "js")))

    if not counter.case("js: installed", prepare):
        return
    with open(os.path.join(HERE, "js", "sdk.mjs"), encoding="utf-8") as f, \
            open(os.path.join(folder[0], "sdk.mjs"), "w", encoding="utf-8") as out:
        out.write(f.read())
    text = execute(["node", "sdk.mjs"], server.client_environment(), cwd=folder[0], status=None, timeout=600)
    print(text, end="")
    match = re.search(r"^js: (\d+) passed, (\d+) failed$", text, re.M)
    if match is None:
        raise AssertionError("sdk.mjs did not come to its end: " + text[-1000:])
    counter.add(int(match.group(1)), int(match.group(2)), 0)
