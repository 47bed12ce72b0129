"""Is a history of one key linearizable? The search of Wing and Gong with Lowe's memory of configurations, just in time:
an operation is given its place only when an answer forces one.

An operation is a tuple op(call, back, kind, value, seen): two instants of one clock, what was asked, what was seen.
  back   None: the outcome is unknown. It may have taken effect at any instant after its call, or never.
A history is a list of operations of one key; keys are independent of each other, so that each is searched alone.

A model is (initial state, step): step(state, kind, value, seen) gives the next state, or ILLEGAL if what was seen can't
be seen in this state. Of an unknown outcome `seen` is UNKNOWN, and step must always give a state: that of taking effect.

Verdicts: OK, VIOLATION, and UNKNOWN_VERDICT when the time given was not enough. States are hashable.
"""
import bisect
import collections
import time

ILLEGAL = object()
UNKNOWN = "unknown"  # what was seen by an operation that was never answered
ABSENT = None        # the value of a key that is not there
UNSEEN = "(unseen)"  # a value of an unknown write that no other operation names

REFUSED = ("exists", "differs", "absent")
OK, VIOLATION, UNKNOWN_VERDICT = "ok", "violation", "unknown verdict"

Op = collections.namedtuple("Op", "call back kind value seen who")


def op(call, back, kind, value=None, seen=None, who=""):
    return Op(call, back, kind, value, UNKNOWN if back is None and kind != "get" else seen, who)


# ---- models ----

def register(state, kind, value, seen):
    """put(value), delete, get -> seen. Also what conditional writes do: seen is "done", or why not.

    create(value)            If-None-Match: *      done | exists
    swap((expected, value))  If-Match, PUT         done | differs | absent
    drop(expected)           If-Match, DELETE      done | differs | absent
    """
    if kind == "get":
        return state if state == seen else ILLEGAL
    if kind == "put":
        return value
    if kind == "delete":
        return ABSENT
    expected = ABSENT if kind == "create" else value[0] if kind == "swap" else value
    after = ABSENT if kind == "drop" else value[1] if kind == "swap" else value
    if seen == UNKNOWN:
        return after if state == expected else state
    if seen == "done":
        return after if state == expected else ILLEGAL
    if seen == "absent":
        return state if state is ABSENT else ILLEGAL
    if seen == "exists":
        return state if state is not ABSENT else ILLEGAL
    return state if state is not ABSENT and state != expected else ILLEGAL


def _only_looks(each):
    """In no state does it change anything."""
    return each.kind == "get" or each.seen in REFUSED


# ---- what need not be searched ----

def simplified(history):
    """Without reads that were never answered, and without unknown plain writes whose value nobody saw.

    Values are unique, so that an unseen write of a register can be taken out of every order that explains the rest, unless
    a refused condition was due to it: then it stays. Such values need not be told apart."""
    needed = set()
    refused = False
    for each in history:
        if each.kind == "get" and each.back is not None:
            needed.add(each.seen)
        elif each.kind == "swap":
            needed.add(each.value[0])
        elif each.kind == "drop":
            needed.add(each.value)
        refused = refused or each.seen in REFUSED
    kept = []
    for each in history:
        if each.back is None and each.kind == "get":
            continue
        if each.back is None and each.kind in ("put", "create", "swap"):
            value = each.value[1] if each.kind == "swap" else each.value
            if value not in needed:
                if each.kind == "put" and not refused:
                    continue
                each = each._replace(value=(each.value[0], UNSEEN) if each.kind == "swap" else UNSEEN)
        kept.append(each)
    return kept


# ---- the search ----

class _Search:
    """The configurations that explain everything up to an instant: (state, the answered operations that are placed although
    their answers come later) -> the sets of unknown operations that were used for it. Of two such sets where one holds the
    other the smaller one suffices: what is not used may still be used later, or never."""

    def __init__(self, history, model, initial, deadline):
        self.history, self.model, self.deadline = history, model, deadline
        self.now = {(initial, 0): [0]}
        self.open, self.unknown = set(), []
        self.steps = 0

    @staticmethod
    def _added(configs, key, used):
        """False where a smaller set is there."""
        sets = configs.setdefault(key, [])
        if any(other & used == other for other in sets):
            return False
        sets[:] = [other for other in sets if other & used != used]
        sets.append(used)
        return True

    def _settled(self, state, placed):
        """What only looks, and may see this state, gets its place at once: later it could only be harder."""
        for number in self.open:
            if not placed >> number & 1:
                each = self.history[number]
                if _only_looks(each) and self.model(state, each.kind, each.value, each.seen) is not ILLEGAL:
                    placed |= 1 << number
        return placed

    def _next(self, state, placed, used):
        """Every operation that may take effect now."""
        for number in self.open:
            if not placed >> number & 1:
                each = self.history[number]
                after = self.model(state, each.kind, each.value, each.seen)
                if after is not ILLEGAL:
                    yield after, self._settled(after, placed | 1 << number), used
        tried = set()
        for number in self.unknown:
            each = self.history[number]
            if not used >> number & 1 and (each.kind, each.value) not in tried:
                tried.add((each.kind, each.value))  # of several that do the same the first one serves
                after = self.model(state, each.kind, each.value, each.seen)
                if after != state:
                    yield after, self._settled(after, placed), used | 1 << number

    def back(self, number):
        """The answer of an operation: it must have its place by now. False when no configuration is left."""
        bit = 1 << number
        after, met, work = {}, {}, []
        for (state, placed), sets in self.now.items():
            placed = self._settled(state, placed)
            for used in sets:
                if placed & bit:
                    self._added(after, (state, placed & ~bit), used)
                elif self._added(met, (state, placed), used):
                    work.append((state, placed, used))
        while work:
            self.steps += 1
            if self.steps % 256 == 0 and time.monotonic() > self.deadline:
                raise TimeoutError
            for state, placed, used in self._next(*work.pop()):
                if placed & bit:
                    self._added(after, (state, placed & ~bit), used)
                elif self._added(met, (state, placed), used):
                    work.append((state, placed, used))
        self.open.discard(number)
        self.now = after
        return bool(after)


def check(history, model=register, initial=ABSENT, seconds=10.0):
    """The verdict on one key's history."""
    history = simplified(history) if model is register else history
    events = []
    for number, each in enumerate(history):
        events.append((each.call, 0, number))  # a call and a return at one instant count as concurrent: the call goes first
        if each.back is not None:
            events.append((each.back, 1, number))
    search = _Search(history, model, initial, time.monotonic() + seconds)
    try:
        for _, kind, number in sorted(events):
            if kind == 1:
                if not search.back(number):
                    return VIOLATION
            elif history[number].back is None:
                search.unknown.append(number)
            else:
                search.open.add(number)
    except TimeoutError:
        return UNKNOWN_VERDICT
    return OK


# ---- the smallest history that still violates ----

def _cut(history, instant):
    """What was known at an instant: later calls are not there, what was under way has no outcome."""
    cut = []
    for each in history:
        if each.call > instant:
            continue
        if each.back is not None and each.back > instant:
            each = op(each.call, None, each.kind, each.value, None, each.who)
        cut.append(each)
    return cut


def _may_go(each, history):
    """Leaving it out can't make a lawful history unlawful: reads and refusals, and writes whose value nobody names."""
    if _only_looks(each):
        return True
    if each.kind != "put" or any(other.seen in REFUSED for other in history):
        return False
    return all(other is each or each.value not in (other.seen, other.value) and
               not (other.kind == "swap" and each.value in other.value) for other in history)


def minimal(history, model=register, initial=ABSENT, seconds=20.0):
    """A violation's history, shortened as far as time allows; it still violates, and so does whatever holds it."""
    deadline = time.monotonic() + seconds

    def violates(some):
        left = deadline - time.monotonic()
        return left > 0 and check(some, model, initial, min(left, 2.0)) == VIOLATION

    backs = sorted(each.back for each in history if each.back is not None)
    low, high = 0, len(backs) - 1
    while low < high:  # the first instant at which it was wrong
        middle = (low + high) // 2
        if violates(_cut(history, backs[middle])):
            high = middle
        else:
            low = middle + 1
    cut = _cut(history, backs[low]) if backs else history
    history = cut if violates(cut) else history
    size, position = max(1, len(history) // 2), 0
    while size >= 1 and time.monotonic() < deadline:
        while position < len(history) and time.monotonic() < deadline:
            gone = [each for each in history[position:position + size] if _may_go(each, history)]
            fewer = [each for each in history if each not in gone] if gone else None
            if fewer is not None and violates(fewer):
                history = fewer
            else:
                position += size
        size, position = size // 2, 0
    return sorted(history, key=lambda each: each.call)


def text(history):
    """One line for each operation, times in ms after the first call."""
    if not history:
        return "(empty)"
    first = min(each.call for each in history)
    lines = []
    for each in sorted(history, key=lambda one: one.call):
        back = "      never" if each.back is None else f"{(each.back - first) / 1e6:11.3f}"
        shown = each.seen if each.kind == "get" or each.seen not in (None, UNKNOWN) else "unknown" if each.back is None else "done"
        lines.append(f"  {(each.call - first) / 1e6:11.3f} {back} ms  {each.who:<12} {each.kind:<6} {each.value!s:<24} -> {shown}")
    return "\n".join(lines)


# ---- sets that are listed ----

def check_set(adds, deletes, listings, seconds=10.0):
    """A prefix whose keys are added once and deleted at most once. Returns [(verdict, key, history)] of what is not OK.

    adds, deletes: {key: (call, back or None)}; listings: [(call, back, set of keys)]. Each key is a register of its own that
    every listing reads."""
    findings = []
    deadline = time.monotonic() + seconds
    listings = sorted(listings, key=lambda one: one[0])
    strangers = set().union(*(keys for _, _, keys in listings)) - set(adds) if listings else set()
    for key in sorted(strangers):
        call, back, _ = next(one for one in listings if key in one[2])
        findings.append((VIOLATION, key, [op(call, back, "get", None, "there", "listing")]))
    for key, (call, back) in adds.items():
        history = [op(call, back, "put", "there", None, "add")]
        if key in deletes:
            history.append(op(*deletes[key], "delete", None, None, "delete"))
        history += [op(begin, end, "get", None, "there" if key in keys else ABSENT, "listing")
                    for begin, end, keys in _telling(listings, key, history)]
        verdict = check(history, seconds=max(0.1, deadline - time.monotonic()))
        if verdict != OK:
            findings.append((verdict, key, history))
    return findings


def _telling(listings, key, writes):
    """The listings that can decide. While no write is under way the state stands still: there the first of each answer does."""
    bounds = sorted([write.call for write in writes] + [write.back for write in writes if write.back is not None])
    kept, told = [], set()
    for one in listings:
        place = bisect.bisect_left(bounds, one[0])
        quiet = place == bisect.bisect_right(bounds, one[1]) and \
            not any(write.call <= one[1] and (write.back is None or write.back >= one[0]) for write in writes)
        answer = (place, key in one[2])
        if quiet and answer in told:
            continue
        if quiet:
            told.add(answer)
        kept.append(one)
    return kept
