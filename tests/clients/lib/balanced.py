"""A cluster of real processes, two gateways, and haproxy before them with the configuration of deploy/haproxy: what a client
test sees as one server. The interface is that of server.Server."""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from counter import Skip
from s3http import S3, Broken
from server import ROOT, ServerFailed, binary, client_environment, free_ports, read_metric

CONFIG = os.path.join(ROOT, "deploy", "haproxy", "haproxy.cfg")
NODES = 6
TOOL_SECONDS = 180
PRIVILEGES = ("user ", "group ", "chroot ")


def haproxy():
    path = shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if path is None:
        raise Skip("haproxy is not installed (make test installs it where apt can)")
    return path


def rewritten(text, listen, gateways):
    """The configuration with other addresses, and as it is but for these; without root there is nobody to become."""
    lines, servers = [], 0
    for line in text.splitlines():
        words = line.strip()
        if words.startswith("bind "):
            line = f"    bind {listen}"
        elif words.startswith("server "):
            s3, admin = gateways[servers]
            servers += 1
            line = f"    server gateway{servers} {s3} port {admin.rpartition(':')[2]}"
        elif words.startswith(PRIVILEGES) and os.geteuid() != 0:
            continue
        lines.append(line)
    if servers != len(gateways):
        raise ServerFailed(f"{CONFIG} names {servers} gateways, not {len(gateways)}")
    return "\n".join(lines) + "\n"


class Balanced:
    balanced = True

    def __init__(self, args=(), voters=1):
        self.balancer_program = haproxy()
        self.voters = voters
        self.base = tempfile.mkdtemp(prefix="cairn-balanced-")
        self.folder = os.path.join(self.base, "cluster")
        self.args, self.balancer, self.access, self.secret = list(args), None, None, None
        self.port = free_ports(1)[0]
        self.disks = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def s3(self, timeout=60):
        return S3("127.0.0.1", self.port, self.access, self.secret, timeout=timeout)

    def gateway_s3(self, number, timeout=60):
        """One gateway, past the balancer."""
        host, port = self.of_role("gateway")[number]["listen"].split(":")
        return S3(host, int(port), self.access, self.secret, timeout=timeout)

    def client_environment(self):
        return client_environment(self.base, self.url, self.access, self.secret)

    def tool(self, *words):
        done = subprocess.run([os.path.join(ROOT, "deploy", "local-cluster"), *words, "--dir", self.folder],
                              env=dict(os.environ, CAIRN_BINARY=binary()), capture_output=True, text=True,
                              timeout=TOOL_SECONDS, check=False)
        if done.returncode != 0:
            raise ServerFailed(f"local-cluster {words}: {done.stderr.strip()}")
        return done.stdout

    def processes(self):
        with open(os.path.join(self.folder, "cluster.json"), encoding="utf-8") as file:
            return json.load(file)["processes"]

    def of_role(self, role):
        return [process for process in self.processes() if process["role"] == role]

    def start(self):
        shown = json.loads(self.tool("up", "--json", "--voters", str(self.voters), "--nodes", str(NODES), "--disks", "1",
                                     "--gateways", "2", *self.args))
        self.access, self.secret, self.admin = shown["access_key"], shown["secret_key"], shown["admin"]
        self.disks = [folder for process in shown["processes"] for folder in process["dirs"]]
        if self.balancer is None:
            self.start_balancer()
        return self

    def start_balancer(self):
        path = os.path.join(self.base, "haproxy.cfg")
        with open(CONFIG, encoding="utf-8") as source, open(path, "w", encoding="utf-8") as target:
            pairs = [(process["listen"], process["admin"]) for process in self.of_role("gateway")]
            target.write(rewritten(source.read(), f"127.0.0.1:{self.port}", pairs))
        self.balancer_log = os.path.join(self.base, "haproxy.log")
        with open(self.balancer_log, "wb") as log:
            self.balancer = subprocess.Popen([self.balancer_program, "-db", "-f", path], stdin=subprocess.DEVNULL, stdout=log,
                                             stderr=log, start_new_session=True)
        deadline = time.monotonic() + 20
        while True:
            try:
                if self.s3(timeout=5).request("GET", "/").status == 200:
                    return
            except (OSError, Broken):
                pass
            if self.balancer.poll() is not None or time.monotonic() > deadline:
                with open(self.balancer_log, encoding="utf-8", errors="replace") as file:
                    raise ServerFailed(f"haproxy does not serve: {file.read()[-2000:]}")
            time.sleep(0.1)

    def alive(self):
        return self.balancer.poll() is None and not self.missing()

    def missing(self):
        """Processes of the cluster that have ended."""
        shown = json.loads(self.tool("status", "--json"))
        return [process["name"] for process in shown["processes"] if process["pid"] == 0]

    def log_tail(self, lines=12):
        texts = []
        for process in self.processes():
            if process["name"] in self.missing():
                with open(process["log"], encoding="utf-8", errors="replace") as file:
                    texts.append(f"{process['name']}:\n" + "".join(file.readlines()[-lines:]))
        return "\n".join(texts) or "(all processes run)"

    def stop(self):
        """Every process of the cluster by SIGTERM, gateways first; 0, or it fails. The balancer stays."""
        self.tool("down")
        return 0

    def restart(self):
        status = self.stop()
        self.start()
        deadline = time.monotonic() + 20  # until the balancer has noticed
        while True:
            try:
                if self.s3(timeout=5).request("GET", "/").status == 200:
                    return status
            except (OSError, Broken):
                pass
            if time.monotonic() > deadline:
                raise ServerFailed("no answer through haproxy 20 s after the restart")
            time.sleep(0.1)

    def memory_bytes(self):
        total = 0
        for process in self.of_role("gateway"):
            with open(f"/proc/{process['pid']}/status", encoding="ascii", errors="replace") as f:
                total += int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1)) * 1024
        return total

    def metric(self, name):
        return sum(read_metric(process["admin"], name) for process in self.of_role("gateway"))

    def cli(self, *args):
        env = dict(os.environ, CAIRN_ACCESS_KEY=self.access, CAIRN_SECRET_KEY=self.secret)
        done = subprocess.run([binary(), *args, "--admin", self.admin, "--json"], env=env, capture_output=True, text=True,
                              check=False)
        if done.returncode != 0:
            raise ServerFailed(f"cairn {' '.join(args)}: status {done.returncode}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def remove(self):
        if self.balancer is not None and self.balancer.poll() is None:
            os.killpg(self.balancer.pid, signal.SIGKILL)
            self.balancer.wait()
        try:
            if os.path.exists(os.path.join(self.folder, "cluster.json")):
                self.tool("down")
        finally:
            if os.environ.get("CAIRN_TEST_KEEP"):
                print(f"kept {self.base}", file=sys.stderr)
            else:
                shutil.rmtree(self.base, ignore_errors=True)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.remove()
            raise

    def __exit__(self, *_):
        self.remove()
