"""Every operation of the S3 port against every way to sign it wrongly: each is refused with its own code, before any
effect. The operations come from the table that the router itself is made of, so that a new one is covered at once."""
import datetime
import hashlib
import os
import re
import resource
import socket
import time

from counter import Skip, equal, true
from s3http import Broken, EMPTY, crc32_base64, md5_base64, quote
from server import ROOT

B = "auth-matrix"
OTHER = "auth-other"
STREAM = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
TABLE = os.path.join(ROOT, "gateway", "s3", "s3_operations.h")
HELD = "cairn_upload_budget_used_bytes"
ROW = re.compile(r'X\((\w+), "(\w+)", "(\w+)", (\w+), "([^"]*)", "([^"]*)", "([^"]*)", (\d), (true|false), "[^"]*"\)')
SLOW_CLIENTS = 600


class Row:
    def __init__(self, groups):
        self.name, self.method, self.resource = groups[1], groups[2], groups[3]
        self.query, self.query_two, self.header = groups[4], groups[5], groups[6]
        self.offered = groups[8] == "true"

    @property
    def path(self):
        return {"SERVICE": "/", "BUCKET": f"/{B}", "OBJECT": f"/{B}/good", "ANY": f"/{B}/good",
                "RESPONSE": "/WriteGetObjectResponse"}[self.resource]

    @property
    def selector(self):
        values = {"list-type": "2", "partNumber": "1", "uploadId": "0" * 32, "select-type": "2"}
        return "&".join(f"{q}={values.get(q, '')}" for q in (self.query, self.query_two) if q)

    @property
    def headers(self):
        values = {"x-amz-copy-source": f"/{B}/good", "content-type": "multipart/form-data; boundary=b",
                  "x-amz-write-offset-bytes": "0"}
        return {self.header: values[self.header]} if self.header else {}


class Suite:
    def __init__(self, server):
        self.server = server
        self.s3 = server.s3(timeout=40)
        self.good = os.urandom(70000)
        self.host = {"host": f"127.0.0.1:{server.port}"}
        with open(TABLE, encoding="ascii") as f:
            self.rows = [Row(m.groups()) for m in ROW.finditer(f.read())]

    def send(self, head, method="GET", body=b""):
        response = self.s3.raw(head + body, method)
        self.s3.close()
        return response

    def signed(self, row, payload=EMPTY, when=None, extra=None):
        headers = self.s3.sign(row.method, row.path, row.selector, {**row.headers, **(extra or {})}, payload, when)
        return headers

    def ask(self, row, headers):
        target = row.path + ("?" + row.selector if row.selector else "")
        if row.method in ("PUT", "POST"):
            headers = {**headers, "content-length": "0"}
        return self.send(self.s3.head(row.method, target, headers), row.method)

    def ask_presigned(self, row, seconds=60, when=None, spoil=None, headers=None):
        """headers: sent besides, unsigned."""
        target = self.s3.presign(row.method, row.path, seconds, when=when, query=row.selector)
        headers = {**self.host, **(headers or {})}
        if row.method in ("PUT", "POST"):
            headers["content-length"] = "0"
        return self.send(self.s3.head(row.method, spoil(target) if spoil else target, headers), row.method)

    def untouched(self):
        s3 = self.server.s3()
        true(s3.get(B, "good").body == self.good, "the object that was there has changed")
        equal(s3.list_all(B), ["good"], "keys")
        equal(s3.list_all(OTHER), ["theirs"], "keys of the other bucket")
        equal(s3.request("GET", f"/{B}", "uploads=").values("UploadId"), [], "uploads")
        equal(sorted(s3.request("GET", "/").values("Name")), sorted([B, OTHER]), "buckets")
        s3.close()


def refused(response, row, status, code, what):
    """HEAD answers have no body: the status alone speaks."""
    wanted = (status, "" if row.method == "HEAD" else code)
    equal((response.status, response.code), wanted, f"{row.name}, {what}")


def run(server, counter):
    t = Suite(server)
    equal(t.s3.make_bucket(B).status, 200, "make bucket")
    equal(t.s3.make_bucket(OTHER).status, 200, "make bucket")
    equal(t.s3.put(B, "good", t.good).status, 200, "put")
    equal(t.s3.put(OTHER, "theirs", b"theirs").status, 200, "put")
    for function in (table_is_whole, header_form, presigned_form, other_forms, unsigned_headers, presigned_unsigned_headers,
                     what_is_not_offered, repeated_credentials, scopes, skew_to_the_second, payload_modes, odd_keys,
                     metadata_names, overrides_cannot_break_headers, reflected_input, xml_costs_little, half_sent_heads,
                     slow_uploads):
        name = function.__name__.replace("_", " ")
        counter.case("auth matrix: " + name, function, t)
        counter.case(f"auth matrix: nothing changed by {name}", t.untouched)


def table_is_whole(t):
    with open(TABLE, encoding="ascii") as f:
        count = len(re.findall(r"^    X\(", f.read(), re.M))
    equal(len(t.rows), count, "rows that were read")
    true(count > 100, f"only {count} operations")


def header_form(t):
    """A1: the header form of every operation, spoilt in each way."""
    now = datetime.datetime.now(datetime.timezone.utc)
    for row in t.rows:
        good = t.signed(row)
        for what, headers, status, code in (
                ("bad signature", {**good,
                        "authorization": good["authorization"][:-1] + ("0" if good["authorization"][-1] != "0" else "1")},
                 403, "SignatureDoesNotMatch"),
                ("unknown key", {**good, "authorization": good["authorization"].replace(t.s3.access, "NOBODY")}, 403, "InvalidAccessKeyId"),
                ("20 minutes old", t.signed(row, when=now - datetime.timedelta(minutes=20)), 403, "RequestTimeTooSkewed"),
                ("no x-amz-content-sha256", {k: v for k, v in good.items() if k != "x-amz-content-sha256"}, 400, "InvalidRequest"),
                ("other payload value", {**good, "x-amz-content-sha256": "0" * 64}, 403, "SignatureDoesNotMatch"),
                ("upper-case signature", {**good, "authorization": re.sub(r"[0-9a-f]{64}$",
                        lambda m: m.group().upper() + "", good["authorization"])},
                 400, "AuthorizationHeaderMalformed"),
                ("session token", t.signed(row, extra={"x-amz-security-token": "x"}), 400, "InvalidToken")):
            refused(t.ask(row, headers), row, status, code, what)


def presigned_form(t):
    now = datetime.datetime.now(datetime.timezone.utc)
    for row in t.rows:
        if row.header.startswith("x-amz-"):
            continue  # an unsigned header would be refused first: presigned_unsigned_headers
        sent = row.headers
        refused(t.ask_presigned(row, spoil=lambda u: u[:-1] + ("0" if u[-1] != "0" else "1"), headers=sent), row, 403,
                "SignatureDoesNotMatch", "presigned, bad signature")
        refused(t.ask_presigned(row, spoil=lambda u: u.replace(t.s3.access, "NOBODY"), headers=sent), row, 403, "InvalidAccessKeyId",
                "presigned, unknown key")
        refused(t.ask_presigned(row, when=now - datetime.timedelta(minutes=5), headers=sent), row, 403,
                "AccessDenied", "presigned, expired")
        refused(t.ask_presigned(row, when=now + datetime.timedelta(minutes=20), headers=sent), row, 403,
                "AccessDenied", "presigned, too early")
        refused(t.ask_presigned(row, seconds=604801, headers=sent), row, 400, "AuthorizationQueryParametersError", "presigned for too long")


def other_forms(t):
    """Anonymous, SigV2, SigV4A, an unknown scheme, two forms at once."""
    for row in t.rows:
        form = row.name == "PostObject"
        good = t.signed(row)
        for what, headers, status, code in (
                ("anonymous", {**t.host, **row.headers}, 501 if form else 403, "NotImplemented" if form else "AccessDenied"),
                ("SigV2", {**t.host, **row.headers, "authorization": "AWS AK:c2ln"}, 400, "InvalidRequest"),
                ("SigV4A", {**t.host, **row.headers, "authorization": "AWS4-ECDSA-P256-SHA256 Credential=a"}, 501, "NotImplemented"),
                ("Basic", {**t.host, **row.headers, "authorization": "Basic YTpi"}, 400, "InvalidArgument"),
                ("empty Authorization", {**t.host, **row.headers, "authorization": ""}, 400, "InvalidArgument")):
            refused(t.ask(row, headers), row, status, code, what)
        refused(t.ask_presigned(row, headers=good), row, 400, "InvalidArgument", "header and query")
        more = {**good, "content-length": "0"} if row.method in ("PUT", "POST") else good
        query = "?" + "&".join(p for p in (row.selector, "AWSAccessKeyId=a&Signature=b&Expires=1") if p)
        refused(t.send(t.s3.head(row.method, row.path + query, more), row.method), row, 400, "InvalidArgument", "header and SigV2 query")


AMZ_HEADERS = ("acl", "copy-source", "copy-source-range", "copy-source-if-match", "date", "decoded-content-length",
               "expected-bucket-owner", "grant-full-control", "meta-a", "metadata-directive", "security-token", "storage-class",
               "tagging", "trailer", "server-side-encryption", "website-redirect-location", "checksum-crc32", "if-match-size",
               "bypass-governance-retention", "object-lock-mode", "mp-object-size", "never-heard-of")


def unsigned_headers(t):
    """A3: no x-amz-* header counts that the signature does not cover."""
    row = next(r for r in t.rows if r.name == "PutObject")
    for name in AMZ_HEADERS:
        headers = t.signed(row)
        if name == "date":
            continue  # always signed by the library; its absence is the next case
        headers["X-Amz-" + name.title() if len(name) % 2 else "x-amz-" + name] = "1"
        refused(t.ask(row, headers), row, 403, "AccessDenied", f"unsigned x-amz-{name}")
    for name in ("host", "x-amz-date", "x-amz-content-sha256"):
        headers = t.signed(row)
        headers["authorization"] = re.sub(rf"(SignedHeaders=|;){name};?", r"\1", headers["authorization"])
        headers["authorization"] = headers["authorization"].replace(";,", ",")
        refused(t.ask(row, headers), row, 403, "AccessDenied", f"{name} not signed")


def presigned_unsigned_headers(t):
    for name in ("PutObject", "GetObject", "DeleteObject", "UploadPart", "CompleteMultipartUpload"):
        row = next(r for r in t.rows if r.name == name)
        for header in AMZ_HEADERS:
            refused(t.ask_presigned(row, headers={"x-amz-" + header: "1"}), row, 403, "AccessDenied", f"presigned, unsigned x-amz-{header}")


def what_is_not_offered(t):
    """Signed rightly, an operation without a handler says so and does nothing."""
    for row in t.rows:
        if not row.offered:
            refused(t.ask(row, t.signed(row)), row, 501, "NotImplemented", "signed rightly")


def repeated_credentials(t):
    """A2: one place, once, in one spelling."""
    row = next(r for r in t.rows if r.name == "GetObject")
    for name in ("authorization", "x-amz-date", "x-amz-content-sha256", "host"):
        headers = t.signed(row)
        for again in (name, name.upper()):
            head = t.s3.head("GET", row.path, headers)[:-2] + f"{again}: {headers[name]}\r\n\r\n".encode()
            equal(t.send(head).status, 400, f"{again} twice")
    for name in ("Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature"):
        for again in (f"X-Amz-{name}", f"x-amz-{name.lower()}"):
            response = t.ask_presigned(row, spoil=lambda u, a=again, n=name: u + f"&{a}=" + re.search(rf"X-Amz-{n}=([^&]*)", u).group(1))
            equal((response.status, response.code), (400, "AuthorizationQueryParametersError"), f"{again} twice")
        response = t.ask_presigned(row, spoil=lambda u, n=name: re.sub(rf"X-Amz-{n}=[^&]*&?", "", u).rstrip("&?"))
        true(response.status in (400, 403) and response.code, f"without X-Amz-{name}: {response}")
        response = t.ask_presigned(row, spoil=lambda u, n=name: u.replace(f"X-Amz-{n}=", f"x-amz-{n.lower()}="))
        true(response.status in (400, 403) and response.code, f"X-Amz-{name} in lower case: {response}")
    for text in ("Credential", "SignedHeaders", "Signature"):
        headers = t.signed(row)
        part = re.search(rf"{text}=[^,]*", headers["authorization"]).group()
        refused(t.ask(row, {**headers, "authorization": headers["authorization"] + ", " + part}), row, 400,
                "AuthorizationHeaderMalformed", f"{text} twice")


def scopes(t):
    row = next(r for r in t.rows if r.name == "GetObject")
    day = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%d")
    for old, new in (("us-east-1", "eu-west-1"), ("/s3/", "/iam/"), ("/s3/", "/S3/"), ("aws4_request", "aws5_request"), (day, "20200101"),
                     (f"/{day}/", f"/x/{day}/"), ("/s3/aws4_request", "/s3"), (day, day + "0")):
        headers = t.signed(row)
        refused(t.ask(row, {**headers, "authorization": headers["authorization"].replace(old, new)}), row, 400,
                "AuthorizationHeaderMalformed", f"{old} as {new}")
        response = t.ask_presigned(row, spoil=lambda u, a=quote(old), b=quote(new): u.replace(a, b, 1))
        equal((response.status, response.code), (400, "AuthorizationQueryParametersError"), f"presigned, {old} as {new}")


def skew_to_the_second(t):
    """A6: 15 minutes, and the seconds of a presigned URL. The clock runs on meanwhile: 3 s on either side."""
    row = next(r for r in t.rows if r.name == "GetObject")
    now = datetime.datetime.now(datetime.timezone.utc)
    for seconds, status in ((-903, 403), (-895, 200), (895, 200), (905, 403)):
        response = t.ask(row, t.signed(row, when=now + datetime.timedelta(seconds=seconds)))
        equal(response.status, status, f"{seconds} s")
    for age, lives, status in ((57, 60, 200), (63, 60, 403), (604790, 604800, 200), (604810, 604800, 403)):
        equal(t.ask_presigned(row, seconds=lives, when=now - datetime.timedelta(seconds=age)).status, status, f"{age} s of {lives} s")


def put_victim(t, body, payload, headers=None, declared=None, end=False):
    headers = t.s3.sign("PUT", f"/{B}/victim", "", headers or {}, payload)
    headers["content-length"] = str(len(body) if declared is None else declared)
    sock = t.s3.connect()
    try:
        sock.sendall(t.s3.head("PUT", f"/{B}/victim", headers) + body)
        if end:
            sock.shutdown(socket.SHUT_WR)
    except OSError:
        pass
    try:
        return t.s3.read_response()
    except Broken:
        return None
    finally:
        t.s3.close()


def unsigned_chunks(data, size=65536, trailer=b""):
    out = [b"%x\r\n%b\r\n" % (len(data[i:i + size]), data[i:i + size]) for i in range(0, len(data), size)]
    return b"".join(out) + b"0\r\n" + trailer + b"\r\n"


def spoilt(frames):
    """A5: chunks dropped, put in another order, repeated; the end missing or followed by more."""
    yield "first chunk dropped", frames[1:]
    yield "middle chunk dropped", frames[:1] + frames[2:]
    yield "two chunks exchanged", [frames[1], frames[0]] + frames[2:]
    yield "chunk repeated", frames[:1] + frames[:1] + frames[1:]
    yield "end missing", frames[:-1]
    yield "data after the end", frames + [b"10000\r\n" + b"x" * 65536 + b"\r\n"]
    yield "cut in a chunk", frames[:-2] + [frames[-2][:100]]


def refuse_victim(t, response, what):
    true(response is None or (400 <= response.status < 500 and response.code), f"{what}: {response}")


def payload_modes(t):
    """Body shorter, longer, other than signed, in all six modes of x-amz-content-sha256: nothing comes to be."""
    data = os.urandom(200000)
    right = hashlib.sha256(data).hexdigest()
    for what, response in (
            ("hash, shorter", put_victim(t, data[:-1], right, declared=len(data), end=True)),
            ("hash, other", put_victim(t, data[:-1] + b"x" if data[-1:] != b"x" else data[:-1] + b"y", right)),
            ("hash, cut and declared so", put_victim(t, data[:-1], right)),
            ("empty hash with a body", put_victim(t, data, EMPTY)),
            ("upper-case hash", put_victim(t, data, right.upper())),
            ("unsigned, shorter", put_victim(t, data[:-1], "UNSIGNED-PAYLOAD", declared=len(data), end=True)),
            ("unsigned, wrong MD5", put_victim(t, data, "UNSIGNED-PAYLOAD", {"content-md5": md5_base64(b"")})),
            ("unsigned, wrong checksum", put_victim(t, data, "UNSIGNED-PAYLOAD", {"x-amz-checksum-crc32": crc32_base64(b"")})),
            ("a trailer that no mode announces", put_victim(t, data, right, {"x-amz-trailer": "x-amz-checksum-crc32"})),
            ("SigV4A stream", put_victim(t, data, "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", {"x-amz-decoded-content-length": "200000"}))):
        if what.startswith("SigV4A"):
            equal((response.status, response.code), (501, "NotImplemented"), what)
        else:
            refuse_victim(t, response, what)
    named = {"x-amz-decoded-content-length": str(len(data)), "content-encoding": "aws-chunked"}
    trailer = {**named, "x-amz-trailer": "x-amz-checksum-crc32"}
    crc = crc32_base64(data)
    line = f"x-amz-checksum-crc32:{crc}\r\n".encode()
    for payload, headers, end in ((STREAM, named, None), (STREAM + "-TRAILER", trailer, ("x-amz-checksum-crc32",
            crc)), (UNSIGNED_TRAILER, trailer, line)):
        for number in range(7):
            t.s3.sign("PUT", f"/{B}/victim", "", headers, payload)  # the seed; signed again below in the same second or not at all
            whole = t.s3.chunks(data, trailer=end) if payload != UNSIGNED_TRAILER else unsigned_chunks(data, trailer=line)
            frames, at = [], 0
            while at < len(whole):
                stop = whole.index(b"\r\n", at) + 2
                size = int(whole[at:stop].split(b";")[0], 16)
                nxt = stop + size + 2 if size else len(whole)
                frames.append(whole[at:nxt])
                at = nxt
            what, wrong = list(spoilt(frames))[number]
            stamp, seed = t.s3.last_stamp, t.s3.last_signature
            when = datetime.datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
            signed = t.s3.sign("PUT", f"/{B}/victim", "", headers, payload, when)
            equal(t.s3.last_signature, seed, "the seed signature")
            body = b"".join(wrong)
            signed["content-length"] = str(len(body))
            sock = t.s3.connect()
            try:
                sock.sendall(t.s3.head("PUT", f"/{B}/victim", signed) + body)
                response = t.s3.read_response()
            except (Broken, OSError):
                response = None
            t.s3.close()
            if payload == UNSIGNED_TRAILER and what == "two chunks exchanged":
                equal((response.status, response.code), (400, "BadDigest"), what)
            refuse_victim(t, response, f"{payload}: {what}")
            equal(t.server.s3().get(B, "victim").code, "NoSuchKey", f"after {payload}: {what}")
    for what, body in (("wrong checksum", unsigned_chunks(data, trailer=b"x-amz-checksum-crc32:AAAAAA==\r\n")),
            ("no trailer", unsigned_chunks(data)),
                       ("another trailer", unsigned_chunks(data, trailer=b"x-amz-checksum-sha1:AAAA\r\n")),
                       ("trailer twice", unsigned_chunks(data, trailer=line + line))):
        refuse_victim(t, put_victim(t, body, UNSIGNED_TRAILER, trailer), what)
    refuse_victim(t, put_victim(t, unsigned_chunks(data, trailer=line), UNSIGNED_TRAILER, named), "x-amz-trailer missing")
    equal(put_victim(t, unsigned_chunks(data, trailer=line), UNSIGNED_TRAILER, trailer).status, 200, "the same, right")
    equal(t.s3.delete(B, "victim").status, 204, "delete")


def odd_keys(t):
    """A9: whatever stands in a key, it is a key of the bucket that was asked for."""
    tricky = [f"../{OTHER}/theirs", f"..%2f{OTHER}%2ftheirs", f"%2e%2e/{OTHER}/theirs", f"/../{OTHER}/theirs",
            f"//{OTHER}/theirs", "..", "//", "%2F",
              f"x/../../{OTHER}/theirs", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "k" * 1024]
    for raw in tricky:
        path = f"/{B}/{raw}"
        equal(t.s3.request("PUT", path, body=b"mine").status, 200, f"put {raw[:40]}")
        equal(t.s3.request("GET", path).body, b"mine", f"get {raw[:40]}")
        equal(t.s3.get(OTHER, "theirs").body, b"theirs", f"the other bucket after {raw[:40]}")
        equal(t.s3.request("DELETE", path).status, 204, f"delete {raw[:40]}")
        equal(t.s3.get(OTHER, "theirs").body, b"theirs", f"the other bucket after the delete of {raw[:40]}")
    for raw in ("%00", "a%00b", "%ff", "%c0%ae%c0%ae", "%ed%a0%80", "%f5%80%80%80", "a%"):
        headers = t.s3.sign("PUT", f"/{B}/{raw if raw != 'a%' else 'a'}", "", {"content-length": "1"}, "UNSIGNED-PAYLOAD")
        response = t.send(t.s3.head("PUT", f"/{B}/{raw}", headers), body=b"x")
        equal((response.status, response.code), (400, "InvalidURI"), raw)
    equal(t.s3.request("PUT", f"/{B}/" + "k" * 1025, body=b"x").code, "KeyTooLongError", "1,025 bytes")
    for source in (f"/{B}/../{OTHER}/theirs", f"/{B}/%2e%2e/{OTHER}/theirs", f"../{OTHER}/theirs", f"/{B}/a%00b"):
        response = t.s3.request("PUT", f"/{B}/victim", headers={"x-amz-copy-source": source})
        true(response.status in (400, 404), f"copy of {source}: {response}")
    body = f"<Delete><Object><Key>../{OTHER}/theirs</Key></Object><Object><Key>/{OTHER}/theirs</Key></Object></Delete>".encode()
    equal(t.s3.request("POST", f"/{B}", "delete=", body, {"content-md5": md5_base64(body)}).status, 200, "delete many")


def metadata_names(t):
    """A presigned parameter can name metadata with bytes that no header has."""
    row = next(r for r in t.rows if r.name == "PutObject")
    for raw in ("a%0d%0aevil", "a%20b", "a%3ab", "a%00b", "%c3%a9", "a%7f", ""):
        target = t.s3.presign("PUT", f"/{B}/victim", 60, query=f"x-amz-meta-{raw}=1")
        response = t.send(t.s3.head("PUT", target, {**t.host, "content-length": "1"}), "PUT", b"x")
        refused(response, row, 400, "InvalidArgument", f"x-amz-meta-{raw}")
    target = t.s3.presign("PUT", f"/{B}/victim", 60, query="x-amz-meta-ok=1%0d%0aSet-Cookie:x&x-amz-meta-fine=2")
    equal(t.send(t.s3.head("PUT", target, {**t.host, "content-length": "1"}), "PUT", b"x").status, 200, "a value that is no header")
    response = t.s3.get(B, "victim")
    equal((response.headers.get("x-amz-meta-fine"), response.headers.get("x-amz-missing-meta")), ("2", "1"), "what comes back")
    true("set-cookie" not in response.headers, "a header was injected")
    t.s3.delete(B, "victim")


def overrides_cannot_break_headers(t):
    """A18."""
    for name in ("content-type", "content-language", "expires", "cache-control", "content-disposition", "content-encoding"):
        for raw in ("a%0d%0aEvil:%201", "a%0aEvil:1", "a%00b", "a%7fb", "%01"):
            response = t.s3.request("GET", f"/{B}/good", f"response-{name}={raw}")
            equal((response.status, response.code), (400, "InvalidArgument"), f"response-{name}={raw}")
        true("evil" not in response.headers, "a header was injected")
        equal(t.s3.request("GET", f"/{B}/good", f"response-{name}=a%20b").headers.get(name), "a b", f"response-{name}")


def reflected_input(t):
    """What an answer repeats of the request stays text of that answer."""
    for path, query in ((f"/{B}/%0d%0aEvil:%201", ""), (f"/{B}/%3CCode%3EOk%3C%2FCode%3E", ""), (f"/{B}", "max-keys=%3C%2FError%3E"),
                        (f"/{B}/good", "versionId=%0d%0aEvil:1"), (f"/{B}/good", "partNumber=%3Cx%3E"), (f"/{B}",
                                "encoding-type=%0d%0aEvil:1")):
        response = t.s3.request("GET", path, query)
        true(400 <= response.status < 500, f"{path}?{query}: {response}")
        true("evil" not in response.headers, f"{path}?{query}: a header was injected")
        true(response.code and response.code != "Ok", f"{path}?{query}: {response}")
    key = "<a>&\"'\r\n"
    equal(t.s3.put(B, key, b"1").status, 200, "put")
    equal(t.s3.request("GET", f"/{B}", "list-type=2&prefix=" + quote("<a>")).values("Key"), [key], "a key full of XML")
    t.s3.delete(B, key)


def xml_costs_little(t):
    """A17: deep nesting, entities and DTDs are refused without cost."""
    before = t.server.memory_bytes()
    for body in (b"<a>" * 400000, b"<Delete>" * 200000, b"<Delete><Object><Key>" + b"&#x41;" * 200000,
            b"<Delete " + b"a='1' " * 100000 + b"/>",
                 b'<!DOCTYPE a [' + b'<!ENTITY a "b">' * 10000 + b"]><Delete/>", b"<?xml " + b"x" * 1000000, b"<!--" * 200000):
        start = time.monotonic()
        response = t.s3.request("POST", f"/{B}", "delete=", body, {"content-md5": md5_base64(body)})
        equal((response.status, response.code), (400, "MalformedXML"), f"{body[:20]!r}...")
        true(time.monotonic() - start < 5, f"{body[:20]!r}... took {time.monotonic() - start:.1f} s")
    grown = t.server.memory_bytes() - before
    true(grown < 128 << 20, f"bad XML cost {grown >> 20} MiB")


def many_sockets(t, count, data):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < count + 200:
        raise Skip(f"this machine allows {hard} file descriptors, {count + 200} are needed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    socks = []
    for i in range(count):
        sock = socket.create_connection(("127.0.0.1", t.server.port), timeout=10)
        sock.sendall(data(i))
        socks.append(sock)
    return socks


def half_sent_heads(t):
    """A19: 5,000 clients that never end their head do not slow the others down."""
    socks = many_sockets(t, 5000, lambda i: b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
    worst = 0
    for _ in range(50):
        start = time.monotonic()
        equal(t.s3.get(B, "good").status, 200, "get")
        worst = max(worst, time.monotonic() - start)
    for sock in socks:
        sock.close()
    true(worst < 2, f"a GET took {worst:.1f} s")


def slow_uploads(t):
    """Clients that hardly send may not keep the memory that the uploads of others wait for."""
    def head(i):
        headers = t.s3.sign("PUT", f"/{B}/slow{i}", "", {"content-length": str(50 << 20)}, "UNSIGNED-PAYLOAD")
        return t.s3.head("PUT", f"/{B}/slow{i}", headers) + b"x" * 1000
    socks = many_sockets(t, SLOW_CLIENTS, head)
    time.sleep(0.5)
    before = t.server.metric(HELD)
    s3 = t.server.s3(timeout=60)
    for size in (100000, 1 << 20, 10 << 20):
        start = time.monotonic()
        equal(s3.put(B, "quick", bytes(size)).status, 200, f"put of {size} bytes")
        true(time.monotonic() - start < 20, f"a put of {size} bytes took {time.monotonic() - start:.1f} s")
    s3.delete(B, "quick")
    true(before > 100 << 20, f"{SLOW_CLIENTS} slow clients held {before >> 20} MiB: they prove nothing")
    for sock in socks:
        sock.close()
    deadline = time.monotonic() + 30
    while t.server.metric(HELD) > 0:
        true(time.monotonic() < deadline, f"{t.server.metric(HELD)} bytes stay held after the slow clients left")
        time.sleep(0.2)
