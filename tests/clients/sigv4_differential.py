#!/usr/bin/env python3
"""Differential test of SigV4: botocore signs random requests, our door must accept each of them and
refuse each after one change. Usage: sigv4_differential.py path/to/sigv4_verify [count [seed]].
Exits 77 (skipped) without botocore."""
import random
import subprocess
import sys
import time
from urllib.parse import quote, urlsplit

try:
    import botocore
    from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials
except ImportError:
    print("skipped: no botocore")
    sys.exit(77)

KEYS = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
ALPHABET = "abcXYZ019-._~ /+%&=?#:;,!*'()[]@$\"<>\\^`{|}\u00e4\u2603\U0001f600"
BATCH = 20000  # requests signed and answered at a time: a million of them need no more memory
PARAMS = ["prefix", "marker", "delimiter", "max-keys", "versionId", "response-content-type", "x-id", "Zz", "a"]


def text(rng, most):
    return "".join(rng.choice(ALPHABET) for _ in range(rng.randrange(most)))


def request(rng):
    method = rng.choice(["GET", "PUT", "HEAD", "DELETE"])
    host = rng.choice(["localhost", "localhost:9000", "s3.example.test", "127.0.0.1:8080"])
    url = "http://" + host + "/bucket/k" + quote(text(rng, 24), safe="/~")
    names = rng.sample(PARAMS, rng.randrange(4))
    if names:
        url += "?" + "&".join(quote(n, safe="-_.~") + ("=" + quote(text(rng, 12), safe="-_.~")) for n in names)
    headers = {}
    for i in range(rng.randrange(4)):
        headers["x-amz-meta-" + rng.choice("abcDEF") + str(i)] = rng.choice(["v", "  two   words ", "a,b", "=", "x" * 50])
    if rng.random() < 0.3:
        headers["Content-Type"] = "text/plain; charset=utf-8"
    return AWSRequest(method=method, url=url, headers=headers, data=text(rng, 20).encode() if method == "PUT" else b"")


def line(signed, change):
    parts = urlsplit(signed.url)
    target = parts.path + ("?" + parts.query if parts.query else "")
    headers = [("Host", parts.netloc)] + [(k, v) for k, v in signed.headers.items()]
    method = signed.method
    if change == "method":
        method = "GET" if method != "GET" else "PUT"
    elif change == "path":
        target = target.replace("/bucket/k", "/bucket/l", 1)
    elif change == "query":
        target += ("&" if "?" in target else "?") + "added=1"
    elif change == "header":
        headers.append(("x-amz-meta-added", "1"))
    elif change == "host":
        headers[0] = ("Host", "other.test")
    fields = [method, target, str(int(time.time() * 1000))] + [k + ":" + v for k, v in headers]
    return "\t".join(fields)


def batch(verify, rng, count):
    """How many of `count` requests were to be accepted, and those that were answered otherwise."""
    lines, wanted = [], []
    for _ in range(count):
        signed = request(rng)
        signer = S3SigV4Auth if rng.random() < 0.6 else S3SigV4QueryAuth
        if signer is S3SigV4QueryAuth:
            signed.data = {}  # a presigned request has no body to sign
        signer(KEYS, "s3", "us-east-1").add_auth(signed)
        change = rng.choice([None, None, "method", "path", "query", "header", "host"])
        lines.append(line(signed, change))
        wanted.append(change is None)
    out = subprocess.run([verify], input="\n".join(lines) + "\n", stdout=subprocess.PIPE, check=True,
                         encoding="utf-8").stdout.splitlines()
    if len(out) != count:
        sys.exit(f"{len(out)} answers to {count} requests")
    return sum(wanted), [(a, b, l) for a, b, l in zip(out, wanted, lines) if (a == "None") != b]


def main():
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 2000
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    rng = random.Random(seed)
    accepted, bad = 0, []
    for done in range(0, count, BATCH):
        wanted, differ = batch(sys.argv[1], rng, min(BATCH, count - done))
        accepted += wanted
        bad += differ
    for code, want, one in bad[:5]:
        print("accepted" if code == "None" else "refused with " + code, "but wanted", want, "\n   ", one)
    print(f"{count} requests, {accepted} to accept, {count - accepted} to refuse, {len(bad)} differences "
          f"(seed {seed}, botocore {botocore.__version__})")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
