"""Reads the workers' files, gives each key's history to the checker, says what is wrong and shows it."""
import collections
import json

import linear
from linear import OK, UNKNOWN_VERDICT, VIOLATION

Finding = collections.namedtuple("Finding", "verdict key what history")


def read(paths):
    """(operations by key, listings by prefix, odd answers)"""
    keys, listings, odd, count = collections.defaultdict(list), collections.defaultdict(list), [], 0
    for path in paths:
        with open(path, encoding="ascii") as file:
            for line in file:
                one = json.loads(line)
                if "odd" in one:
                    odd.append(Finding(VIOLATION, one["key"], one["odd"], []))
                    continue
                count += 1
                if one["kind"] == "list":
                    listings[one["key"]].append((one["call"], one["back"], set(one["seen"])))
                    continue
                value = tuple(one["value"]) if isinstance(one["value"], list) else one["value"]
                keys[one["key"]].append(linear.op(one["call"], one["back"], one["kind"], value, one["seen"], one["who"]))
    return keys, listings, odd, count


def outcomes(keys):
    """How many operations were answered, and how many have an unknown outcome."""
    unknown = sum(1 for history in keys.values() for one in history if one.back is None)
    return sum(map(len, keys.values())) - unknown, unknown


def _sets(keys, listings, seconds):
    findings = []
    members = collections.defaultdict(dict)
    for key, history in keys.items():
        if key.startswith("s-"):
            members[key.partition("/")[0] + "/"][key] = history
    for prefix in sorted(set(members) | set(listings)):
        adds = {key: (one.call, one.back) for key, history in members[prefix].items() for one in history if one.kind == "put"}
        drops = {key: (one.call, one.back) for key, history in members[prefix].items() for one in history if one.kind == "delete"}
        for verdict, key, history in linear.check_set(adds, drops, listings[prefix], seconds):
            findings.append(Finding(verdict, key, "listings", history))
    return findings


def check(keys, listings, seconds):
    """Findings of every key that is not in order. `seconds` is the time for one key."""
    findings = _sets(keys, listings, seconds)
    for key in sorted(keys):
        verdict = linear.check(keys[key], seconds=seconds)
        if verdict != OK:
            findings.append(Finding(verdict, key, "order", keys[key]))
    return findings


def shown(finding):
    if finding.verdict == UNKNOWN_VERDICT:
        return f"unknown verdict on {finding.key}: {len(finding.history)} operations were not searched to the end"
    if not finding.history:
        return f"VIOLATION {finding.key}: {finding.what}"
    least = linear.minimal(finding.history)
    return f"VIOLATION {finding.key} ({finding.what}), {len(least)} of {len(finding.history)} operations:\n" + \
        "        called    answered     by           what   value                       seen\n" + linear.text(least)
