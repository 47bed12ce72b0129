"""A small S3 client of the standard library: signs by itself, sends exactly what it is told, reads what comes.

It exists so that tests can send what no SDK sends, and count only on what stands in this file. One object serves one
thread; a connection is kept alive and made anew after an error.
"""
import base64
import datetime
import hashlib
import hmac
import re
import socket
import urllib.parse
import zlib

EMPTY = hashlib.sha256(b"").hexdigest()
SAFE = "-_.~"


class Response:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def code(self):
        """The S3 error code of an XML body, or ''."""
        match = re.search(rb"<Code>([^<]*)</Code>", self.body)
        return match.group(1).decode() if match else ""

    def values(self, name):
        return [unescape(v) for v in re.findall(rb"<%b>([^<]*)</%b>" % (name.encode(), name.encode()), self.body)]

    def value(self, name):
        found = self.values(name)
        return found[0] if found else ""

    def __repr__(self):
        return f"<{self.status} {self.code} {len(self.body)} bytes>"


class Broken(Exception):
    """The connection ended before a whole response was there."""


def unescape(raw):
    text = raw.decode("utf-8", "replace")
    for name, char in (("&quot;", '"'), ("&lt;", "<"), ("&gt;", ">"), ("&#13;", "\r"), ("&#xD;", "\r"), ("&apos;", "'"),
                       ("&#39;", "'"), ("&amp;", "&")):
        text = text.replace(name, char)
    return text


def quote(text, safe=""):
    return urllib.parse.quote(text, safe=SAFE + safe)


def _hmac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def signing_key(secret, day, region):
    key = _hmac(("AWS4" + secret).encode(), day)
    for word in (region, "s3", "aws4_request"):
        key = _hmac(key, word)
    return key


def canonical_query(query):
    """`query` is raw: name=value&name, percent-encoded."""
    pairs = []
    for part in query.split("&") if query else []:
        name, _, value = part.partition("=")
        pairs.append((quote(urllib.parse.unquote_to_bytes(name)), quote(urllib.parse.unquote_to_bytes(value))))
    return "&".join(f"{n}={v}" for n, v in sorted(pairs))


class S3:
    def __init__(self, host, port, access, secret, region="us-east-1", timeout=60):
        self.host, self.port, self.access, self.secret, self.region = host, port, access, secret, region
        self.timeout = timeout
        self.sock = None
        self.rest = b""
        self.keep_open = False  # do not close by ourselves where the server announces that it will

    # ---- signing ----
    def sign(self, method, path, query, headers, payload, when=None):
        """Headers (lower-case names) with date, payload and Authorization added; path and query raw."""
        when = when or datetime.datetime.now(datetime.timezone.utc)
        stamp = when.strftime("%Y%m%dT%H%M%SZ")
        headers = dict(headers)
        headers.setdefault("host", f"{self.host}:{self.port}")
        headers.setdefault("x-amz-date", stamp)
        headers.setdefault("x-amz-content-sha256", payload)
        names = sorted(n for n in headers if n in ("host", "content-type") or n.startswith("x-amz-"))
        uri = quote(urllib.parse.unquote_to_bytes(path), safe="/")
        block = "".join(f"{n}:{' '.join(str(headers[n]).split())}\n" for n in names)
        canonical = "\n".join([method, uri, canonical_query(query), block, ";".join(names), payload])
        scope = f"{stamp[:8]}/{self.region}/s3/aws4_request"
        text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
        signature = hmac.new(signing_key(self.secret, stamp[:8], self.region), text.encode(), hashlib.sha256).hexdigest()
        headers["authorization"] = (f"AWS4-HMAC-SHA256 Credential={self.access}/{scope}, "
                                    f"SignedHeaders={';'.join(names)}, Signature={signature}")
        self.last_signature, self.last_stamp, self.last_scope = signature, stamp, scope
        return headers

    def presign(self, method, path, seconds, when=None, query=""):
        when = when or datetime.datetime.now(datetime.timezone.utc)
        stamp = when.strftime("%Y%m%dT%H%M%SZ")
        scope = f"{stamp[:8]}/{self.region}/s3/aws4_request"
        parts = [p for p in query.split("&") if p] + [
            "X-Amz-Algorithm=AWS4-HMAC-SHA256", "X-Amz-Credential=" + quote(f"{self.access}/{scope}"),
            "X-Amz-Date=" + stamp, f"X-Amz-Expires={seconds}", "X-Amz-SignedHeaders=host"]
        raw = "&".join(parts)
        uri = quote(urllib.parse.unquote_to_bytes(path), safe="/")
        canonical = "\n".join([method, uri, canonical_query(raw), f"host:{self.host}:{self.port}\n", "host",
                               "UNSIGNED-PAYLOAD"])
        text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
        key = signing_key(self.secret, stamp[:8], self.region)
        return f"{path}?{raw}&X-Amz-Signature={hmac.new(key, text.encode(), hashlib.sha256).hexdigest()}"

    def chunks(self, data, size=65536, trailer=None, spoil=None):
        """The aws-chunked form of data under the signature made last; spoil: number of a chunk to sign wrongly."""
        key = signing_key(self.secret, self.last_stamp[:8], self.region)
        previous, out, number = self.last_signature, [], 0
        for start in list(range(0, len(data), size)) + [len(data)]:
            piece = data[start:start + size]
            text = "\n".join(["AWS4-HMAC-SHA256-PAYLOAD", self.last_stamp, self.last_scope, previous, EMPTY,
                              hashlib.sha256(piece).hexdigest()])
            previous = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
            shown = "0" * 64 if spoil == number else previous
            out.append(b"%x;chunk-signature=%s\r\n" % (len(piece), shown.encode()) + piece)
            out.append(b"\r\n" if piece or trailer is None else b"")
            number += 1
        if trailer is not None:
            name, value = trailer
            line = f"{name}:{value}\n"
            text = "\n".join(["AWS4-HMAC-SHA256-TRAILER", self.last_stamp, self.last_scope, previous,
                              hashlib.sha256(line.encode()).hexdigest()])
            mark = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
            out.append(f"{name}:{value}\r\nx-amz-trailer-signature:{mark}\r\n\r\n".encode())
        return b"".join(out)

    # ---- connection ----
    def close(self):
        if self.sock is not None:
            self.sock.close()
        self.sock, self.rest = None, b""

    def connect(self):
        self.close()
        self.sock = socket.create_connection((self.host, self.port), timeout=self.timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.sock

    def _fill(self):
        try:
            got = self.sock.recv(1 << 18)
        except OSError as error:
            raise Broken(str(error)) from error
        if not got:
            raise Broken("connection closed")
        self.rest += got

    def _line(self):
        while b"\n" not in self.rest:
            self._fill()
        line, self.rest = self.rest.split(b"\n", 1)
        return line.rstrip(b"\r").decode("latin-1")

    def _exactly(self, count):
        parts, have = [self.rest[:count]], min(count, len(self.rest))
        self.rest = self.rest[count:]
        while have < count:
            self._fill()
            parts.append(self.rest[:count - have])
            have += len(parts[-1])
            self.rest = self.rest[len(parts[-1]):]
        return b"".join(parts)

    def read_response(self, method="GET"):
        """One whole response; Broken if it does not come."""
        while True:
            words = self._line().split(" ", 2)
            if len(words) < 2 or not words[0].startswith("HTTP/1."):
                raise Broken(f"no status line: {words}")
            status, headers = int(words[1]), {}
            while True:
                line = self._line()
                if not line:
                    break
                name, _, value = line.partition(":")
                headers[name.strip().lower()] = value.strip()
            if status >= 200:
                break
        body = b""
        if method != "HEAD" and status not in (204, 304):
            if "chunked" in headers.get("transfer-encoding", ""):
                parts = []
                while True:
                    size = int(self._line().split(";")[0], 16)
                    parts.append(self._exactly(size))
                    if size == 0:
                        while self._line():
                            pass
                        break
                    self._line()
                body = b"".join(parts)
            else:
                body = self._exactly(int(headers.get("content-length", "0")))
        if headers.get("connection", "").lower() == "close" and not self.keep_open:
            self.close()
        return Response(status, headers, body)

    def raw(self, data, method="GET", fresh=True):
        """Send bytes as they are, read one response."""
        if fresh or self.sock is None:
            self.connect()
        try:
            self.sock.sendall(data)
        except OSError:
            pass  # a refusal may wait in the receive buffer
        try:
            return self.read_response(method)
        except Broken:
            self.close()
            raise

    def head(self, method, target, headers):
        lines = [f"{method} {target} HTTP/1.1"] + [f"{n}: {v}" for n, v in headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")

    def request(self, method, path, query="", body=b"", headers=None, payload=None, when=None):
        """path and query percent-encoded. payload: x-amz-content-sha256 (default: the body's hash)."""
        headers = {k.lower(): v for k, v in (headers or {}).items()}
        headers = self.sign(method, path, query, headers, payload or hashlib.sha256(body).hexdigest(), when)
        if body or method in ("PUT", "POST"):
            headers.setdefault("content-length", str(len(body)))
        target = path + ("?" + query if query else "")
        reused = self.sock is not None
        data = self.head(method, target, headers) + body
        try:
            return self.raw(data, method, fresh=False)
        except Broken:
            if reused and method in ("GET", "HEAD"):  # a kept connection may have ended in between
                return self.raw(data, method)
            raise

    # ---- operations ----
    def make_bucket(self, bucket):
        return self.request("PUT", f"/{bucket}")

    def put(self, bucket, key, body, headers=None):
        return self.request("PUT", f"/{bucket}/{quote(key, '/')}", body=body, headers=headers)

    def get(self, bucket, key, headers=None):
        return self.request("GET", f"/{bucket}/{quote(key, '/')}", headers=headers)

    def stat(self, bucket, key):
        return self.request("HEAD", f"/{bucket}/{quote(key, '/')}")

    def delete(self, bucket, key):
        return self.request("DELETE", f"/{bucket}/{quote(key, '/')}")

    def list_all(self, bucket, prefix=""):
        """Every key (without characters that XML cannot carry); raises Broken on an error."""
        keys, token = [], ""
        while True:
            query = "list-type=2" + (f"&prefix={quote(prefix)}" if prefix else "") + \
                    (f"&continuation-token={quote(token)}" if token else "")
            response = self.request("GET", f"/{bucket}", query)
            if response.status != 200:
                raise Broken(f"listing: {response}")
            keys += response.values("Key")
            if response.value("IsTruncated") != "true":
                return keys
            token = response.value("NextContinuationToken")

    def multipart_put(self, bucket, key, parts):
        """Returns the response of the step that ended it: Complete's, or the first failure."""
        path = f"/{bucket}/{quote(key, '/')}"
        response = self.request("POST", path, "uploads=")
        if response.status != 200:
            return response
        upload = response.value("UploadId")
        listing = ""
        for number, part in enumerate(parts, 1):
            response = self.request("PUT", path, f"partNumber={number}&uploadId={quote(upload)}", part)
            if response.status != 200:
                return response
            listing += f"<Part><PartNumber>{number}</PartNumber><ETag>{response.headers['etag']}</ETag></Part>"
        return self.request("POST", path, f"uploadId={quote(upload)}",
                            f"<CompleteMultipartUpload>{listing}</CompleteMultipartUpload>".encode())


def crc32_base64(data):
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


def md5_base64(data):
    return base64.b64encode(hashlib.md5(data).digest()).decode()
