"""s3cmd: put, get, sync, multipart, move, delete."""
import os

from counter import equal, true
from process import fill_tree, need, run as execute, same_tree


def run(server, counter):
    if not counter.case("s3cmd: installed", lambda: need("s3cmd")):
        return
    env = server.client_environment()
    config = os.path.join(server.base, "s3cfg")
    with open(config, "w", encoding="utf-8") as f:
        f.write(f"[default]\naccess_key = {server.access}\nsecret_key = {server.secret}\nhost_base = 127.0.0.1:{server.port}\n"
                f"host_bucket = 127.0.0.1:{server.port}\nuse_https = False\nbucket_location = us-east-1\n"
                "multipart_chunk_size_mb = 5\nprogress_meter = False\nmax_retries = 1\n")
    source, target = os.path.join(server.base, "s3-src"), os.path.join(server.base, "s3-dst")

    def s3cmd(*arguments, **options):
        return execute(["s3cmd", "-c", config, *arguments], env, cwd=server.base, **options)

    def put_get():
        s3cmd("mb", "s3://s3cmd-b")
        for name, size in (("one", 10), ("multi", 12 << 20)):
            with open(os.path.join(server.base, name), "wb") as f:
                f.write(os.urandom(size))
            s3cmd("put", name, f"s3://s3cmd-b/{name}")
            s3cmd("get", "--force", f"s3://s3cmd-b/{name}", name + ".back")
            execute(["cmp", name, name + ".back"], env, cwd=server.base)
        true("s3://s3cmd-b/multi" in s3cmd("ls", "s3://s3cmd-b"), "not listed")
        true("File size" in s3cmd("info", "s3://s3cmd-b/one", status=None), "info shows no size")

    def sync():
        fill_tree(source, 6, [0, 3, 5000, 150000] * 3)
        s3cmd("sync", source + "/", "s3://s3cmd-b/tree/")
        s3cmd("sync", "s3://s3cmd-b/tree/", target + "/")
        same_tree(source, target)

    def longest_keys():
        s3 = server.s3()
        for i in range(1001):  # a page and one more
            equal(s3.put("s3cmd-b", f"long/{i:04}" + "%" * 1015, b"").status, 200, "put")
        equal(len(s3cmd("ls", "s3://s3cmd-b/long/").splitlines()), 1001, "keys listed")

    def move_delete():
        s3cmd("cp", "s3://s3cmd-b/one", "s3://s3cmd-b/two")
        s3cmd("mv", "s3://s3cmd-b/two", "s3://s3cmd-b/three")
        true("s3://s3cmd-b/two" not in s3cmd("ls", "s3://s3cmd-b"), "moved object is still there")
        s3cmd("del", "--recursive", "--force", "s3://s3cmd-b")
        s3cmd("rb", "s3://s3cmd-b")
        equal(s3cmd("ls").strip(), "", "buckets")

    for name, function in (("put, get, multipart", put_get), ("sync both ways", sync),
                           ("pages of the longest keys", longest_keys), ("cp, mv, del, rb", move_delete)):
        counter.case(f"s3cmd: {name}", function)
