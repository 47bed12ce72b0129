"""A cluster of deploy/local-cluster whose processes are killed, stopped and cut off from each other on purpose."""
import importlib.machinery
import importlib.util
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

from link_proxy import LinkProxy, listener

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def _local_cluster():
    path = os.path.join(ROOT, "deploy", "local-cluster")
    loader = importlib.machinery.SourceFileLoader("local_cluster", path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("local_cluster", loader))
    loader.exec_module(module)
    return module


local_cluster = _local_cluster()
HERE = os.path.dirname(os.path.abspath(__file__))
BINARY = local_cluster.BINARY


def _options(*words):
    """As the command line of deploy/local-cluster would have them."""
    return local_cluster.arguments_of(["up", *[str(word) for word in words]])


class ChaosCluster(local_cluster.Cluster):
    Failed = local_cluster.Failed

    """Others reach a voter and a storage node through the proxy: `listen` is its own port, `advertise` the proxy's."""

    def __init__(self, folder, voters, nodes, disks, gateways):
        super().__init__(folder)
        self.children, self.meant = {}, {}  # name: Popen; name: should it run?
        self.ahead, self.traced, self.small = {}, {}, ""  # name: seconds; name: strace; the node whose last disk is a small file system
        self.options = _options("--voters", voters, "--nodes", nodes, "--disks", disks, "--gateways", gateways)
        self.create(self.options)
        targets = {}
        for process in self.state["processes"]:
            if process["role"] != "gateway":
                sock = listener()
                process["advertise"] = f"127.0.0.1:{sock.getsockname()[1]}"
                targets[process["name"]] = (sock, int(process["listen"].rpartition(":")[2]))
        self.proxy = LinkProxy(self.folder, targets)
        for sock, _ in targets.values():
            sock.close()
        self.save()

    # ---- what a machine may lack ----

    def small_disk(self, name, mib):
        """Before the start: the node's last disk lies on a file system of its own. False: this machine mounts none."""
        place = os.path.join(self.folder, "small")
        os.makedirs(place)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", place], capture_output=True, check=False).returncode != 0:
            return False
        self.small = name
        self.process(name)["dirs"][-1] = os.path.join(place, "disk")
        self.save()
        return True

    def can_fail_calls(self):
        """May strace hold on to a process that it did not start?"""
        if shutil.which("strace") is None:
            return False
        with subprocess.Popen(["sleep", "20"]) as other:
            tracer = subprocess.Popen(["strace", "-qq", "-o", "/dev/null", "-p", str(other.pid)], stderr=subprocess.DEVNULL)
            time.sleep(0.3)
            can = tracer.poll() is None
            tracer.terminate()
            tracer.wait()
            other.kill()
        return can

    def clock_library(self):
        """Builds it. False: there is no compiler."""
        self.clock_shift = os.path.join(self.folder, "clock_shift.so")
        return shutil.which("cc") is not None and subprocess.run(
            ["cc", "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o", self.clock_shift, os.path.join(HERE, "clock_shift.c")],
            check=False).returncode == 0

    # ---- faults ----

    def names(self, role):
        return [process["name"] for process in self.of_role(role)]

    def all_started(self):
        self.meant = {process["name"]: True for process in self.state["processes"]}

    def kill(self, name):
        process = self.process(name)
        self.meant[name] = False
        self.signal(process, signal.SIGKILL)
        self.wait_gone(process)

    def stop(self, name):
        """SIGSTOP."""
        self.signal(self.process(name), signal.SIGSTOP)

    def resume(self, name):
        self.signal(self.process(name), signal.SIGCONT)

    def revive(self, name):
        """Starts it again; does not wait, for it may need others that are away."""
        process = self.process(name)
        if self.alive(process):
            return
        own = dict(os.environ)
        if self.ahead.get(name):
            own.update(LD_PRELOAD=self.clock_shift, CLOCK_SHIFT_S=str(self.ahead[name]))
        with open(process["log"], "ab") as log:
            child = subprocess.Popen(self.argv(process, None), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                     start_new_session=True, env=own)
        process["pid"] = child.pid
        self.children[name] = child
        self.meant[name] = True
        self.save()

    def wipe(self, name, index):
        """A disk's folder of a process that does not run."""
        shutil.rmtree(self.process(name)["dirs"][index])

    def flip(self, name, index, count, seed):
        """Single bits of a disk's segments, where there is something; behind the program's back. Returns how many."""
        source, folder, flipped = random.Random(seed), os.path.join(self.process(name)["dirs"][index], "segments"), 0
        files = sorted(file for file in os.listdir(folder) if file.endswith(".seg"))
        for _ in range(40 * count if files else 0):
            with open(os.path.join(folder, source.choice(files)), "r+b") as file:
                at = source.randrange(max(1, file.seek(0, os.SEEK_END)))
                file.seek(at)
                byte = file.read(1)
                if byte not in (b"", b"\0") and flipped < count:
                    file.seek(at)
                    file.write(bytes([byte[0] ^ 1 << source.randrange(8)]))
                    flipped += 1
        return flipped

    def swap(self, one, other):
        """The first disks of two nodes that do not run."""
        a, b = self.process(one)["dirs"][0], self.process(other)["dirs"][0]
        os.rename(a, a + ".swap")
        os.rename(b, a)
        os.rename(a + ".swap", b)

    def ballast(self, fill):
        path = os.path.join(self.folder, "small", "ballast")
        if not fill:
            os.unlink(path)
            return
        with open(path, "wb") as file:
            try:
                while True:
                    file.write(bytes(1 << 20))
                    file.flush()
            except OSError:
                return

    def fail_calls(self, name, calls, error):
        """From now on every fifth such call of each of its threads fails."""
        argv = ["strace", "-f", "-qq", "-o", os.path.join(self.folder, f"trace.{name}"), "-p", str(self.process(name)["pid"]), "-e",
                f"trace={calls}", "-e", f"inject={calls}:error={error}:when=2+5"]
        self.traced[name] = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)

    def calls_work(self, name):
        tracer = self.traced.pop(name, None)
        if tracer is not None:
            tracer.terminate()
            tracer.wait()

    def join_node(self):
        """One more storage node. Others reach it directly, not through the proxy. Its name."""
        name = self.add("storage-node", self.options)["name"]
        self.meant[name] = True
        return name

    def shards_of(self, name):
        """By the records. What dead gateways left on its disks, which the sweep of every ten minutes takes, is no reason to wait."""
        return self.cli("node", "drain", name, "--dry-run", "--json")["shards_on_it"]

    def retire(self, name):
        """A drained node ends, and is removed."""
        process = self.process(name)
        self.meant[name] = False
        self.signal(process, signal.SIGTERM)
        self.wait_gone(process)
        until = time.monotonic() + 30
        while True:  # it is refused while the node was heard of lately
            try:
                self.cli("node", "remove", name, "--json")
                break
            except local_cluster.Failed:
                if time.monotonic() > until:
                    raise
                time.sleep(0.5)
        self.state["processes"].remove(process)
        self.save()

    def isolate(self, name, way):
        """From all others. way: "both", "in" (it hears nothing), "out" (it is not heard)."""
        for other in [process["name"] for process in self.state["processes"] if process["name"] != name]:
            if way != "out":
                self.proxy.stall(other, name)
            if way != "in":
                self.proxy.stall(name, other)

    def rejoin(self, name):
        for other in [process["name"] for process in self.state["processes"] if process["name"] != name]:
            self.proxy.restore(other, name)
            self.proxy.restore(name, other)

    def heal(self):
        """Nothing is broken from now on."""
        self.proxy.heal()
        for name in list(self.traced):
            self.calls_work(name)
        for process in self.state["processes"]:
            self.resume(process["name"])
            self.revive(process["name"])

    # ---- what is seen ----

    def ended(self):
        """[(name, end of its log)] of those that ended though nobody killed them."""
        found = []
        for process in self.state["processes"]:
            if self.meant.get(process["name"]) and not self.alive(process):
                self.meant[process["name"]] = False
                found.append((process["name"], self.log_tail(process)))
        return found

    def cli_any(self, *words):
        """The answer of a verb that ends with 1 where it finds something; None: no answer."""
        argv = [self.state["binary"], *words, "--admin", self.admin_addresses()]
        done = subprocess.run(argv, env=self.environment(), capture_output=True, text=True, timeout=120, check=False)
        try:
            return json.loads(done.stdout)
        except json.JSONDecodeError:
            return None

    def status(self):
        """None when no voter answers."""
        try:
            return self.cli("status", "--json")
        except (local_cluster.Failed, subprocess.TimeoutExpired, json.JSONDecodeError):
            return None

    def await_status(self, wanted, seconds):
        """(reached, the last status)"""
        until = time.monotonic() + seconds
        while True:
            status = self.status()
            if status is not None and wanted(status):
                return True, status
            if time.monotonic() > until:
                return False, status
            time.sleep(0.5)

    def close(self):
        self.proxy.heal()
        for name in list(self.traced):
            self.calls_work(name)
        for process in self.state["processes"]:
            self.resume(process["name"])
            self.signal(process, signal.SIGTERM)
        until = time.monotonic() + 45
        late = []
        for process in self.state["processes"]:
            while self.alive(process) and time.monotonic() < until:
                time.sleep(0.05)
                self.reap(process)
            if self.alive(process):
                late.append(process["name"])
                self.signal(process, signal.SIGKILL)
            self.reap(process)
        self.proxy.close()
        if self.small:
            subprocess.run(["umount", os.path.join(self.folder, "small")], check=True)
        return late

    @staticmethod
    def reap(process):
        try:
            os.waitpid(process["pid"], os.WNOHANG)
        except OSError:
            pass
