#!/usr/bin/python3
"""Real S3 clients against a server of their own, on free ports, fresh directories and random keys.

    tests/clients/run_clients.py [--cluster] [NAME...]      NAME as in client_NAME.py; default: all

--cluster: each against a cluster of its own instead, with two gateways behind haproxy as deploy/haproxy sets it up; client
`gateways` is for that only.

Each client_NAME.py has run(server, counter), and where it needs them SERVER_ARGS (options) and VOTERS (of a cluster). A client
that cannot be had here is skipped, loudly. Debian's own python3 runs this, because Debian's boto3 belongs to it. CAIRN_BINARY names another
binary, CAIRN_TEST_KEEP=1 keeps the files.
"""
import importlib
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path[:0] = [HERE, os.path.join(HERE, "lib")]

from balanced import Balanced, haproxy  # noqa: E402
from counter import Counter, equal  # noqa: E402
from server import Server  # noqa: E402

ORDER = ["smoke", "bad_input", "auth_matrix", "boto3", "botocore_current", "awscli", "awscli_current", "js", "s3cmd", "rclone", "restic",
         "git_annex", "minio_go", "docker_registry"]


def main():
    names = sys.argv[1:]
    cluster = "--cluster" in names
    names = [name for name in names if name != "--cluster"] or (["gateways"] if cluster else []) + ORDER
    suite = "clients behind haproxy" if cluster else "clients"
    counter = Counter(suite)
    if cluster and not counter.case("haproxy: installed", haproxy):
        counter.finish()
    for name in names:
        module = importlib.import_module("client_" + name)
        print(f"-- {name}", flush=True)

        def one(module=module, name=name):
            args = getattr(module, "SERVER_ARGS", [])
            with Balanced(args, getattr(module, "VOTERS", 1)) if cluster else Server(args=args) as server:
                module.run(server, counter)
                if not server.alive():
                    raise AssertionError(f"the server ended by itself:\n{server.log_tail()}")
                counter.case(f"{name}: the server ends with 0 on SIGTERM", lambda: equal(server.stop(), 0, "status"))
        before = counter.failed
        try:
            one()
        except Exception as error:
            counter.failed += 1
            print(f"FAILED {suite}: {name}: {type(error).__name__}: {error}", flush=True)
        if counter.failed > before:
            print(f"-- {name}: {counter.failed - before} failed", flush=True)
    counter.finish()


main()
