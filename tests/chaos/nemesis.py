"""The schedule of faults, drawn from a seed before anything runs, and what carries it out.

An event is (second, kind, names, seconds it lasts, more). At most `budget` storage nodes are broken at once, one gateway,
and a minority of the voters (the only one, where there is one); a "blackout" breaks all nodes and says so. A killed process
keeps what it has written, so that nothing may be lost even then. A wiped disk is lost for good: the cluster has to be whole
before it, and the next one comes only after the cluster is whole again.
"""
import collections
import heapq
import random
import time

Event = collections.namedtuple("Event", "at kind names lasts more")

NODE_FAULTS = (("kill-node", 5), ("stop-node", 4), ("isolate-node", 3), ("slow-node", 2), ("kill-zone", 1))
GATEWAY_FAULTS = (("kill-gateway", 3), ("stop-gateway", 3), ("gateway-voters", 3))
LINK_FAULTS = (("one-way", 3), ("cut-links", 3))
VOTER_FAULTS = (("kill-voter", 4), ("stop-voter", 3), ("isolate-voter", 2))
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


def schedule(seed, seconds, nodes, gateways, voters, budget, wipes, longest):
    """Events in the order of time, all over before `seconds`."""
    source, free, events, at = random.Random(f"{seed} faults"), _Free(), [], 2.0
    long_run = seconds >= 600
    blackout_at = seconds * 0.55 if not long_run else 300.0
    wipe_at = [seconds * (0.35 + 0.5 * i / max(wipes, 1)) for i in range(wipes)]
    while at < seconds - 3:
        lasts = min(source.choice((0.5, 2.0, 4.0, longest)) * (0.5 + source.random() / 2), seconds - 1 - at)
        if wipe_at and at >= wipe_at[0]:
            wipe_at.pop(0)
            events.append(Event(at, "wipe-disk", [source.choice(nodes)], 0.0, source.randrange(2)))
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
            names = free.choose(source, nodes, at, budget)
            more = source.choice(("both", "in", "out")) if kind == "isolate-node" else 0.05 if kind == "slow-node" else None
        elif table is GATEWAY_FAULTS:
            names = free.choose(source, gateways, at, 1)
        elif table is VOTER_FAULTS:
            names = free.choose(source, voters, at, max(1, (len(voters) - 1) // 2))
            lasts = lasts if len(voters) > 1 else min(lasts, 5.0)
            more = source.choice(("both", "in", "out")) if kind == "isolate-voter" else None
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
    def __init__(self, cluster, events, say, whole_s):
        self.cluster, self.events, self.say, self.whole_s = cluster, events, say, whole_s
        self.counts, self.endings, self.number, self.wiped, self.notes = collections.Counter(), [], 0, [], []

    def later(self, at, undo):
        self.number += 1
        heapq.heappush(self.endings, (at, self.number, undo))

    def finish(self, until):
        """What ends before `until`."""
        while self.endings and self.endings[0][0] <= until:
            at, _, undo = heapq.heappop(self.endings)
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

    def wipe(self, event):
        """Only when nothing else is broken: then one disk less is within what the code bears."""
        self.finish(float("inf"))
        whole, status = self.cluster.await_status(lambda one: one["degraded_stripes"] == 0 and self.online(one), self.whole_s)
        if not whole:
            self.notes.append(f"no disk was wiped at {event.at:.1f} s: not whole within {self.whole_s} s: {self.brief(status)}")
            return False
        name = event.names[0]
        self.cluster.kill(name)
        self.cluster.wipe(name, event.more)
        self.cluster.revive(name)
        self.wiped.append(f"{name} disk{event.more + 1}")
        return True

    def online(self, status):
        absent = sum(1 for disk in status["disks"] if disk["state"] != "online")
        return absent <= len(self.wiped)

    @staticmethod
    def brief(status):
        if status is None:
            return "no voter answers"
        return str({"degraded_stripes": status["degraded_stripes"], "by strength": status["stripes_by_strength"],
                    "repair": status["repair"],
                    "not online": [disk["path"] for disk in status["disks"] if disk["state"] != "online"]})

    def run(self, start, watch):
        """watch() is called between events; it raises when the run has to end."""
        for event in self.events:
            self.finish(start + event.at)
            time.sleep(max(0.0, start + event.at - time.monotonic()))
            watch()
            self.say(f"{time.monotonic() - start:7.1f} s  {event.kind:<14} {' '.join(event.names)} "
                     f"{event.more if event.more is not None else ''} for {event.lasts:.1f} s")
            if event.kind == "wipe-disk":
                self.counts[event.kind] += self.wipe(event)
                continue
            self.counts[event.kind] += 1
            self.later(time.monotonic() + event.lasts, self.begin(event))
        self.finish(float("inf"))
        watch()
