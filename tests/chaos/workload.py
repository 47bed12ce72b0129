"""The clients of a chaos run: a process each, which asks the gateways and writes down what it asked and what it was told.

Keys belong to an epoch of a few seconds; most requests go to the newest one, so that no history grows without end and old
keys stay to be read. A line of a worker's file is one operation: which key, what linear.py needs, and when. An answer
of 5xx, a connection that broke and a time-out say nothing about whether it took effect; a refused connection says that
it was not asked at all. Values name their writer and are unique; a body follows from its name, so that each byte is known.
"""
import hashlib
import json
import random
import re
import socket
import threading
import time

from s3http import S3, Broken, quote

BUCKET = "chaos"
REGISTERS, COUNTERS, LOCKS = 4, 2, 1  # keys of each epoch
PART_BYTES = 5 << 20
SIZES = ((0, 45), (900, 20), (5_000, 10), (70_000, 15), (300_000, 8), (1_300_000, 2))
REQUEST_S = 12
BACK_OFF_S = 0.25
NO_ANSWER = (500, 502, 503, 504)
MULTIPART_SHARE, RACE_SHARE = 0.015, 0.3


class Odd(Exception):
    """An answer that no fault explains."""


def body_of(name):
    """name: WORKER.NUMBER.SIZE; the body begins with it and has at least SIZE bytes."""
    size = int(name.rpartition(".")[2])
    seed = hashlib.sha256(name.encode()).digest()
    return name.encode() + b"\n" + (seed * (size // 32 + 1))[:size]


def name_in(body):
    """The value's name; Odd when a byte of it is not the writer's."""
    name = body.split(b"\n", 1)[0].decode("ascii", "replace")
    if not re.fullmatch(r"[a-z0-9]+\.\d+\.\d{1,8}", name):
        raise Odd(f"{len(body)} bytes that nobody wrote: {body[:60]!r}")
    if hashlib.sha256(body_of(name)).digest() != hashlib.sha256(body).digest():
        raise Odd(f"wrong bytes in value {name}")
    return name


class Worker:
    def __init__(self, number, plan):
        self.name, self.plan = f"w{number}", plan
        self.random = random.Random(f"{plan['seed']} worker {number}")
        self.file = open(plan["files"][number], "w", encoding="ascii")
        self.clients = [S3(host, port, plan["access"], plan["secret"], timeout=REQUEST_S) for host, port in plan["gateways"]]
        self.home, self.count, self.archived, self.mine = number % len(self.clients), 0, 0, {}

    # ---- keeping the record ----

    def note(self, key, kind, value, seen, call, back, gateway):
        line = {"key": key, "kind": kind, "value": value, "seen": seen, "call": call, "back": back, "who": f"{self.name} g{gateway + 1}"}
        self.file.write(json.dumps(line) + "\n")

    def odd(self, key, text):
        self.file.write(json.dumps({"key": key, "odd": text, "call": time.monotonic_ns()}) + "\n")
        self.file.flush()

    def gateway(self):
        away = self.random.random() < 0.2
        return self.random.randrange(len(self.clients)) if away else self.home

    def ask(self, key, kind, value, request, meaning):
        """request(client) -> response. meaning(response) -> what was seen; None where it says nothing."""
        number = self.gateway()
        client = self.clients[number]
        call, response, seen = time.monotonic_ns(), None, None
        try:
            response = request(client)
            if response.status not in NO_ANSWER:
                seen = meaning(response)
        except ConnectionRefusedError:
            time.sleep(BACK_OFF_S)
            return None
        except (Broken, OSError, socket.timeout):
            client.close()
        except Odd as odd:
            self.odd(key, f"{odd} ({kind} by {self.name} through gateway {number + 1})")
            return None
        known = seen is not None
        if seen != ("never",):
            self.note(key, kind, value, seen[0] if known else None, call, time.monotonic_ns() if known else None, number)
        if not known:
            time.sleep(BACK_OFF_S * (0.5 + self.random.random()))
        return response if known else None

    def new_value(self, size=None):
        self.count += 1
        if size is None:
            size = self.random.choices([size for size, _ in SIZES], [weight for _, weight in SIZES])[0]
        return f"{self.name}.{self.count}.{size}"

    # ---- meanings ----

    @staticmethod
    def done(response):
        if response.status in (200, 204):
            return ("done",)
        raise Odd(f"answer {response.status} {response.code}")

    @staticmethod
    def found(response):
        if response.status == 200:
            return (name_in(response.body),)
        if response.status == 404 and response.code == "NoSuchKey":
            return (None,)
        raise Odd(f"answer {response.status} {response.code}")

    @staticmethod
    def condition(otherwise):
        def meaning(response):
            if response.status in (200, 204):
                return ("done",)
            if response.status == 412:
                return (otherwise,)
            if response.status == 404 and response.code == "NoSuchKey" and otherwise == "differs":
                return ("absent",)
            raise Odd(f"answer {response.status} {response.code}")
        return meaning

    # ---- operations ----

    def get(self, key):
        return self.ask(key, "get", None, lambda s3: s3.get(BUCKET, key), self.found)

    def put(self, key, value):
        body = body_of(value)
        return self.ask(key, "put", value, lambda s3: s3.put(BUCKET, key, body), self.done)

    def delete(self, key):
        return self.ask(key, "delete", None, lambda s3: s3.delete(BUCKET, key), self.done)

    def create(self, key, value):
        return self.ask(key, "create", value, lambda s3: s3.put(BUCKET, key, body_of(value), {"if-none-match": "*"}),
                        self.condition("exists"))

    def swap(self, key, expected, etag, value):
        return self.ask(key, "swap", (expected, value), lambda s3: s3.put(BUCKET, key, body_of(value), {"if-match": etag}),
                        self.condition("differs"))

    def drop(self, key, expected, etag):
        path = f"/{BUCKET}/{quote(key, '/')}"
        return self.ask(key, "drop", expected, lambda s3: s3.request("DELETE", path, headers={"if-match": etag}),
                        self.condition("differs"))

    def multipart(self, key, race):
        """A write in two parts; in a race the upload is aborted through another gateway meanwhile."""
        value = self.new_value(PART_BYTES + 4000)
        body = body_of(value)
        path = f"/{BUCKET}/{quote(key, '/')}"
        client = self.clients[self.gateway()]
        try:
            begun = client.request("POST", path, "uploads=")
            if begun.status != 200:
                return
            upload, listing = begun.value("UploadId"), ""
            for number, part in ((1, body[:PART_BYTES]), (2, body[PART_BYTES:])):
                answer = client.request("PUT", path, f"partNumber={number}&uploadId={quote(upload)}", part)
                if answer.status != 200:
                    return
                listing += f"<Part><PartNumber>{number}</PartNumber><ETag>{answer.headers['etag']}</ETag></Part>"
        except (Broken, OSError):
            client.close()
            time.sleep(BACK_OFF_S)
            return
        listing = f"<CompleteMultipartUpload>{listing}</CompleteMultipartUpload>".encode()

        def meaning(response):
            if race and response.status == 404 and response.code == "NoSuchUpload":
                return ("never",)
            if response.status == 200 and b"<Error>" in response.body:
                return None
            return self.done(response)
        rival = threading.Thread(target=self.abort, args=(path, upload, self.random.random() * 0.01)) if race else None
        if rival:
            rival.start()
        self.ask(key, "put", value, lambda s3: s3.request("POST", path, f"uploadId={quote(upload)}", listing), meaning)
        if rival:
            rival.join()

    def abort(self, path, upload, after):
        host, port = self.plan["gateways"][(self.home + 1) % len(self.clients)]
        client = S3(host, port, self.plan["access"], self.plan["secret"], timeout=REQUEST_S)
        time.sleep(after)
        try:
            client.request("DELETE", path, f"uploadId={quote(upload)}")
        except (Broken, OSError):
            pass
        client.close()

    def listing(self, prefix, page):
        """Every key below the prefix, by pages; nothing is noted unless all pages come."""
        number = self.gateway()
        client, call, keys, token = self.clients[number], time.monotonic_ns(), [], ""
        try:
            while True:
                query = f"list-type=2&max-keys={page}&prefix={quote(prefix)}" + \
                        (f"&continuation-token={quote(token)}" if token else "")
                response = client.request("GET", f"/{BUCKET}", query)
                if response.status in NO_ANSWER:
                    time.sleep(BACK_OFF_S)
                    return
                if response.status != 200:
                    self.odd(prefix, f"listing: answer {response.status} {response.code}")
                    return
                keys += response.values("Key")
                if response.value("IsTruncated") != "true":
                    break
                token = response.value("NextContinuationToken")
        except (Broken, OSError):
            client.close()
            time.sleep(BACK_OFF_S)
            return
        if keys != sorted(set(keys)):
            self.odd(prefix, f"a listing that is out of order or names a key twice: {keys}")
        self.note(prefix, "list", None, keys, call, time.monotonic_ns(), number)

    # ---- what to do next ----

    def epoch(self):
        now = int((time.monotonic() - self.plan["start"]) / self.plan["epoch_s"])
        return now if self.random.random() < 0.85 else max(0, now - self.random.randrange(8))

    def on_register(self, epoch):
        key = f"r-{epoch}-{self.random.randrange(REGISTERS)}"
        draw = self.random.random()
        if draw < MULTIPART_SHARE:
            self.multipart(key, self.random.random() < RACE_SHARE)
        elif draw < 0.40:
            self.put(key, self.new_value())
        elif draw < 0.50:
            self.delete(key)
        else:
            self.get(key)

    def on_counter(self, epoch):
        """Read, then write on the condition that nobody else did. A counter is sometimes dropped, and begins anew."""
        key = f"c-{epoch}-{self.random.randrange(COUNTERS)}"
        got = self.get(key)
        if got is None:
            return
        if got.status == 404:
            self.create(key, self.new_value(0))
        elif self.random.random() < 0.1:
            self.drop(key, name_in(got.body), got.headers["etag"])
        else:
            self.swap(key, name_in(got.body), got.headers["etag"], self.new_value(0))

    def on_lock(self, epoch):
        """Held by who made the key; let go by its ETag."""
        key = f"l-{epoch}-{self.random.randrange(LOCKS)}"
        value = self.new_value(0)
        made = self.create(key, value)
        if made is not None and made.status == 200:
            time.sleep(self.random.random() * 0.02)
            self.drop(key, value, made.headers["etag"])

    def on_set(self, epoch):
        prefix, draw = f"s-{epoch}/", self.random.random()
        mine = self.mine.setdefault(prefix, [])
        if draw < 0.5:
            key = f"{prefix}{self.name}-{len(mine)}-{self.random.randrange(1000)}"
            mine.append(key)
            self.put(key, self.new_value(0))
        elif draw < 0.6 and mine and mine[-1] is not None:
            self.delete(mine[-1])
            mine.append(None)  # a key is added once and deleted once
        else:
            self.listing(prefix, self.random.choice((5, 1000)))

    def on_archive(self, _epoch):
        """Written once, read until the end; what repair has to keep."""
        if self.archived < self.plan["archive_bytes"] and self.random.random() < 0.4:
            size = self.random.choice((200, 40_000, 1 << 20, 3 << 20))
            self.archived += size
            keys = self.mine.setdefault("archive", [])
            keys.append(f"a-{self.name}-{len(keys)}")
            self.put(keys[-1], self.new_value(size))
        elif self.mine.get("archive"):
            self.get(self.random.choice(self.mine["archive"]))

    def run(self, stop):
        kinds = [self.on_register, self.on_counter, self.on_lock, self.on_set, self.on_archive]
        while not stop.is_set():
            self.random.choices(kinds, [45, 15, 8, 25, 7])[0](self.epoch())
            time.sleep(self.random.random() * self.plan["pause_s"])
        self.file.close()


def run_worker(number, plan, stop):
    try:
        Worker(number, plan).run(stop)
    except KeyboardInterrupt:
        pass
