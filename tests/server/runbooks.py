#!/usr/bin/env python3
"""The runbooks of docs/OPERATIONS.md, run as they stand there, on one cluster, in the order of the page.

    tests/server/runbooks.py [CASE...]

Every block of the section is typed by `bash -euo pipefail` as its first line says: "# on v1", or "# on v2, v3 alike" (on each of these,
with its own name, address and zone). A machine is a folder here: its /etc/cairn, /var/lib/cairn, /srv/cairn, /var/tmp and home lie in it,
its addresses are ports of the loopback. Those are put in place of the page's, as are the keys that `cluster init` prints and those of
the backup's bucket; "runuser -u cairn --", owners and chown are left out, there being one user. Stand-ins, for want of several machines
and of systemd as process 1: systemctl (starts the unit's role, and waits for its READY=1 as systemd does), ssh, scp, and apt-get, which
restarts what runs as the package's postinst does: a program of the previous version to upgrade from is not there yet.

CAIRN_BINARY names another binary, CAIRN_TEST_KEEP=1 keeps the files.
"""
import json
import os
import re
import shutil
import subprocess
import sys
import time

from cluster import pattern
from server import free_ports
from server_world import ROOT, S3, World, binary, equal, has, run_cases, true

PAGE = os.path.join(ROOT, "docs", "OPERATIONS.md")
PLACES = {"/etc/cairn": "etc", "/var/lib/cairn": "var", "/srv/cairn": "srv", "/var/tmp": "tmp", "~": "root"}
NODES = [f"s{i}" for i in range(1, 8)]
ADDRESSES = {**{f"v{i}": f"10.0.0.1{i}" for i in range(1, 5)}, **{f"s{i}": f"10.0.0.2{i}" for i in range(1, 8)},
             "g1": "10.0.0.31", "g2": "10.0.0.32"}
ZONES = dict(zip(NODES, "aabbcca"))
SIZES = (100, 50000, 3 << 20)
BLOCK_S = 300

SYSTEMCTL = """#!/usr/bin/env python3
# A stand-in: systemctl [enable --now|start|stop|restart|try-restart] cairn-ROLE
import os, signal, socket, subprocess, sys, time
words = [word for word in sys.argv[1:] if not word.startswith("-")]
verb, unit = words[0], words[1]
role, base = unit.removeprefix("cairn-"), os.environ["MACHINE_DIR"]
pid_file = os.path.join(base, "run", role)

def running():
    try:
        with open(pid_file) as file:
            pid = int(file.read())
        with open(f"/proc/{pid}/stat") as file:
            return pid if file.read().rpartition(")")[2].split()[0] not in "ZX" else 0
    except (OSError, ValueError):
        return 0

def stop():
    pid = running()
    if pid:
        os.kill(pid, signal.SIGTERM)
        until = time.monotonic() + 110
        while running():
            if time.monotonic() > until:
                sys.exit(f"{unit} of {base} does not stop")
            time.sleep(0.05)

def start():
    path = os.path.join(base, "run", "notify")
    if os.path.exists(path):
        os.unlink(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock, open(os.path.join(base, "log"), "ab") as log:
        sock.bind(path)
        child = subprocess.Popen([os.environ["CAIRN"], role, "--config", os.path.join(base, "etc", "cairn.ini")], stdin=subprocess.DEVNULL,
                                 stdout=log, stderr=log, start_new_session=True, env=dict(os.environ, NOTIFY_SOCKET=path))
        with open(pid_file, "w") as file:
            file.write(str(child.pid))
        sock.settimeout(0.2)
        until = time.monotonic() + 90
        while True:
            try:
                if b"READY=1" in sock.recv(4096):
                    return
            except TimeoutError:
                pass
            if child.poll() is not None or time.monotonic() > until:
                with open(os.path.join(base, "log")) as file:
                    sys.exit(f"{unit} did not start: {file.read()[-1500:]}")

was = running()
if verb in ("stop", "restart", "try-restart"):
    stop()
if (verb in ("enable", "start") and not was) or verb == "restart" or (verb == "try-restart" and was):
    start()
"""

REMOTE = """#!/bin/bash
# A stand-in: the rest of the line, on that machine. What the test put in place of paths is the sender's.
set -euo pipefail
machine=$1; shift
export MACHINE_DIR="$MACHINES/$machine" HOME="$MACHINES/$machine/root"
exec bash -euo pipefail -c "${*//"$SENDER_DIR"/"$MACHINE_DIR"}"
"""

SCP = """#!/bin/bash
# A stand-in: scp FILE MACHINE:PATH
set -euo pipefail
machine=${2%%:*}
path=${2#*:}
cp "$1" "${path/"$SENDER_DIR"/"$MACHINES/$machine"}"
"""

APT_GET = """#!/bin/bash
# A stand-in for the package's postinst at an upgrade.
set -euo pipefail
for role in metadata storage-node gateway; do systemctl try-restart cairn-$role; done
"""


def runbooks():
    """{title: [block, ...]} of the page's section."""
    with open(PAGE, encoding="utf-8") as file:
        section = file.read().partition("\n## Runbooks\n")[2].partition("\n## ")[0]
    found = {}
    for part in section.split("\n### ")[1:]:
        title = part.partition("\n")[0]
        found[title] = re.findall(r"^```sh\n(.*?)^```$", part, re.M | re.S)
        true(found[title], f"the runbook '{title}' has no commands")
    return found


class Site:
    """The machines, and the service that backups go to."""

    def __init__(self):
        self.world = World()
        self.base = os.path.join(self.world.base, "machines")
        self.ports = {}
        self.keys = {}
        self.done = []
        for machine in [*ADDRESSES, "admin"]:
            for folder in ("etc", "var", "srv", "root", "tmp", "run"):
                os.makedirs(os.path.join(self.base, machine, folder))
        tools = os.path.join(self.base, "bin")
        os.makedirs(tools)
        os.symlink(os.path.abspath(binary()), os.path.join(tools, "cairn"))
        for name, text in (("systemctl", SYSTEMCTL), ("ssh", REMOTE), ("scp", SCP), ("apt-get", APT_GET), ("chown", "#!/bin/sh\n")):
            with open(os.path.join(tools, name), "w", encoding="utf-8") as file:
                file.write(text)
            os.chmod(file.name, 0o755)
        for name in ("cairn_amd64.deb",):
            open(self.path("admin", "root", name), "wb").close()
        self.target = self.world.up(self.world.dirs(1))
        equal(self.target.s3().make_bucket("backups").status, 200, "make the backups' bucket")

    def path(self, machine, *parts):
        return os.path.join(self.base, machine, *parts)

    def local(self, address):
        """127.0.0.1:PORT for the page's 10.0.0.11:7000."""
        if address == "10.0.0.99:9000":
            return f"127.0.0.1:{self.target.port}"
        if address not in self.ports:
            self.ports[address] = f"127.0.0.1:{free_ports(1)[0]}"
        return self.ports[address]

    def typed(self, text, machine):
        """The page's commands for a machine of this test."""
        for owned in ("runuser -u cairn -- ", " -o cairn -g cairn"):
            text = text.replace(owned, "")
        names = "|".join([*ADDRESSES, "admin"])
        for place, folder in PLACES.items():
            text = re.sub(rf"\b({names}):{place}(?=/|\s|$)", lambda m, f=folder: f"{m.group(1)}:{self.path(m.group(1), f)}", text)
            text = re.sub(rf"(?<![\w/.]){place}(?=/|\s|$)", self.path(machine, folder), text)
        text = re.sub(r"10\.0\.0\.\d+:\d+", lambda m: self.local(m.group(0)), text)
        text = text.replace("BACKUP-ACCESS-KEY", self.target.access).replace("BACKUP-SECRET-KEY", self.target.secret)
        for name, value in self.keys.items():
            text = text.replace(name, value)
        left = re.findall(r"10\.0\.0\.\d+|[A-Z]+-KEY\b|(?<![\w/.])/(?:etc|var|srv)/\S*", text)
        equal(left, [], "what the test put nothing in place of")
        return text

    def environment(self, machine):
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("CAIRN_", "AWS_"))}
        return {**plain, "PATH": f"{self.base}/bin:{os.environ['PATH']}", "HOME": self.path(machine, "root"), "MACHINES": self.base,
                "MACHINE_DIR": self.path(machine), "SENDER_DIR": self.path(machine), "CAIRN": os.path.abspath(binary()),
                "no_proxy": "127.0.0.1"}

    def type(self, text, machine):
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", self.typed(text, machine)], env=self.environment(machine),
                              cwd=self.path(machine, "root"), capture_output=True, text=True, timeout=BLOCK_S, check=False,
                              stdin=subprocess.DEVNULL)
        equal(done.returncode, 0, f"on {machine}: {text}\nsaid {done.stdout[-1500:]}{done.stderr[-1500:]}")
        found = dict(re.findall(r"^ *(access|secret) key +(\S+)$", done.stdout, re.M))
        if len(found) == 2:
            self.keys = {"ACCESS-KEY": found["access"], "SECRET-KEY": found["secret"]}
        return done.stdout

    def block(self, text):
        first = text.partition("\n")[0]
        match = re.fullmatch(r"# on (\w+)(?:, ([\w ]+) alike)?", first)
        true(match, f"a block says on its first line where it is typed, not {first!r}")
        model = match.group(1)
        said = self.type(text, model)
        for machine in (match.group(2) or "").split():
            own = re.sub(rf"\b{model}\b", machine, text)
            own = own.replace(f"listen = {ADDRESSES[model]}:", f"listen = {ADDRESSES[machine]}:")
            own = re.sub(r"^zone = .*$", f"zone = {ZONES.get(machine)}", own, flags=re.M)
            self.type(own, machine)
        return said

    def run(self, title, before_block=None):
        """before_block: what happens to the cluster ahead of that block, by its number."""
        for number, text in enumerate(runbooks()[title]):
            (before_block or {}).get(number, lambda: None)()
            self.block(text)
        self.done.append(title)
        self.whole()

    # ---- what the operator does not type ----

    def cairn(self, *words):
        done = subprocess.run([binary(), *words], env=self.environment("admin"), capture_output=True, text=True, timeout=60, check=False)
        equal(done.returncode, 0, f"cairn {words}: {done.stderr}")
        return json.loads(done.stdout)

    def lose(self, machine):
        """The machine, with all that it has."""
        for role in os.listdir(self.path(machine, "run")):
            if role != "notify":
                with open(self.path(machine, "run", role), encoding="utf-8") as file:
                    pid = int(file.read())
                try:
                    os.kill(pid, 9)
                except ProcessLookupError:
                    pass
                os.unlink(self.path(machine, "run", role))
        shutil.rmtree(self.path(machine, "var"))
        os.makedirs(self.path(machine, "var"))

    def s3(self, gateway):
        host, port = self.local(f"{ADDRESSES[gateway]}:9000").split(":")
        return S3(host, int(port), self.keys["ACCESS-KEY"], self.keys["SECRET-KEY"])

    def put(self, prefix):
        s3 = self.s3("g1")
        true(s3.make_bucket("bucket").status in (200, 409), "make bucket")
        for size in SIZES:
            equal(s3.put("bucket", f"{prefix}{size}", pattern(prefix, size)).status, 200, f"put {prefix}{size}")

    def whole(self):
        """All that was put is there, through both gateways, and nothing is degraded."""
        self.put(self.done[-1].replace(" ", "-"))
        for title in self.done:
            prefix = title.replace(" ", "-")
            for size in SIZES:
                for gateway in ("g1", "g2"):
                    got = self.s3(gateway).get("bucket", f"{prefix}{size}")
                    equal((got.status, got.body == pattern(prefix, size)), (200, True), f"{prefix}{size} by {gateway}")
        status = self.cairn("status", "--json")
        equal((status["state"], status["degraded_stripes"]), ("ok", 0), "status")

    def disk(self, name):
        node, _, path = name.partition(":")
        return [d for d in self.cairn("disk", "list", "--json")["disks"] if d["node"] == node and d["path"] == path][0]

    def close(self):
        try:
            for machine in ADDRESSES:
                for role in os.listdir(self.path(machine, "run")):
                    if role != "notify":
                        subprocess.run([f"{self.base}/bin/systemctl", "stop", f"cairn-{role}"], env=self.environment(machine), check=True)
        finally:
            self.world.__exit__()


SITE = []


def site():
    """The cluster of "First cluster", made by whichever case comes first."""
    if not SITE:
        SITE.append(Site())
        SITE[0].run("First cluster")
        equal({node["name"]: node["zone"] for node in SITE[0].cairn("node", "list", "--json")["nodes"] if node["role"] == "storage-node"},
              {name: ZONES[name] for name in NODES[:6]}, "nodes")
    return SITE[0]


def first_cluster(_world):
    members = site().cairn("metadata", "list", "--json")["members"]
    equal(sorted((member["name"], member["role"]) for member in members), [("v1", "voter"), ("v2", "voter"), ("v3", "voter")], "members")


def add_a_node(_world):
    site().run("Add a node")
    until = time.monotonic() + 30
    while len(site().cairn("disk", "list", "--json")["disks"]) != 14:  # the page says "within seconds"
        true(time.monotonic() < until, "the new node's disks are not in the list")
        time.sleep(0.2)


def replace_a_disk(_world):
    path = site().path("s2", "srv", "d1")
    old = site().disk(f"s2:{path}")["id"]

    def disk_is_lost():
        shutil.rmtree(path)
        until = time.monotonic() + 30
        while site().disk(f"s2:{path}")["state"] not in ("fenced", "absent"):
            true(time.monotonic() < until, "the lost disk is in service")
            time.sleep(0.2)
    site().run("Replace a disk", {0: disk_is_lost})
    true(site().disk(f"s2:{path}")["id"] != old, "the disk is the old one")


def lose_a_voter(_world):
    site().run("Lose a voter", {0: lambda: site().lose("v2")})
    members = site().cairn("metadata", "list", "--json")["members"]
    equal(sorted(member["name"] for member in members), ["v1", "v3", "v4"], "members")


def upgrade(_world):
    if "Lose a voter" not in site().done:
        lose_a_voter(None)
    if "Add a node" not in site().done:
        add_a_node(None)
    processes = {machine: os.listdir(site().path(machine, "run")) for machine in ADDRESSES}
    site().run("Upgrade")
    equal({machine: os.listdir(site().path(machine, "run")) for machine in ADDRESSES}, processes, "what runs")


def lose_the_majority(_world):
    if "Lose a voter" not in site().done:
        lose_a_voter(None)

    def two_are_lost():
        for machine in ("v3", "v4"):
            site().lose(machine)
    site().run("Lose the majority", {0: two_are_lost})
    members = site().cairn("metadata", "list", "--json")["members"]
    equal([(member["name"], member["leads"]) for member in members], [("v1", True)], "members")


def restore_the_metadata(_world):
    if "Add a node" not in site().done:
        add_a_node(None)

    def all_are_lost():
        site().put("late")
        for machine in ("v1", "v2", "v3", "v4"):
            site().lose(machine)
    site().run("Restore the metadata", {1: all_are_lost})
    for size in SIZES[1:]:  # the smallest stood in the metadata only
        equal(site().s3("g2").get("bucket", f"late{size}").body == pattern("late", size), True, f"late{size}, newer than the backup")


def every_runbook_is_run(_world):
    """The last case; it also ends the cluster."""
    done = sorted(site().done)
    while SITE:
        SITE.pop().close()
    if len(sys.argv) == 1:
        equal(done, sorted(runbooks()), "runbooks of the page, and those that a case ran")


CASES = {case.__name__: case for case in (first_cluster, add_a_node, replace_a_disk, lose_a_voter, upgrade, lose_the_majority,
                                          restore_the_metadata, every_runbook_is_run)}

if __name__ == "__main__":
    has("".join(runbooks()), "First cluster", "the section of the page")
    if len(sys.argv) > 1 and "every_runbook_is_run" not in sys.argv:
        sys.argv.append("every_runbook_is_run")
    run_cases("runbooks", CASES)
