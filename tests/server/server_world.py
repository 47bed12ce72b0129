"""A folder of its own with directories d1, d2, ...; servers on ports that the kernel chooses; admin verbs."""
import hashlib
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [os.path.join(ROOT, "tests", "clients", "lib")]

from counter import Counter, Skip, equal, true  # noqa: E402,F401
from s3http import S3  # noqa: E402

NOBODY = 65534
START_SECONDS = 60


def binary():
    return os.environ.get("CAIRN_BINARY", os.path.join(ROOT, "build", "release", "cairn"))


def has(text, words, what="text"):
    for word in [words] if isinstance(words, str) else words:
        if word not in text:
            raise AssertionError(f"{what}: no {word!r} in {text!r}")


def listing(path):
    """Everything below path: name, kind, mode, size, digest of a file. What was written anywhere shows."""
    found = {}
    for folder, folders, files in os.walk(path):
        for name in folders:
            full = os.path.join(folder, name)
            found[os.path.relpath(full, path)] = ("folder", os.lstat(full).st_mode)
        for name in files:
            full = os.path.join(folder, name)
            with open(full, "rb") as f:
                digest = hashlib.sha256(f.read()).hexdigest()
            found[os.path.relpath(full, path)] = ("file", os.lstat(full).st_mode, os.lstat(full).st_size, digest)
    return found


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def superblock_edit(path, offset, value):
    """Changes bytes of DIR/disk, with a CRC that is right."""
    name = os.path.join(path, "disk")
    with open(name, "rb") as f:
        raw = bytearray(f.read())
    true(raw[:8] == b"CAIRNDSK" and crc32c(raw[:12] + bytes(4) + raw[16:]) == struct.unpack_from("<I", raw, 12)[0],
         "the superblock is not as documented")
    raw[offset:offset + len(value)] = value
    struct.pack_into("<I", raw, 12, 0)
    struct.pack_into("<I", raw, 12, crc32c(raw))
    with open(name, "wb") as f:
        f.write(raw)


class Up:
    """A server that runs."""

    def __init__(self, world, process, out, err):
        self.world, self.process, self.out_path, self.err_path = world, process, out, err
        self.access = self.secret = None

    @property
    def out(self):
        with open(self.out_path) as f:
            return f.read()

    @property
    def log(self):
        with open(self.err_path, errors="replace") as f:
            return f.read()

    def wait(self):
        deadline = time.monotonic() + START_SECONDS
        while "  access key" not in self.out:
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended with {self.process.returncode}: {self.log[-2000:]}")
            if time.monotonic() > deadline:
                raise AssertionError(f"not ready: {self.log[-2000:]}")
            time.sleep(0.02)
        self.port = int(re.search(r"serves S3 on https?://\S*:(\d+)", self.out).group(1))
        self.admin_port = int(re.search(r"admin, health, metrics\s+https?://\S*:(\d+)", self.out).group(1))
        self.access = re.search(r"access key\s+(\S+)", self.out).group(1)
        secret = re.search(r"secret key\s+(\S+)", self.out)
        if secret:
            self.world.keys = (self.access, secret.group(1))
        self.secret = self.world.keys[1]
        return self

    def s3(self, access=None, secret=None):
        return S3("127.0.0.1", self.port, access or self.access, secret or self.secret)

    def http(self, path, method="GET"):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        request = urllib.request.Request(f"http://127.0.0.1:{self.admin_port}{path}", method=method)
        try:
            with opener.open(request, timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def cli(self, *args, env=None, json_wanted=True):
        """(status, what was printed: parsed or text, standard error)"""
        run = self.world.cairn(*args, "--admin", f"127.0.0.1:{self.admin_port}", *(["--json"] if json_wanted else []),
                               env={"CAIRN_ACCESS_KEY": self.access, "CAIRN_SECRET_KEY": self.secret, **(env or {})})
        out = json.loads(run.stdout) if json_wanted and run.returncode == 0 else run.stdout
        return run.returncode, out, run.stderr

    def status(self):
        code, out, err = self.cli("status")
        equal(code, 0, f"cairn status: {err}")
        return out

    def wait_status(self, what, wanted, seconds=120):
        """Until wanted(status); returns it."""
        deadline = time.monotonic() + seconds
        while True:
            status = self.status()
            if wanted(status):
                return status
            if time.monotonic() > deadline:
                raise AssertionError(f"never {what}: {json.dumps(status)[:3000]}\n{self.log[-1500:]}")
            time.sleep(0.2)

    def kill_group(self):
        """kill -9, also of what was wrapped around it or into it."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()

    def stop(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"no end within 60 s of the signal: {self.log[-2000:]}") from None


class World:
    def __init__(self):
        self.base = tempfile.mkdtemp(prefix="cairn-server-test-")
        os.chmod(self.base, 0o755)
        self.running, self.count, self.keys = [], 0, (None, None)

    def dir(self, name, make=True, mode=0o755):
        path = os.path.join(self.base, "data", name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if make:
            os.makedirs(path, exist_ok=True)
            os.chmod(path, mode)
        return path

    def dirs(self, count, first=1, make=True):
        return [self.dir(f"d{i}", make) for i in range(first, first + count)]

    def environment(self, env=None):
        plain = {k: v for k, v in os.environ.items() if not k.startswith(("CAIRN_", "AWS_"))}
        home = os.path.join(self.base, "home")
        os.makedirs(home, exist_ok=True)
        supp = "suppressions=" + os.path.join(HERE, "lsan.supp") + ":print_suppressions=0"  # of a build with ASan
        return {**plain, "HOME": home, "LSAN_OPTIONS": supp, **(env or {})}

    def cairn(self, *args, env=None, wrap=()):
        return subprocess.run([*wrap, binary(), *args], env=self.environment(env), capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=300, cwd=self.base)

    def spawn(self, dirs, *args, env=None, wrap=(), s3="127.0.0.1:0", admin="127.0.0.1:0"):
        return self.spawn_any(["server", "--s3-listen", s3, "--admin-listen", admin, *args, *dirs], wrap, env)

    def spawn_any(self, args, wrap=(), env=None):
        """Any command that goes on running."""
        self.count += 1
        out, err = (os.path.join(self.base, f"server-{self.count}.{x}") for x in ("out", "err"))
        with open(out, "wb") as o, open(err, "wb") as e:
            process = subprocess.Popen([*wrap, binary(), *args], env=self.environment(env), stdin=subprocess.DEVNULL, stdout=o,
                                       stderr=e, start_new_session=True, cwd=self.base)
        up = Up(self, process, out, err)
        self.running.append(up)
        return up

    def up(self, dirs, *args, **more):
        return self.spawn(dirs, *args, **more).wait()

    def refused(self, dirs, words, *args, code=1, **more):
        """The start must fail, name what is wrong, and write nothing."""
        data = os.path.join(self.base, "data")
        before = listing(data)
        up = self.spawn(dirs, *args, **more)
        try:
            status = up.process.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it started: {up.out}") from None
        equal(status, code, f"exit status; it said {up.log[-500:]!r}")
        message = [line for line in up.log.splitlines() if line.startswith("cairn server:")]
        equal(len(message), 1, f"lines for a person in {up.log!r}")
        has(message[0], words, "message")
        equal(up.out, "", "standard output")
        after = listing(data)
        equal({k: v for k, v in after.items() if before.get(k) != v}, {}, "written")
        equal({k: v for k, v in before.items() if k not in after}, {}, "removed")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for up in self.running:
            if up.process.poll() is None:
                up.process.kill()
                up.process.wait()
        for folder, _, _ in os.walk(self.base):
            os.chmod(folder, 0o755)
        if os.environ.get("CAIRN_TEST_KEEP"):
            print(f"kept {self.base}", file=sys.stderr)
        else:
            shutil.rmtree(self.base, ignore_errors=True)


def as_nobody(world):
    """A command prefix that gives up root, so that permissions count; the world's folders become nobody's."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        raise Skip("root, and no setpriv to give it up")
    for folder, _, files in os.walk(world.base):
        os.chown(folder, NOBODY, NOBODY)
        for name in files:
            os.chown(os.path.join(folder, name), NOBODY, NOBODY)
    probe = subprocess.run(["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups", binary(), "version"],
                           capture_output=True)
    if probe.returncode != 0:
        raise Skip("another user may not run the binary where it lies")
    return ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"]


def run_cases(suite, cases):
    """Each case gets a world of its own. Names on the command line choose."""
    counter = Counter(suite)
    wanted = sys.argv[1:]
    unknown = [name for name in wanted if name not in cases]
    if unknown:
        sys.exit(f"{suite} has no case {', '.join(unknown)}; it has {', '.join(cases)}")
    for name, case in cases.items():
        if wanted and name not in wanted:
            continue

        def one(case=case):
            with World() as world:
                case(world)
        counter.case(name.replace("_", " "), one)
    counter.finish()
