"""rclone: sync both ways, check by hash, moves and server-side copies."""
import os

from counter import equal, true
from process import fill_tree, need, run as execute, same_tree


def run(server, counter):
    if not counter.case("rclone: installed", lambda: need("rclone")):
        return
    env = dict(server.client_environment(), RCLONE_CONFIG_C_TYPE="s3", RCLONE_CONFIG_C_PROVIDER="Other",
               RCLONE_CONFIG_C_ACCESS_KEY_ID=server.access, RCLONE_CONFIG_C_SECRET_ACCESS_KEY=server.secret,
               RCLONE_CONFIG_C_ENDPOINT=server.url, RCLONE_CONFIG_C_REGION="us-east-1", RCLONE_RETRIES="1",
               RCLONE_CONFIG=os.path.join(server.base, "rclone.conf"))
    open(env["RCLONE_CONFIG"], "w").close()
    source, target = os.path.join(server.base, "rc-src"), os.path.join(server.base, "rc-dst")

    def sync():
        fill_tree(source, 4, [0, 3, 5000, 150000, 12 << 20] * 4)
        execute(["rclone", "mkdir", "c:rclone-b"], env)
        execute(["rclone", "sync", source, "c:rclone-b/t", "--s3-chunk-size", "5M", "--s3-upload-cutoff", "6M"], env)
        execute(["rclone", "check", source, "c:rclone-b/t"], env)
        execute(["rclone", "check", "--download", source, "c:rclone-b/t"], env)

    def back():
        execute(["rclone", "sync", "c:rclone-b/t", target], env)
        same_tree(source, target)

    def change():
        os.remove(os.path.join(source, "d0", "sub", "file-0.bin"))
        fill_tree(os.path.join(source, "new"), 5, [77, 777])
        execute(["rclone", "sync", source, "c:rclone-b/t"], env)
        execute(["rclone", "check", source, "c:rclone-b/t"], env)
        execute(["rclone", "copy", "c:rclone-b/t", "c:rclone-b/u"], env)
        execute(["rclone", "check", "c:rclone-b/t", "c:rclone-b/u"], env)
        execute(["rclone", "moveto", "c:rclone-b/u", "c:rclone-b/v"], env)
        equal(execute(["rclone", "lsf", "c:rclone-b"], env).split(), ["t/", "v/"], "folders")

    def odd_names():
        for name in ("plain", "two  spaces", "ümläut", "plus+sign", "hash#mark", "quote'", "per%20cent", "日本"):
            execute(["rclone", "rcat", f"c:rclone-b/odd/{name}"], env, stdin=name)
            equal(execute(["rclone", "cat", f"c:rclone-b/odd/{name}"], env), name, name)
        true(len(execute(["rclone", "lsf", "c:rclone-b/odd"], env).split("\n")) == 9, "names listed")

    def longest_keys():
        s3 = server.s3()
        for i in range(3):
            equal(s3.put("rclone-b", f"long/{i}" + "%" * 1018, b"").status, 200, "put")
        for version in ("1", "2"):
            listed = execute(["rclone", "lsf", "c:rclone-b/long", "--s3-list-chunk", "1", "--s3-list-version", version], env)
            equal(listed.split(), [f"{i}" + "%" * 1018 for i in range(3)], f"listing, version {version}")

    def purge():
        execute(["rclone", "purge", "c:rclone-b"], env)
        equal(execute(["rclone", "lsd", "c:"], env), "", "buckets")

    for name, function in (("sync, check, check --download", sync), ("sync back", back),
                           ("changes, server-side copy, move", change), ("odd names", odd_names),
                           ("pages of the longest keys", longest_keys), ("purge", purge)):
        counter.case(f"rclone: {name}", function)
