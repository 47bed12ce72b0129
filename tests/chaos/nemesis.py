"""The schedule of faults, drawn from a seed before anything runs, and what carries it out.

An event is (second, kind, names, seconds it lasts, more). At most `budget` storage nodes are broken at once, one gateway,
and a minority of the voters (the only one, where there is one); a "blackout" breaks all nodes and says so. A killed process
keeps what it has written, so that nothing may be lost even then.

Grave faults take away what others may need: a wiped disk, flipped bits, disks that sit in each other's machine, a node that leaves for
another one. The cluster has to be whole before each; the schedule goes on where it stood, later by what that took.
"""
import collections
import heapq
import random
import time

Event = collections.namedtuple("Event", "at kind names lasts more")

NODE_FAULTS = (("kill-node", 5), ("stop-node", 4), ("isolate-node", 3), ("slow-node", 2), ("kill-zone", 1), ("fail-calls", 3),
               ("fill-disk", 2), ("skew-node", 2))
GATEWAY_FAULTS = (("kill-gateway", 3), ("stop-gateway", 3), ("gateway-voters", 3))
LINK_FAULTS = (("one-way", 3), ("cut-links", 3))
VOTER_FAULTS = (("kill-voter", 4), ("stop-voter", 3), ("isolate-voter", 2), ("skew-voter", 2))
GRAVE_FAULTS = ("wipe-disk", "flip-bits", "swap-disks", "change-node")
FAILURES = (("fdatasync", "EIO"), ("pwritev", "EIO"), ("pread64", "EIO"), ("pwritev", "ENOSPC"))
HOURS_MAX = 9   # a clock is wrong by; certificates allow a day
ZONES = 3


def _pick(source, table):
    return source.choices([name for name, _ in table], [weight for _, weight in table])[0]


class _Free:
    """Until when each name is broken, so that the budget holds."""

    def __init__(self):
        self.until = {}

    def broken(self, names, at):
        return [name for name in names if self.until.get(name, -1) >= at]

    def choose(self, source, names, at, budget, count=1):
        whole = [name for name in names if name not in self.broken(names, at)]
        if len(self.broken(names, at)) + count > budget or len(whole) < count:
            return []
        return source.sample(whole, count)

    def take(self, names, until):
        for name in names:
            self.until[name] = until


def _more(source, kind):
    """What else there is to know of a fault."""
    if kind in ("isolate-node", "isolate-voter"):
        return source.choice(("both", "in", "out"))
    if kind in ("skew-node", "skew-voter"):
        return source.randrange(1, 3600 * HOURS_MAX)
    if kind == "fail-calls":
        return " ".join(source.choice(FAILURES))
    return 0.05 if kind == "slow-node" else None


def _grave(source, at, kind, nodes):
    names = source.sample(nodes, 2) if kind == "swap-disks" else [source.choice(nodes)]
    more = source.randrange(1 << 30) if kind == "flip-bits" else source.randrange(2) if kind == "wipe-disk" else None
    return Event(at, kind, names, 3.0 if kind == "swap-disks" else 0.0, more)


def schedule(seed, seconds, nodes, gateways, voters, budget, graves, longest, small):
    """Events in the order of time, all over before `seconds`. small: the node whose last disk can be filled, or "". """
    source, free, events, at = random.Random(f"{seed} faults"), _Free(), [], 2.0
    long_run = seconds >= 600
    blackout_at = seconds * 0.55 if not long_run else 300.0
    grave_at = [seconds * (0.3 + 0.6 * i / max(graves, 1)) for i in range(graves)]
    kinds = source.sample(GRAVE_FAULTS, len(GRAVE_FAULTS))  # each of them before one comes again
    while at < seconds - 3:
        lasts = min(source.choice((0.5, 2.0, 4.0, longest)) * (0.5 + source.random() / 2), seconds - 1 - at)
        if grave_at and at >= grave_at[0]:
            grave_at.pop(0)
            events.append(_grave(source, at, kinds[0], nodes))
            kinds = kinds[1:] + kinds[:1]
            at += 3.0
            continue
        if at >= blackout_at:
            blackout_at += 600.0
            events.append(Event(at, "blackout", list(nodes), 2.0, None))
            free.take(nodes, at + 4.0)
            at += 6.0
            continue
        table = source.choices([NODE_FAULTS, LINK_FAULTS, GATEWAY_FAULTS, VOTER_FAULTS], [50, 15, 20, 15])[0]
        kind = _pick(source, table)
        more = None
        if kind == "kill-zone":
            zone = source.randrange(ZONES)
            names = [name for number, name in enumerate(nodes) if number % ZONES == zone]
            if len(free.broken(nodes, at)) > 0 or len(names) > budget:
                names = []
        elif table is NODE_FAULTS:
            names = free.choose(source, [small] if kind == "fill-disk" and small else nodes, at, budget)
            more = _more(source, kind)
        elif table is GATEWAY_FAULTS:
            names = free.choose(source, gateways, at, 1)
        elif table is VOTER_FAULTS:
            names = free.choose(source, voters, at, max(1, (len(voters) - 1) // 2))
            lasts = lasts if len(voters) > 1 else min(lasts, 5.0)
            more = _more(source, kind)
        else:
            target = free.choose(source, nodes, at, budget)
            names = target + [source.choice(gateways)] if target else []
        if names:
            events.append(Event(at, kind, names, lasts, more))
            # A process that was just started again needs a moment until it counts as whole.
            free.take(names if table is not LINK_FAULTS else names[:1], at + lasts + 3.0)
        at += 0.3 + source.random() * (2.2 if not long_run else 6.0)
    return events


class Nemesis:
    def __init__(self, cluster, events, say, whole_s, missing):
        """missing: {kind of fault: why this machine has none}."""
        self.cluster, self.events, self.say, self.whole_s, self.missing = cluster, events, say, whole_s, missing
        self.counts, self.endings, self.number, self.notes = collections.Counter(), [], 0, []
        self.leaving = ""   # the node that is being drained
        self.successor = {} # of a node that has left: the one that came for it, whom its faults befall
        self.skipped = collections.Counter()

    def later(self, at, names, undo):
        self.number += 1
        heapq.heappush(self.endings, (at, self.number, names, undo))

    def finish(self, until):
        """What ends before `until`."""
        while self.endings and self.endings[0][0] <= until:
            at, _, _, undo = heapq.heappop(self.endings)
            time.sleep(max(0.0, at - time.monotonic()))
            undo()

    def links(self, names):
        """A link between a storage node and a gateway, from the node's side."""
        return names[0], names[1]

    def begin(self, event):
        """Breaks something; returns what mends it."""
        cluster, names = self.cluster, event.names
        if event.kind in ("kill-node", "kill-zone", "kill-gateway", "kill-voter", "blackout"):
            for name in names:
                cluster.kill(name)
            return lambda: [cluster.revive(name) for name in names]
        if event.kind in ("stop-node", "stop-gateway", "stop-voter"):
            cluster.stop(names[0])
            return lambda: cluster.resume(names[0])
        if event.kind in ("isolate-node", "isolate-voter"):
            cluster.isolate(names[0], event.more)
            return lambda: cluster.rejoin(names[0])
        if event.kind in ("skew-node", "skew-voter"):
            self.restart(names[0], event.more)
            return lambda: self.restart(names[0], 0)
        if event.kind == "fail-calls":
            cluster.fail_calls(names[0], *event.more.split())
            return lambda: (cluster.calls_work(names[0]), self.restart(names[0], 0))  # a disk whose sync failed is out until then
        if event.kind == "fill-disk":
            cluster.ballast(True)
            return lambda: cluster.ballast(False)
        if event.kind == "slow-node":
            others = cluster.names("gateway") + cluster.names("metadata")
            for other in others:
                cluster.proxy.delay(other, names[0], event.more)
            return lambda: [cluster.proxy.restore(other, names[0]) for other in others]
        if event.kind == "gateway-voters":
            voters = cluster.names("metadata")
            for voter in voters:
                cluster.proxy.stall(names[0], voter)
                cluster.proxy.stall(voter, names[0])
            return lambda: [(cluster.proxy.restore(names[0], voter), cluster.proxy.restore(voter, names[0])) for voter in voters]
        if event.kind == "one-way":
            cluster.proxy.stall(names[0], names[1])
            return lambda: cluster.proxy.restore(names[0], names[1])
        assert event.kind == "cut-links", event
        cluster.proxy.cut(names[0], names[1])
        return lambda: None

    def restart(self, name, ahead):
        """With its clock so many seconds ahead."""
        self.cluster.kill(name)
        self.cluster.ahead[name] = ahead
        self.cluster.revive(name)

    # ---- grave faults ----

    def grave(self, event):
        """Only when nothing else is broken: then what is taken away is within what the code bears."""
        self.finish(float("inf"))
        self.leave()
        whole, status = self.cluster.await_status(lambda one: one["degraded_stripes"] == 0 and self.online(one), self.whole_s)
        if not whole or self.leaving:
            self.notes.append(f"no {event.kind} at {event.at:.1f} s: not whole within {self.whole_s} s: {self.brief(status)}")
            return False
        return {"wipe-disk": self.wipe, "flip-bits": self.flip, "swap-disks": self.swap, "change-node": self.change}[event.kind](event)

    def wipe(self, event):
        name = event.names[0]
        self.cluster.kill(name)
        self.cluster.wipe(name, event.more)
        self.cluster.revive(name)
        return True

    def flip(self, event):
        """What the scrub of all disks has not found by its end, no fault that follows may need."""
        flipped = self.cluster.flip(event.names[0], 0, 30, event.more)
        before = time.monotonic()
        self.cluster.cli("scrub", "start", "--json")
        until = before + self.whole_s
        while True:
            disks = self.cluster.cli("scrub", "status", "--json")["disks"]
            passed = [d["age_seconds"] is not None and d["age_seconds"] < time.monotonic() - before - 1 for d in disks]
            if all(passed) and self.cluster.status()["degraded_stripes"] == 0:
                found = sum(d["damaged_shards"] for d in disks)
                self.notes.append(f"{flipped} bits flipped on {event.names[0]}: {found} shards were found damaged since the nodes began")
                return flipped > 0
            if time.monotonic() > until:
                self.notes.append(f"the scrub after flipped bits is not through after {self.whole_s} s")
                return flipped > 0
            time.sleep(0.5)

    def swap(self, event):
        for names in (event.names, event.names):  # there, and back
            for name in names:
                self.cluster.kill(name)
            self.cluster.swap(*names)
            for name in names:
                self.cluster.revive(name)
            time.sleep(event.lasts)
        return True

    def change(self, event):
        """Another node joins; this one drains while the faults go on."""
        self.successor[event.names[0]] = self.cluster.join_node()
        self.notes.append(f"{self.successor[event.names[0]]} joined, {event.names[0]} leaves")
        self.cluster.cli("node", "drain", event.names[0], "--json")
        self.leaving = event.names[0]
        return True

    def leave(self, must=True):
        """The drained node goes as soon as nothing stands on it."""
        until = time.monotonic() + (self.whole_s if must else 0)
        while self.leaving:
            broken = any(self.leaving in names for _, _, names, _ in self.endings)
            try:
                if not broken and self.cluster.shards_of(self.leaving) == 0:
                    self.cluster.retire(self.leaving)
                    self.notes.append(f"{self.leaving} was removed")
                    self.counts["remove-node"] += 1
                    self.leaving = ""
                    return
            except self.cluster.Failed:  # no voter answered, or one that does not know yet
                pass
            if time.monotonic() >= until:
                return
            time.sleep(0.5)

    @staticmethod
    def online(status):
        return all(disk["state"] in ("online", "full") for disk in status["disks"])

    @staticmethod
    def brief(status):
        if status is None:
            return "no voter answers"
        return str({"degraded_stripes": status["degraded_stripes"], "by strength": status["stripes_by_strength"],
                    "repair": status["repair"],
                    "not online": [disk["path"] for disk in status["disks"] if disk["state"] != "online"]})

    def here(self, event):
        """The event with the names of those that are there now; None where it cannot be."""
        there = self.cluster.names("storage-node") + self.cluster.names("gateway") + self.cluster.names("metadata")
        names = []
        for name in event.names:
            while name not in there and name in self.successor:
                name = self.successor[name]
            names.append(name)
        possible = set(names) <= set(there) and (event.kind != "fill-disk" or names[0] == self.cluster.small)
        return event._replace(names=names) if possible and event.kind not in self.missing else None

    def run(self, start, watch):
        """watch() is called between events; it raises when the run has to end. Returns by how much grave faults made it later."""
        begun = start
        for event in self.events:
            self.finish(start + event.at)
            time.sleep(max(0.0, start + event.at - time.monotonic()))
            watch()
            if self.leaving and self.number % 4 == 0:
                self.leave(must=False)
            drawn, event = event, self.here(event)
            if event is None:
                self.skipped[drawn.kind] += 1
                continue
            self.say(f"{time.monotonic() - begun:7.1f} s  {event.kind:<14} {' '.join(event.names)} "
                     f"{event.more if event.more is not None else ''} for {event.lasts:.1f} s")
            if event.kind in GRAVE_FAULTS:
                since = time.monotonic()
                self.counts[event.kind] += self.grave(event)
                start += time.monotonic() - since
                continue
            self.counts[event.kind] += 1
            self.later(time.monotonic() + event.lasts, event.names, self.begin(event))
        self.finish(float("inf"))
        self.leave()
        watch()
        return start - begun
