"""Two gateways of one cluster (run_clients.py --cluster): what one has acknowledged, the other shows at once; and when one ends,
well or badly, requests through the balancer go on."""
import hashlib
import os
import random
import signal
import threading
import time

from counter import equal, true
from s3http import Broken, quote
from server import ServerFailed

B = "two-gateways"
VOTERS = 3
ROUNDS = 150
NOTICED_S = 6   # until the balancer has taken a gateway out: two checks, each of at most 2 s and a pause


def run(server, counter):
    pair = [server.gateway_s3(0), server.gateway_s3(1)]
    equal(pair[0].make_bucket(B).status, 200, "make bucket")
    for function in (every_write_is_seen, buckets_come_and_go, uploads_over_both, one_wins, counters_add_up, pages_over_both,
                     both_are_used):
        counter.case("gateways: " + function.__name__.replace("_", " "), function, server, pair)
    for function in (an_orderly_end, a_killed_gateway, a_stopped_gateway):
        counter.case("gateways: " + function.__name__.replace("_", " "), function, server)


# ---- what one has acknowledged, the other shows ----

def every_write_is_seen(_server, pair):
    """Puts, overwrites and deletes at one, read and listed at the other at once, in a random order of a fixed seed."""
    chance, there = random.Random(8), {}
    for number in range(ROUNDS):
        writer, reader = pair if chance.random() < 0.5 else pair[::-1]
        key = f"seen/{chance.randrange(12)}"
        if key in there and chance.random() < 0.3:
            equal(writer.delete(B, key).status, 204, "delete")
            del there[key]
            equal(reader.get(B, key).code, "NoSuchKey", f"round {number}: {key} that the other deleted")
        else:
            body = chance.randbytes(chance.choice((0, 10, 5000, 70000, 300000)))
            equal(writer.put(B, key, body, {"x-amz-meta-round": str(number)}).status, 200, "put")
            there[key] = hashlib.sha256(body).digest()
            got = reader.get(B, key)
            equal((got.status, got.headers.get("x-amz-meta-round")), (200, str(number)), f"round {number}: {key}")
            equal(hashlib.sha256(got.body).digest(), there[key], f"round {number}: bytes of {key}")
        equal(reader.list_all(B, "seen/"), sorted(there), f"round {number}: listing")


def buckets_come_and_go(_server, pair):
    """A bucket that is made or removed at one is there or gone at the other, also under the same name again."""
    for number in range(20):
        one, other = pair if number % 2 else pair[::-1]
        name = f"gateways-come-{number % 3}"
        equal(other.put(name, "early", b"1").code, "NoSuchBucket", f"round {number}: put before")
        equal(one.make_bucket(name).status, 200, "make bucket")
        equal(other.put(name, "k", b"%d" % number).status, 200, f"round {number}: put at the other")
        true(name in other.request("GET", "/").values("Name"), "listed by the other")
        equal(one.get(name, "k").body, b"%d" % number, "get")
        equal(other.request("DELETE", f"/{name}").code, "BucketNotEmpty", "delete of a bucket that is in use")
        equal(one.delete(name, "k").status, 204, "delete")
        equal(other.request("DELETE", f"/{name}").status, 204, "delete bucket")
        for gateway in (one, other):
            equal(gateway.get(name, "k").code, "NoSuchBucket", f"round {number}: get behind")
            equal(gateway.put(name, "late", b"1").code, "NoSuchBucket", f"round {number}: put behind")
            equal(gateway.request("GET", f"/{name}", "list-type=2").code, "NoSuchBucket", f"round {number}: listing behind")
            true(name not in gateway.request("GET", "/").values("Name"), "still listed")


def uploads_over_both(_server, pair):
    """An upload begun at one, its parts sent to both, completed at the other; one that is aborted is gone for both."""
    path, parts = f"/{B}/upload", [os.urandom(5 << 20), os.urandom(5 << 20), os.urandom(100)]
    upload = pair[0].request("POST", path, "uploads=").value("UploadId")
    listing = ""
    for number, part in enumerate(parts, 1):
        response = pair[number % 2].request("PUT", path, f"partNumber={number}&uploadId={quote(upload)}", part)
        equal(response.status, 200, f"part {number}")
        listing += f"<Part><PartNumber>{number}</PartNumber><ETag>{response.headers['etag']}</ETag></Part>"
        shown = pair[(number + 1) % 2].request("GET", path, f"uploadId={quote(upload)}")
        equal(shown.values("PartNumber"), [str(n) for n in range(1, number + 1)], "parts at the other")
    equal(pair[0].get(B, "upload").code, "NoSuchKey", "before its end")
    body = f"<CompleteMultipartUpload>{listing}</CompleteMultipartUpload>".encode()
    done = pair[1].request("POST", path, f"uploadId={quote(upload)}", body)
    equal(done.status, 200, f"complete: {done.body}")
    true(pair[0].get(B, "upload").body == b"".join(parts), "the bytes differ")
    equal(pair[0].request("POST", path, f"uploadId={quote(upload)}", body).status, 200, "complete again, at the other")
    upload = pair[1].request("POST", path, "uploads=").value("UploadId")
    true(upload in pair[0].request("GET", f"/{B}", "uploads=").values("UploadId"), "an upload that the other does not list")
    equal(pair[0].request("DELETE", path, f"uploadId={quote(upload)}").status, 204, "abort at the other")
    response = pair[1].request("PUT", path, f"partNumber=1&uploadId={quote(upload)}", b"x")
    equal(response.code, "NoSuchUpload", "a part behind the abort")


def at_once(functions):
    """Runs them in threads; raises the first error."""
    errors = []

    def guarded(function):
        try:
            function()
        except Exception as error:
            errors.append(error)
    threads = [threading.Thread(target=guarded, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def one_wins(server, _pair):
    """If-None-Match: * of eight clients at both gateways: one 200, and its bytes are there."""
    for number in range(20):
        answers = []

        def create(client, number=number, answers=answers):
            s3 = server.gateway_s3(client % 2)
            answers.append((s3.put(B, f"lock/{number}", b"%d" % client, {"if-none-match": "*"}).status, client))
            s3.close()
        at_once([lambda c=client: create(c) for client in range(8)])
        winners = [client for status, client in answers if status == 200]
        equal((len(winners), {status for status, _ in answers} - {200, 412}), (1, set()), f"answers {answers}")
        for gateway in range(2):
            equal(server.gateway_s3(gateway).get(B, f"lock/{number}").body, b"%d" % winners[0], "who holds it")


def counters_add_up(server, pair):
    """A counter by If-Match of the ETag, from both gateways: nothing is lost."""
    equal(pair[0].put(B, "counter", b"0").status, 200, "put")

    def add(client):
        s3, done = server.gateway_s3(client % 2), 0
        while done < 25:
            got = s3.get(B, "counter")
            status = s3.put(B, "counter", b"%d" % (int(got.body) + 1), {"if-match": got.headers["etag"]}).status
            true(status in (200, 412), f"status {status}")
            done += status == 200
        s3.close()
    at_once([lambda c=client: add(c) for client in range(4)])
    for gateway in pair:
        equal(gateway.get(B, "counter").body, b"100", "sum")


def pages_over_both(_server, pair):
    """A listing whose pages come from the gateways in turn: continuation tokens hold for all of a cluster."""
    names = [f"page/{number:03}" for number in range(50)]
    for number, name in enumerate(names):
        equal(pair[number % 2].put(B, name, b"").status, 200, "put")
    keys, token, turn = [], "", 0
    while True:
        query = "list-type=2&max-keys=7&prefix=" + quote("page/") + (f"&continuation-token={quote(token)}" if token else "")
        page = pair[turn % 2].request("GET", f"/{B}", query)
        equal(page.status, 200, f"page {turn}: {page.body}")
        keys, token, turn = keys + page.values("Key"), page.value("NextContinuationToken"), turn + 1
        if page.value("IsTruncated") != "true":
            break
    equal((keys, turn), (names, 8), "keys and pages")


def both_are_used(server, _pair):
    """The balancer gives connections to each of them."""
    def served():
        counts = []
        for process in server.of_role("gateway"):
            with open(process["log"], encoding="utf-8", errors="replace") as file:
                counts.append(sum("event=request" in line for line in file))
        return counts
    before = served()
    for _ in range(20):
        s3 = server.s3()
        equal(s3.get(B, "counter").status, 200, "get")
        s3.close()
    until = time.monotonic() + 5  # the log is written behind the answer
    while min(after - was for after, was in zip(served(), before)) < 5:
        true(time.monotonic() < until, f"requests by gateway: {before}, then {served()}")
        time.sleep(0.1)


# ---- one of them ends ----

class Traffic:
    """Four clients that put and get through the balancer without a pause, a new connection for every few requests, as after
    the end of a gateway. A request that broke is made again (every SDK does); what is then not answered with 200 is an error."""

    def __init__(self, server, timeout=60):
        self.server, self.timeout = server, timeout
        self.ending, self.lock = threading.Event(), threading.Lock()
        self.requests, self.broken, self.wrong, self.slowest = 0, 0, [], 0
        self.written = {}
        self.maybe = set()  # digests of what was sent and not answered: a gateway may still do it when it runs again
        self.threads = [threading.Thread(target=self.client, args=(number,)) for number in range(4)]

    def ask(self, s3, method, key, body=b""):
        begun = time.monotonic()
        for attempt in range(3):
            try:
                answer = s3.put(B, key, body) if method == "PUT" else s3.get(B, key)
            except (Broken, OSError):
                with self.lock:
                    self.broken += 1
                    self.maybe.add(hashlib.sha256(body).digest())
                s3.close()
                continue
            with self.lock:
                self.requests += 1
                self.slowest = max(self.slowest, time.monotonic() - begun)
            if answer.status != 200:
                with self.lock:
                    self.wrong.append(f"{method} {key}: {answer.status} {answer.code}")
            return answer
        with self.lock:
            self.wrong.append(f"{method} {key}: no answer in three attempts")
        return None

    def holds(self, body, digest):
        return hashlib.sha256(body).digest() in self.maybe | {digest}

    def client(self, number):
        chance = random.Random(number)
        s3, turn = self.server.s3(timeout=self.timeout), 0
        while not self.ending.is_set():
            turn += 1
            key, body = f"traffic/{number}/{turn % 20}", chance.randbytes(chance.choice((100, 20000, 200000)))
            put = self.ask(s3, "PUT", key, body)
            if put is not None and put.status == 200:
                self.written[key] = hashlib.sha256(body).digest()
                got = self.ask(s3, "GET", key)
                with self.lock:
                    if got is not None and got.status == 200 and not self.holds(got.body, self.written[key]):
                        self.wrong.append(f"GET {key}: other bytes than were just acknowledged")
            if turn % 5 == 0:
                s3.close()
        s3.close()

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        time.sleep(1)
        return self

    def __exit__(self, *_):
        self.ending.set()
        for thread in self.threads:
            thread.join()

    def went_on(self, what):
        """Nothing was lost and requests are still answered."""
        with self.lock:
            before = self.requests
        time.sleep(1)
        with self.lock:
            now, wrong = self.requests, list(self.wrong)
        true(now > before + 20, f"{what}: {now - before} requests in a second")
        equal(wrong, [], f"{what}: answers")

    def nothing_lost(self, server):
        for number in range(2):
            s3 = server.gateway_s3(number)
            for key, digest in self.written.items():
                true(self.holds(s3.get(B, key).body, digest), f"{key} at gateway {number + 1}: other bytes than acknowledged")
        print(f"     {self.requests} requests, {self.broken} made again, slowest {self.slowest:.2f} s")


def whole(server):
    """Both serve again, and the balancer uses both."""
    server.tool("up")
    equal(server.missing(), [], "processes that are away")
    time.sleep(3)  # two good checks


def an_orderly_end(server):
    """SIGTERM: /readyz and the S3 port go away, requests under way are answered."""
    with Traffic(server) as traffic:
        for name in ("gateway1", "gateway2"):
            server.tool("stop", name)
            traffic.went_on(f"{name} stopped")
            true(traffic.slowest < NOTICED_S, f"a request took {traffic.slowest:.1f} s")
            whole(server)
            traffic.went_on(f"{name} is back")
    traffic.nothing_lost(server)


def a_killed_gateway(server):
    with Traffic(server) as traffic:
        for name in ("gateway2", "gateway1"):
            server.tool("kill", name)
            traffic.went_on(f"{name} killed")
            s3 = server.s3()
            for _ in range(50):  # a new connection each time: the balancer finds the one that is there
                true(s3.get(B, "counter").status == 200, "get")
                s3.close()
            whole(server)
            traffic.went_on(f"{name} is back")
        true(traffic.slowest < NOTICED_S, f"a request took {traffic.slowest:.1f} s")
    traffic.nothing_lost(server)


def a_stopped_gateway(server):
    """SIGSTOP, as a machine that hangs: the kernel still takes connections and nobody answers. Clients wait 4 s for an answer
    and ask again; the balancer gives them the other one once two checks had no answer."""
    process = server.of_role("gateway")[0]
    with Traffic(server, timeout=4) as traffic:
        os.kill(process["pid"], signal.SIGSTOP)
        try:
            time.sleep(NOTICED_S)
            traffic.went_on("gateway1 hangs")
        finally:
            os.kill(process["pid"], signal.SIGCONT)
        time.sleep(3)
        traffic.went_on("gateway1 runs again")
    if server.missing():
        raise ServerFailed(f"ended: {server.missing()}")
    traffic.nothing_lost(server)
