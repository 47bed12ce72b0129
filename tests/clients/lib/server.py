"""Starts, stops and kills a `cairn server` of its own: free ports, fresh directories, random keys."""
import json
import os
import random
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

from s3http import S3

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
START_SECONDS = 60
STOP_SECONDS = 60


def binary():
    return os.environ.get("CAIRN_BINARY", os.path.join(ROOT, "build", "release", "cairn"))


PORTS_GIVEN = set()


def free_ports(count):
    """Ports that nobody listens on and that this process has not given out before (what will listen there may not have begun);
    apart from those of deploy/local-cluster, and below those that outgoing connections get, which could take one in between."""
    ports = []
    while len(ports) < count:
        port = random.SystemRandom().randrange(24576, 32768)
        with socket.socket() as sock:
            try:
                if port not in PORTS_GIVEN:
                    sock.bind(("127.0.0.1", port))
                    PORTS_GIVEN.add(port)
                    ports.append(port)
            except OSError:
                pass
    return ports


def read_metric(admin, name):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://{admin}/metrics", timeout=10) as f:
        return int(re.search(rf"^{name} (\d+)", f.read().decode(), re.M).group(1))


def client_environment(base, url, access, secret):
    """For child processes that are S3 clients: keys, region, an empty home."""
    home = os.path.join(base, "home")
    os.makedirs(home, exist_ok=True)
    env = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "CAIRN_", "RCLONE_", "RESTIC_"))
           and k.lower() not in ("http_proxy", "https_proxy", "all_proxy")}
    env.update(HOME=home, AWS_ACCESS_KEY_ID=access, AWS_SECRET_ACCESS_KEY=secret,
               AWS_DEFAULT_REGION="us-east-1", AWS_REGION="us-east-1", AWS_EC2_METADATA_DISABLED="true",
               AWS_PAGER="", CAIRN_ACCESS_KEY=access, CAIRN_SECRET_KEY=secret,
               CAIRN_ENDPOINT=url, NO_PROXY="127.0.0.1,localhost", no_proxy="127.0.0.1,localhost",
               PYTHONDONTWRITEBYTECODE="1")
    return env


class ServerFailed(Exception):
    pass


class Server:
    """disks: how many directories, or a list of paths. wrap: a command that runs the server (strace ...)."""
    balanced = False

    def __init__(self, disks=6, args=(), wrap=(), env=None):
        if not os.access(binary(), os.X_OK):
            raise ServerFailed(f"{binary()} is not built: make build")
        self.base = tempfile.mkdtemp(prefix="cairn-test-")
        self.disks = [os.path.join(self.base, f"disk{i}") for i in range(1, disks + 1)] if isinstance(disks, int) else \
            list(disks)
        for disk in self.disks:
            os.makedirs(disk, exist_ok=True)
        self.port, self.admin_port = free_ports(2)
        self.access, self.secret = "TEST" + secrets.token_hex(8).upper(), secrets.token_urlsafe(30)
        self.args, self.wrap, self.extra_env = list(args), list(wrap), dict(env or {})
        self.log_path = os.path.join(self.base, "server.log")
        self.process = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def s3(self, timeout=60):
        return S3("127.0.0.1", self.port, self.access, self.secret, timeout=timeout)

    def environment(self):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "CAIRN_")) or k == "CAIRN_PLANT"}
        env.update(CAIRN_ROOT_ACCESS_KEY=self.access, CAIRN_ROOT_SECRET_KEY=self.secret, **self.extra_env)
        return env

    def client_environment(self):
        return client_environment(self.base, self.url, self.access, self.secret)

    def command(self):
        return self.wrap + [binary(), "server", "--s3-listen", f"127.0.0.1:{self.port}", "--admin-listen",
                            f"127.0.0.1:{self.admin_port}", *self.args, *self.disks]

    def spawn(self):
        log = open(self.log_path, "ab")
        self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                        env=self.environment(), start_new_session=True)
        log.close()

    def start(self, seconds=START_SECONDS):
        self.spawn()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise ServerFailed(f"the server ended with status {self.process.returncode}:\n{self.log_tail()}")
            if self.is_ready():
                return self
            time.sleep(0.05)
        raise ServerFailed(f"the server was not ready after {seconds} s:\n{self.log_tail()}")

    def is_ready(self):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            return opener.open(f"http://127.0.0.1:{self.admin_port}/readyz", timeout=5).status == 200
        except (OSError, urllib.error.URLError):
            return False

    def kill(self):
        """kill -9 of the whole group: nothing is flushed, nothing is said."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def stop(self):
        """SIGTERM; returns the exit status (0 is what a server must give)."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            if self.wrap:  # the wrapper's only child is the server
                out = subprocess.run(["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True).stdout
                for pid in out.split():
                    os.kill(int(pid), signal.SIGTERM)
            else:
                self.process.terminate()
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ServerFailed(f"the server did not end within {STOP_SECONDS} s of SIGTERM:\n{self.log_tail()}") from None

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def log_tail(self, lines=12):
        try:
            with open(self.log_path, errors="replace") as f:
                return "".join(f.readlines()[-lines:])
        except OSError:
            return "(no log)"

    def cli(self, *args, check=True):
        """An admin verb of the same binary, with --json; returns what it printed, parsed."""
        env = dict(self.environment(), CAIRN_ACCESS_KEY=self.access, CAIRN_SECRET_KEY=self.secret)
        run = subprocess.run([binary(), *args, "--admin", f"127.0.0.1:{self.admin_port}", "--json"], env=env,
                             capture_output=True, text=True)
        if run.returncode != 0:
            if check:
                raise ServerFailed(f"cairn {' '.join(args)}: status {run.returncode}: {run.stderr.strip()}")
            return None
        return json.loads(run.stdout)

    def restart(self):
        """An orderly end and a second start, directories in another order; returns the exit status of the end."""
        status = self.stop()
        self.disks.reverse()
        self.start()
        return status

    def memory_bytes(self):
        """Resident memory of what serves requests."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii", errors="replace") as f:
            return next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmRSS"))

    def metric(self, name):
        """A metric without labels, summed over the processes that serve requests."""
        return read_metric(f"127.0.0.1:{self.admin_port}", name)

    def wait_repaired(self, seconds=300):
        """Until degraded_stripes is 0; returns the status, or fails with the last one."""
        deadline = time.monotonic() + seconds
        status = self.cli("status")
        while status["degraded_stripes"] != 0 or status.get("metadata_replicas_behind", 0) != 0:
            if time.monotonic() > deadline:
                raise ServerFailed(f"still degraded after {seconds} s: {json.dumps(status)[:2000]}")
            time.sleep(0.3)
            status = self.cli("status")
        return status

    def remove(self):
        self.kill()
        for disk in self.disks:
            if os.path.isdir(disk):
                os.chmod(disk, 0o700)
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
