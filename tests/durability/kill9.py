"""kill -9 at random moments under concurrent writers, then restart and compare.

Several writer processes put, overwrite, delete and upload in parts, each on keys of its own, and write a journal line
before and after each request: what was asked, and what was acknowledged. After each restart every key must hold what its
last acknowledged request left, or what a request whose answer never came would have left: nothing else, and never a mix.
"""
import hashlib
import json
import multiprocessing
import os
import time

from faults_common import Broken, MIB, S3, Server, ServerFailed, seeded, size_of, true

WRITERS = 4
KEYS = 12  # of a writer: overwritten again and again
BUCKET = "kill"
ABSENT = "absent"


def body_of(seed, size):
    import random
    return random.Random(seed).randbytes(size)


def writer(port, access, secret, number, seed, journal_path, stop):
    import random
    source = random.Random(seed)
    s3 = S3("127.0.0.1", port, access, secret, timeout=30)
    with open(journal_path, "a", encoding="ascii") as journal:
        def note(**entry):
            journal.write(json.dumps(entry) + "\n")
            journal.flush()
        turn = 0
        while not stop.is_set():
            turn += 1
            key = f"w{number}/k{source.randrange(KEYS)}"
            kind = source.choices(["put", "delete", "parts"], [80, 15, 5])[0]
            body_seed = source.getrandbits(48)
            size = 0 if kind == "delete" else 5 * MIB + 11 if kind == "parts" else size_of(source)
            body = body_of(body_seed, size) if kind != "delete" else b""
            digest = ABSENT if kind == "delete" else hashlib.sha256(body).hexdigest()
            note(begin=turn, key=key, kind=kind, digest=digest)
            try:
                if kind == "put":
                    status = s3.put(BUCKET, key, body).status
                elif kind == "delete":
                    status = s3.delete(BUCKET, key).status
                else:
                    status = s3.multipart_put(BUCKET, key, [body[:5 * MIB], body[5 * MIB:]]).status
            except (Broken, OSError):
                s3.close()
                time.sleep(0.02)
                continue  # no answer: either state is right
            note(end=turn, status=status)
            if status >= 500:
                time.sleep(0.02)


class Expected:
    """What each key may hold: digests of the last acknowledged request and of unanswered ones after it."""

    def __init__(self):
        self.may = {}
        self.acknowledged = 0

    def read(self, journal_path):
        if not os.path.exists(journal_path):
            return
        open_entry = None
        with open(journal_path, encoding="ascii") as journal:
            for line in journal:
                if not line.endswith("\n"):
                    break
                entry = json.loads(line)
                if "begin" in entry:
                    self.may.setdefault(entry["key"], {ABSENT}).add(entry["digest"])
                    open_entry = entry
                elif entry["status"] in (200, 204):
                    true(open_entry is not None and open_entry["begin"] == entry["end"], "journal out of step")
                    self.may[open_entry["key"]] = {open_entry["digest"]}
                    self.acknowledged += 1
                # any other answer: refused. Its outcome is not promised either way (a 5xx may have committed).
        os.truncate(journal_path, 0)

    def verify(self, s3):
        present = set(s3.list_all(BUCKET))
        for key, may in sorted(self.may.items()):
            response = s3.get(BUCKET, key)
            true(response.status in (200, 404), f"{key}: {response}")
            found = hashlib.sha256(response.body).hexdigest() if response.status == 200 else ABSENT
            true(found in may, f"{key} holds {found[:16]} ({len(response.body)} bytes); allowed: {[m[:16] for m in may]}")
            true((key in present) == (found != ABSENT), f"{key}: the listing disagrees with the object")
            self.may[key] = {found}  # what is there now stays
        true(present <= set(self.may), f"keys that nobody wrote: {sorted(present - set(self.may))[:5]}")


def run(counter, rounds, disks=6):
    source = seeded("kill9")
    server = Server(disks)
    expected = Expected()

    def one_round(number):
        stop = multiprocessing.Event()
        writers = []
        for w in range(WRITERS):
            process = multiprocessing.Process(target=writer, args=(
                server.port, server.access, server.secret, w, source.getrandbits(48), journal(w), stop), daemon=True)
            process.start()
            writers.append(process)
        time.sleep(source.choice([0.05, 0.2, 0.5, 1.0, 2.0]) * (0.5 + source.random()))
        server.kill()
        stop.set()
        for process in writers:
            process.join(60)
            if process.is_alive():
                process.kill()
        server.start()
        for w in range(WRITERS):
            expected.read(journal(w))
        s3 = server.s3()
        expected.verify(s3)
        s3.close()
        true(server.alive(), f"the server ended by itself in round {number}:\n{server.log_tail()}")

    def journal(w):
        return os.path.join(server.base, f"journal{w}")

    with server:
        true(server.s3().make_bucket(BUCKET).status == 200, "make bucket")
        good = 0
        for number in range(1, rounds + 1):
            if not counter.case(f"kill -9, round {number} of {rounds}", one_round, number):
                print(server.log_tail(8), flush=True)
                break  # the state is no longer what it should be: later rounds would say the same
            good += 1
        counter.case("kill -9: enough was acknowledged to mean something",
                     lambda: true(expected.acknowledged >= 10 * good, f"{expected.acknowledged} in {good} rounds"))
        counter.case("kill -9: full strength in the end", lambda: server.wait_repaired(120))
        counter.case("kill -9: exit status 0 on SIGTERM", lambda: true(server.stop() == 0, server.log_tail()))
    print(f"kill9: {expected.acknowledged} acknowledged requests over {good} rounds", flush=True)


__all__ = ["run", "ServerFailed"]
