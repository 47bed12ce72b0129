#!/usr/bin/env python3
"""The checker of histories against histories whose verdict is known, and against every order of small random ones.

    tests/chaos/linear_test.py [CASE...]
"""
import itertools
import json
import os
import random
import sys
import tempfile
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(os.path.dirname(HERE), "clients", "lib")]

from counter import Counter, equal, true  # noqa: E402
import history  # noqa: E402
import linear  # noqa: E402
from linear import ABSENT, OK, UNKNOWN_VERDICT, VIOLATION, op  # noqa: E402


def put(call, back, value):
    return op(call, back, "put", value)


def get(call, back, seen):
    return op(call, back, "get", None, seen)


def delete(call, back):
    return op(call, back, "delete")


def create(call, back, value, seen="done"):
    return op(call, back, "create", value, seen)


def swap(call, back, expected, value, seen="done"):
    return op(call, back, "swap", (expected, value), seen)


def drop(call, back, expected, seen="done"):
    return op(call, back, "drop", expected, seen)


def verdicts(cases):
    for what, history, wanted in cases:
        for turned in (history, history[::-1]):  # the order in a list says nothing
            equal(linear.check(turned), wanted, what)


def registers():
    verdicts([
        ("nothing", [], OK),
        ("nothing is there", [get(0, 1, ABSENT)], OK),
        ("a value from nowhere", [get(0, 1, "a")], VIOLATION),
        ("read your write", [put(0, 1, "a"), get(2, 3, "a")], OK),
        ("a lost write", [put(0, 1, "a"), get(2, 3, ABSENT)], VIOLATION),
        ("a stale read", [put(0, 1, "a"), put(2, 3, "b"), get(4, 5, "a")], VIOLATION),
        ("a read from the future", [get(0, 1, "a"), put(2, 3, "a")], VIOLATION),
        ("a read meanwhile, new", [put(0, 9, "a"), get(2, 3, "a")], OK),
        ("a read meanwhile, old", [put(0, 9, "a"), get(2, 3, ABSENT)], OK),
        ("new, then old, while the write runs", [put(0, 9, "a"), get(1, 2, "a"), get(3, 4, ABSENT)], VIOLATION),
        ("two writes meet, one order", [put(0, 5, "a"), put(0, 5, "b"), get(6, 7, "a"), get(8, 9, "a")], OK),
        ("two writes meet, both orders seen", [put(0, 5, "a"), put(0, 5, "b"), get(6, 7, "a"), get(8, 9, "b")], VIOLATION),
        ("two readers disagree", [put(0, 9, "a"), put(0, 9, "b"), get(1, 2, "a"), get(3, 4, "b"), get(5, 6, "a")], VIOLATION),
        ("a return and a call at one instant may be concurrent", [put(0, 1, "a"), get(1, 2, ABSENT)], OK),
    ])


def deletes():
    verdicts([
        ("gone", [put(0, 1, "a"), delete(2, 3), get(4, 5, ABSENT)], OK),
        ("back from the dead", [put(0, 1, "a"), delete(2, 3), get(4, 5, "a")], VIOLATION),
        ("gone and back", [put(0, 1, "a"), delete(2, 9), get(3, 4, ABSENT), get(5, 6, "a")], VIOLATION),
        ("unknown delete, there", [put(0, 1, "a"), delete(2, None), get(4, 5, "a")], OK),
        ("unknown delete, gone", [put(0, 1, "a"), delete(2, None), get(4, 5, ABSENT)], OK),
        ("unknown delete, there, gone", [put(0, 1, "a"), delete(2, None), get(4, 5, "a"), get(6, 7, ABSENT)], OK),
        ("unknown delete, gone, there", [put(0, 1, "a"), delete(2, None), get(4, 5, ABSENT), get(6, 7, "a")], VIOLATION),
        ("one unknown delete, gone twice",
         [put(0, 1, "a"), delete(2, None), get(3, 4, ABSENT), put(5, 6, "b"), get(7, 8, ABSENT)], VIOLATION),
    ])


def unknown_writes():
    verdicts([
        ("never", [put(0, 1, "a"), put(2, None, "b"), get(4, 5, "a")], OK),
        ("at once", [put(0, 1, "a"), put(2, None, "b"), get(4, 5, "b")], OK),
        ("later", [put(0, 1, "a"), put(2, None, "b"), get(4, 5, "a"), get(900, 901, "b")], OK),
        ("not before it was asked", [put(0, 1, "a"), get(2, 3, "b"), put(4, None, "b")], VIOLATION),
        ("not twice", [put(0, 1, "a"), put(2, None, "b"), get(4, 5, "b"), get(6, 7, "a")], VIOLATION),
        ("over an acknowledged one", [put(0, None, "b"), put(2, 3, "a"), get(4, 5, "a"), get(6, 7, "b")], OK),
        ("an unknown read says nothing", [put(0, 1, "a"), op(2, None, "get", None, "x")], OK),
        ("an answered write is lost beside unknown ones",
         [put(i, None, f"u{i}") for i in range(12)] + [put(20, 21, "a"), get(22, 23, ABSENT)], VIOLATION),
    ])


def conditional_writes():
    verdicts([
        ("one of two makes it", [create(0, 5, "a"), create(0, 5, "b", "exists"), get(6, 7, "a")], OK),
        ("two make it", [create(0, 5, "a"), create(0, 5, "b")], VIOLATION),
        ("none makes it", [create(0, 1, "a", "exists")], VIOLATION),
        ("made after it was dropped", [create(0, 1, "a"), drop(2, 3, "a"), create(4, 5, "b"), get(6, 7, "b")], OK),
        ("a lock held twice", [create(0, 1, "a"), create(2, 3, "b"), drop(4, 5, "a")], VIOLATION),
        ("refused although free", [create(0, 1, "a"), drop(2, 3, "a"), create(4, 5, "b", "exists")], VIOLATION),
        ("a chain", [create(0, 1, 0), swap(2, 3, 0, 1), swap(4, 5, 1, 2), get(6, 7, 2)], OK),
        ("a lost update", [create(0, 1, 0), swap(2, 9, 0, 1), swap(2, 9, 0, 2)], VIOLATION),
        ("the loser is told", [create(0, 1, 0), swap(2, 9, 0, 1), swap(2, 9, 0, 2, "differs")], OK),
        ("told, and done all the same: an attempt made twice",
         [create(0, 1, 0), swap(2, 3, 0, 1, "differs"), get(4, 5, 1)], VIOLATION),
        ("refused without a reason", [create(0, 1, 0), swap(2, 3, 0, 1, "differs")], VIOLATION),
        ("refused because of an unknown one", [create(0, 1, 0), swap(2, None, 0, 1), swap(4, 5, 0, 2, "differs")], OK),
        ("refused because of an unseen unknown write", [create(0, 1, 0), put(2, None, 7), swap(4, 5, 0, 2, "differs")], OK),
        ("an unknown swap comes late", [create(0, 1, 0), swap(2, None, 0, 1), get(4, 5, 0), get(6, 7, 1)], OK),
        ("an unknown swap can't come after another", [create(0, 1, 0), swap(2, None, 0, 1), swap(4, 5, 0, 2), get(6, 7, 1)],
         VIOLATION),
        ("a swap of nothing", [swap(0, 1, 0, 1, "absent"), create(2, 3, 0), swap(4, 5, 0, 1, "absent")], VIOLATION),
        ("an unknown drop", [create(0, 1, "a"), drop(2, None, "a"), create(4, 5, "b"), get(6, 7, "b")], OK),
    ])


def sets():
    def found(adds, removes, listings):
        return sorted({(verdict, key) for verdict, key, _ in linear.check_set(adds, removes, listings)})
    adds = {"a": (0, 1), "b": (4, 5), "c": (6, None)}
    equal(found(adds, {}, [(2, 3, {"a"}), (7, 8, {"a", "b"}), (9, 10, {"a", "b", "c"})]), [], "as it should")
    equal(found(adds, {}, [(2, 3, {"a"}), (7, 8, {"a"})]), [(VIOLATION, "b")], "one is missing")
    equal(found(adds, {}, [(7, 8, {"a", "b", "c"}), (9, 10, {"a", "b"})]), [(VIOLATION, "c")], "one flickers")
    equal(found(adds, {}, [(7, 8, {"a", "b", "z"})]), [(VIOLATION, "z")], "a stranger")
    equal(found(adds, {"a": (11, 12)}, [(7, 8, {"a", "b"}), (13, 14, {"b"})]), [], "deleted")
    equal(found(adds, {"a": (11, 12)}, [(7, 8, {"a", "b"}), (13, 14, {"a", "b"})]), [(VIOLATION, "a")], "deleted, listed")
    equal(found(adds, {"a": (11, None)}, [(13, 14, {"b"}), (15, 16, {"a", "b"})]), [(VIOLATION, "a")], "gone and back")
    equal(found({"a": (10, 11)}, {"a": (20, 21)}, [(1, 2, set()), (13, 14, set()), (25, 26, set())]), [(VIOLATION, "a")],
          "missing between two runs that say the same")
    equal(found({"a": (0, 1)}, {}, [(i, i + 1, {"a"} if i != 51 else set()) for i in range(3, 99, 3)]), [(VIOLATION, "a")],
          "one listing of many")


def by_force(history):
    """Every order and every subset of the unknown ones, by definition."""
    definite = [each for each in history if each.back is not None]
    unknown = [each for each in history if each.back is None and each.kind != "get"]
    for count in range(len(unknown) + 1):
        for some in itertools.combinations(unknown, count):
            for order in itertools.permutations(definite + list(some)):
                if any(order[j].back is not None and order[j].back < order[i].call
                       for i in range(len(order)) for j in range(i + 1, len(order))):
                    continue
                state = ABSENT
                for each in order:
                    state = linear.register(state, each.kind, each.value, each.seen)
                    if state is linear.ILLEGAL:
                        break
                if state is not linear.ILLEGAL:
                    return OK
    return VIOLATION


def random_history(source, length):
    values, history = [], []
    for number in range(length):
        call = source.randrange(12)
        back = None if source.random() < 0.2 else call + source.randrange(1, 6)
        known = values or ["v"]
        kind = source.choice(("put", "put", "get", "get", "delete", "create", "swap", "drop"))
        value, seen = f"v{number}", "done"
        if kind == "get":
            value, seen = None, source.choice(known + [ABSENT])
        elif kind == "create":
            seen = source.choice(("done", "exists"))
        elif kind in ("swap", "drop"):
            old = source.choice(known)
            value, seen = (old, value) if kind == "swap" else old, source.choice(("done", "differs", "absent"))
        elif kind == "delete":
            value, seen = None, None
        if kind in ("put", "create"):
            values.append(value)
        elif kind == "swap":
            values.append(value[1])
        history.append(op(call, back, kind, value, seen))
    return history


def small_histories_by_force():
    seed = int(os.environ.get("CAIRN_SEED", "20261123"))
    source = random.Random(seed)
    counts = {OK: 0, VIOLATION: 0}
    for number in range(3000):
        history = random_history(source, source.randrange(2, 6))
        wanted = by_force(history)
        counts[wanted] += 1
        equal(linear.check(history), wanted, f"seed {seed}, history {number}:\n{linear.text(history)}")
        if wanted == VIOLATION:
            least = linear.minimal(history, seconds=5)
            equal(by_force(least), VIOLATION, f"seed {seed}, history {number}, shortened:\n{linear.text(least)}")
    true(min(counts.values()) > 300, f"both verdicts are met often: {counts}")


def simulated(source, length, workers, lose):
    """A lawful history: a register that applies each operation at an instant between its call and its return."""
    state, now, busy, history = ABSENT, 0.0, [0.0] * workers, []
    for number in range(length):
        worker = min(range(workers), key=lambda one: busy[one])
        call = now = max(now, busy[worker])
        kind = source.choice(("put", "get", "get", "delete", "create", "swap"))
        length_of = source.expovariate(1.0)
        busy[worker] = call + length_of
        history.append([call, call + length_of * source.random(), call + length_of, kind, f"v{number}"])
    out = []
    values = [ABSENT]
    for call, instant, back, kind, value in sorted(history, key=lambda one: one[1]):
        lost = kind != "get" and source.random() < lose
        asked = (source.choice(values), value) if kind == "swap" else value
        if kind == "get":
            seen = state
        elif kind == "create":
            seen = "done" if state is ABSENT else "exists"
        elif kind == "swap":
            seen = "absent" if state is ABSENT else "done" if state == asked[0] else "differs"
        else:
            seen = "done"
        if not lost or source.random() < 0.5:
            state = linear.register(state, kind, asked, seen)
            values.append(state)
        out.append(op(call, None if lost else back, kind, asked, seen))
    return out


def long_histories():
    seed = int(os.environ.get("CAIRN_SEED", "7"))
    for number in range(12):
        source = random.Random(seed * 1000 + number)
        history = simulated(source, 250, 5, 0.05)
        equal(linear.check(history, seconds=20), OK, f"seed {seed}, history {number}")
        reads = [i for i, each in enumerate(history) if each.kind == "get" and each.seen is not ABSENT]
        spoilt = list(history)
        spoilt[reads[-1]] = spoilt[reads[-1]]._replace(seen="never written")
        equal(linear.check(spoilt, seconds=20), VIOLATION, f"seed {seed}, history {number}, one read spoilt")
        if number == 0:  # it takes what time it is given
            least = linear.minimal(spoilt, seconds=10)
            true(len(least) < len(spoilt), f"{len(least)} of {len(spoilt)} operations are left")
            equal(linear.check(least), VIOLATION, "the shortened history")


def a_search_that_takes_too_long_is_unknown():
    # Chains of unknown swaps that may have led to one value in very many ways, and a read of it, again and again.
    history = [create(0, 1, 0)] + [op(2, None, "swap", (a, b)) for a in range(24) for b in range(24) if a != b]
    for i in range(1, 24):
        history += [get(100 + 4 * i, 101 + 4 * i, i % 24), get(102 + 4 * i, 103 + 4 * i, 23 - i)]
    history.append(get(900, 901, "x"))
    start = time.monotonic()
    equal(linear.check(history, seconds=0.5), UNKNOWN_VERDICT, "verdict")
    true(time.monotonic() - start < 5, "it gives up in time")


def a_violation_is_shortened():
    history = []
    for i in range(0, 200, 4):
        history += [put(i, i + 1, f"v{i}"), get(i + 2, i + 3, f"v{i}")]
    history += [get(300, 301, "v80"), get(302, 303, "v80")]
    least = linear.minimal(history)
    equal([(each.kind, each.value, each.seen) for each in least if each.kind == "get"], [("get", None, "v80")], "reads left")
    true(len(least) <= 4, f"shortened to\n{linear.text(least)}")


def files_of_workers():
    """A lawful record passes; each spoilt one is found, and shown."""
    def line(key, kind, value, seen, call, back):
        return {"key": key, "kind": kind, "value": value, "seen": seen, "call": call, "back": back, "who": "w0 g1"}
    lawful = [line("r-0-0", "put", "w0.1.0", "done", 0, 1), line("r-0-0", "get", None, "w0.1.0", 2, 3),
              line("c-0-0", "create", "w0.2.0", "done", 0, 1), line("c-0-0", "swap", ["w0.2.0", "w0.3.0"], "done", 2, 3),
              line("s-0/a", "put", "w0.4.0", "done", 0, 1), line("s-0/", "list", None, ["s-0/a"], 2, 3),
              line("r-0-1", "put", "w0.5.0", None, 4, None)]
    spoilt = [("r-0-0", line("r-0-0", "get", None, None, 4, 5)), ("c-0-0", line("c-0-0", "get", None, "w0.2.0", 4, 5)),
              ("s-0/a", line("s-0/", "list", None, [], 4, 5)), ("s-0/b", line("s-0/", "list", None, ["s-0/a", "s-0/b"], 4, 5)),
              ("r-0-1", {"key": "r-0-1", "odd": "wrong bytes", "call": 6})]
    for wanted, more in [(None, None)] + spoilt:
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
            file.write("".join(json.dumps(one) + "\n" for one in lawful + ([more] if more else [])))
            file.flush()
            keys, listings, odd, _ = history.read([file.name])
        found = odd + history.check(keys, listings, 5)
        equal([(one.verdict, one.key) for one in found], [(VIOLATION, wanted)] if wanted else [], "findings")
        true(all(history.shown(one).startswith(f"VIOLATION {wanted}") for one in found), "what is shown")


CASES = [files_of_workers, registers, deletes, unknown_writes, conditional_writes, sets, small_histories_by_force, long_histories,
         a_search_that_takes_too_long_is_unknown, a_violation_is_shortened]

if __name__ == "__main__":
    counter = Counter("linear")
    for case in CASES:
        if len(sys.argv) < 2 or case.__name__ in sys.argv[1:]:
            counter.case(case.__name__.replace("_", " "), case)
    counter.finish()
