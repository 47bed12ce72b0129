"""aws-cli of Debian (version 2): high-level s3 and s3api commands."""
import json
import os
import subprocess

from counter import equal, true
from process import fill_tree, need, run as execute, same_tree


def run(server, counter):
    counter.case("awscli: installed", lambda: need("aws"))
    if os.path.exists("/usr/bin/aws"):
        commands(server, counter, "awscli", ["/usr/bin/aws"], {})


def commands(server, counter, label, program, extra_env):
    env = dict(server.client_environment(), AWS_CONFIG_FILE=os.path.join(server.base, "aws-config"), **extra_env)
    with open(env["AWS_CONFIG_FILE"], "w", encoding="utf-8") as f:
        f.write("[default]\ns3 =\n    signature_version = s3v4\n")  # version 1 would presign with version 2 signatures
    base = program + ["--endpoint-url", server.url, "--output", "json"]
    work = os.path.join(server.base, label)
    os.makedirs(work, exist_ok=True)

    def aws(*arguments, **options):
        return execute(base + list(arguments), env, cwd=work, **options)

    def api(*arguments, **options):
        text = aws("s3api", *arguments, **options)
        return json.loads(text) if text.strip() else {}

    def version():
        print(execute(program + ["--version"], env).strip())

    def buckets():
        aws("s3", "mb", f"s3://{label}-b")
        true(f"{label}-b" in aws("s3", "ls"), "not listed")
        api("head-bucket", "--bucket", f"{label}-b")

    def copy_files():
        for name, size in (("small", 11), ("big", 40 << 20)):
            with open(os.path.join(work, name), "wb") as f:
                f.write(os.urandom(size))
            aws("s3", "cp", name, f"s3://{label}-b/{name}")
            aws("s3", "cp", f"s3://{label}-b/{name}", name + ".back")
            with open(os.path.join(work, name), "rb") as a, open(os.path.join(work, name + ".back"), "rb") as b:
                true(a.read() == b.read(), f"{name} differs")
        # tags are not offered; version 2 asks for the source's tags before a copy in parts unless it is told not to
        props = []
        if "/usr/bin/aws" in program:
            props = ["--copy-props", "metadata-directive"]
            done = subprocess.run(base + ["s3", "cp", f"s3://{label}-b/big", f"s3://{label}-b/big copy"], env=env, cwd=work,
                                  capture_output=True, text=True, timeout=300)
            true(done.returncode == 1 and "NotImplemented" in done.stderr and "GetObjectTagging" in done.stderr,
                 f"not what README and docs/S3.md say: {done.stderr}")
            equal(api("list-multipart-uploads", "--bucket", f"{label}-b").get("Uploads", []), [], "uploads left by it")
        aws("s3", "cp", f"s3://{label}-b/big", f"s3://{label}-b/big copy", *props)
        equal(api("head-object", "--bucket", f"{label}-b", "--key", "big copy")["ContentLength"], 40 << 20, "size")

    def sync():
        fill_tree(os.path.join(work, "tree"), 1, [0, 1, 1000, 70000, 3 << 20] * 4)
        aws("s3", "sync", "tree", f"s3://{label}-b/tree")
        aws("s3", "sync", f"s3://{label}-b/tree", "tree.back")
        same_tree(os.path.join(work, "tree"), os.path.join(work, "tree.back"))
        equal(aws("s3", "sync", "tree", f"s3://{label}-b/tree").strip(), "", "second sync")

    def details():
        with open(os.path.join(work, "d"), "wb") as f:
            f.write(b"0123456789")
        api("put-object", "--bucket", f"{label}-b", "--key", "d", "--body", "d", "--metadata", "a=1,b=zwei",
            "--content-type", "text/x-test", "--cache-control", "no-cache")
        head = api("head-object", "--bucket", f"{label}-b", "--key", "d")
        equal(head["Metadata"], {"a": "1", "b": "zwei"}, "metadata")
        equal((head["ContentType"], head["CacheControl"]), ("text/x-test", "no-cache"), "system metadata")
        api("get-object", "--bucket", f"{label}-b", "--key", "d", "--range", "bytes=2-4", "d.range")
        equal(open(os.path.join(work, "d.range"), "rb").read(), b"234", "range")
        listed = api("list-objects-v2", "--bucket", f"{label}-b", "--delimiter", "/")
        true({"Prefix": "tree/"} in listed["CommonPrefixes"], "common prefix")
        page = api("list-objects-v2", "--bucket", f"{label}-b", "--page-size", "2")
        equal(len(page["Contents"]), 24, "keys over pages")

    def longest_keys():
        for i in range(3):
            api("put-object", "--bucket", f"{label}-b", "--key", f"{i}" + "%" * 1023)
        for operation in ("list-objects", "list-objects-v2"):
            page = api(operation, "--bucket", f"{label}-b", "--page-size", "1", "--query", "Contents[?ends_with(Key, '%%')].Key")
            equal(page, [f"{i}" + "%" * 1023 for i in range(3)], operation)

    def presigned():
        url = aws("s3", "presign", f"s3://{label}-b/d").strip()
        equal(execute(["curl", "-s", "-S", "--fail", "--noproxy", "*", url], env), "0123456789", "presigned body")

    def missing():
        aws("s3api", "get-object", "--bucket", f"{label}-b", "--key", "nothing", "x", status=254 if "/usr/bin/aws" in program
            else None)
        text = execute(base + ["s3", "ls", f"s3://{label}-none"], env, cwd=work, status=None)
        equal(text, "", "listing of a bucket that is not there")

    def remove():
        aws("s3", "rb", f"s3://{label}-b", "--force")
        true(f"{label}-b" not in aws("s3", "ls"), "still listed")

    for name, function in (("version", version), ("mb, ls, head-bucket", buckets),
                           ("cp up, down and across, with multipart", copy_files), ("sync both ways", sync),
                           ("metadata, ranges, listings", details), ("pages of the longest keys", longest_keys), ("presigned URL", presigned),
                           ("what is missing", missing), ("rb --force", remove)):
        counter.case(f"{label}: {name}", function)
