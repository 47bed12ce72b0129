"""The docker registry's S3 storage driver: its own test suite, from Debian's source package."""
import os
import re
import subprocess

from counter import Skip, true
from process import need
from server import ROOT

PACKAGE = "github.com/docker/distribution/registry/storage/driver/s3-aws"
CACHE = os.path.join(ROOT, "build", "clients")


def build():
    need("go")
    if not os.path.isdir("/usr/share/gocode/src/" + PACKAGE):
        raise Skip("golang-github-docker-distribution-dev is not installed")
    os.makedirs(CACHE, exist_ok=True)
    target = os.path.join(CACHE, "docker-registry-s3.test")
    if not os.path.exists(target):
        env = dict(os.environ, GO111MODULE="off", GOPATH="/usr/share/gocode", GOCACHE=os.path.join(CACHE, "go-cache"),
                   CGO_ENABLED="0")
        done = subprocess.run(["go", "test", "-c", "-tags", "include_s3", "-o", target, PACKAGE], env=env,
                              capture_output=True, text=True, timeout=900)
        if done.returncode != 0 or not os.path.exists(target):
            raise Skip(f"it does not build here: {(done.stderr or done.stdout).strip()[-300:]}")
    return target


def run(server, counter):
    if not counter.case("docker-registry: built", build):
        return
    server.s3().make_bucket("registry")
    env = dict(server.client_environment(), AWS_ACCESS_KEY=server.access, AWS_SECRET_KEY=server.secret, S3_BUCKET="registry",
               REGION_ENDPOINT=server.url, AWS_REGION="us-east-1", S3_ENCRYPT="false", S3_SECURE="false", S3_V4_AUTH="true",
               S3_USE_DUALSTACK="false", S3_ACCELERATE="false", S3_OBJECT_ACL="private", S3_FORCE_PATH_STYLE="true")

    def suite():
        done = subprocess.run([build(), "-test.short", "-test.v", "-check.v"], env=env, capture_output=True, text=True,
                              timeout=1200, errors="replace", cwd=server.base)
        text = done.stdout + done.stderr
        lines = re.findall(r"^(PASS|FAIL|SKIP|PANIC): \S+ (\S+)", text, re.M)
        for verdict, name in lines:
            def judge(verdict=verdict, name=name):
                if verdict == "SKIP":
                    raise Skip("the suite's own word")
                detail = text[max(0, text.find(name)):][:600]
                true(verdict == "PASS", f"{verdict}: {detail}")
            counter.case(f"docker-registry: {name}", judge)
        true(lines, f"no test ran: {text[-1500:]}")

    counter.case("docker-registry: suite", suite)
