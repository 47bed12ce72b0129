"""A cluster of deploy/local-cluster whose processes are killed, stopped and cut off from each other on purpose."""
import importlib.machinery
import importlib.util
import json
import os
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
BINARY = local_cluster.BINARY


def _options(*words):
    """As the command line of deploy/local-cluster would have them."""
    return local_cluster.arguments_of(["up", *[str(word) for word in words]])


class ChaosCluster(local_cluster.Cluster):
    """Others reach a voter and a storage node through the proxy: `listen` is its own port, `advertise` the proxy's."""

    def __init__(self, folder, voters, nodes, disks, gateways):
        super().__init__(folder)
        self.children, self.meant = {}, {}  # name: Popen; name: should it run?
        self.create(_options("--voters", voters, "--nodes", nodes, "--disks", disks, "--gateways", gateways))
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
        with open(process["log"], "ab") as log:
            child = subprocess.Popen(self.argv(process, None), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                     start_new_session=True)
        process["pid"] = child.pid
        self.children[name] = child
        self.meant[name] = True
        self.save()

    def wipe(self, name, index):
        """A disk's folder of a process that does not run."""
        shutil.rmtree(self.process(name)["dirs"][index])

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
        return late

    @staticmethod
    def reap(process):
        try:
            os.waitpid(process["pid"], os.WNOHANG)
        except OSError:
            pass
