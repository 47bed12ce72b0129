"""minio-go's own functional program, from Debian's source package of the library."""
import json
import os
import subprocess
import tempfile

from counter import Skip, true
from process import need
from server import ROOT

SOURCE = "/usr/share/gocode/src/github.com/minio/minio-go/v7/functional_tests.go"
CACHE = os.path.join(ROOT, "build", "clients")
# What this program asks for beyond the operations that are offered (each is a 501 and says so): its cases fail for that
# reason and are counted as skipped. A failure with any other error is a failure.
NOT_OFFERED = ("NotImplemented", "not implemented", "Not Implemented", "provided implies functionality",
               "Please use AWS4-HMAC-SHA256")  # the last: cases of the old signature version 2
SERVER_ARGS = ["--any-region"]
# Cases that hold for other regions or servers, with the reason.
DIFFERENT = {"Bucket already exists": "a second CreateBucket by the owner is a 200 here, as in us-east-1"}


def build():
    need("go")
    if not os.path.exists(SOURCE):
        raise Skip("golang-github-minio-minio-go-v7-dev is not installed")
    os.makedirs(CACHE, exist_ok=True)
    target = os.path.join(CACHE, "minio-go-functional")
    if not os.path.exists(target):
        env = dict(os.environ, GO111MODULE="off", GOPATH="/usr/share/gocode",
                   GOCACHE=os.path.join(CACHE, "go-cache"), CGO_ENABLED="0")
        done = subprocess.run(["go", "build", "-o", target, SOURCE], env=env, capture_output=True, text=True, timeout=900)
        if done.returncode != 0:
            raise Skip(f"it does not build here: {done.stderr.strip()[-300:]}")
    return target


def run(server, counter):
    if not counter.case("minio-go: built", build):
        return
    env = dict(server.client_environment(), SERVER_ENDPOINT=f"127.0.0.1:{server.port}", ACCESS_KEY=server.access,
               SECRET_KEY=server.secret, ENABLE_HTTPS="0", MINT_MODE="full", MINT_DATA_DIR="", RUN_ON_FAIL="1",
               ENABLE_VIRTUAL_STYLE="0", SKIP_SSE="1")
    with tempfile.TemporaryDirectory() as folder:  # it leaves downloads where it runs
        done = subprocess.run([build()], env=env, capture_output=True, text=True, timeout=1500, errors="replace",
                              cwd=folder)
    seen = 0
    for line in (done.stdout + "\n" + done.stderr).splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if not isinstance(entry, dict) or "status" not in entry:
            continue
        seen += 1
        name = f"minio-go: {entry.get('function', '?')}"

        def judge(entry=entry):
            if entry["status"] == "PASS":
                return
            story = " ".join(str(entry.get(k, "")) for k in ("message", "error", "alert")).strip()
            if entry["status"] == "NA" or any(word in story for word in NOT_OFFERED):
                raise Skip(story[:200])
            if str(entry.get("message", "")) in DIFFERENT:
                raise Skip(DIFFERENT[entry["message"]])
            raise AssertionError(story[:400])
        counter.case(name, judge)
    counter.case("minio-go: comes to its end", lambda: true(seen > 10, (done.stdout + done.stderr)[-1500:]))
