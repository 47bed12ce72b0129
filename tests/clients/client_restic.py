"""restic: a repository on S3, backup, check of every byte, restore, comparison."""
import os

from counter import true
from process import fill_tree, need, run as execute, same_tree


def run(server, counter):
    if not counter.case("restic: installed", lambda: need("restic")):
        return
    env = dict(server.client_environment(), RESTIC_REPOSITORY=f"s3:{server.url}/restic-repo", RESTIC_PASSWORD="test-only",
               RESTIC_CACHE_DIR=os.path.join(server.base, "restic-cache"))
    source, target = os.path.join(server.base, "restic-src"), os.path.join(server.base, "restic-dst")

    def first():
        fill_tree(source, 2, [0, 5, 4000, 200000, 9 << 20] * 4)
        execute(["restic", "init"], env)
        execute(["restic", "backup", "."], env, cwd=source)
        execute(["restic", "check", "--read-data"], env)

    def second():
        fill_tree(os.path.join(source, "more"), 3, [1 << 20] * 5)
        execute(["restic", "backup", "."], env, cwd=source)
        execute(["restic", "restore", "latest", "--target", target], env)
        same_tree(source, target)

    def forget():
        execute(["restic", "forget", "--keep-last", "1", "--prune"], env)
        execute(["restic", "check", "--read-data"], env)
        true(len(execute(["restic", "snapshots", "--json"], env)) > 2, "no snapshot left")

    for name, function in (("init, backup, check --read-data", first), ("second backup, restore, compare", second),
                           ("forget and prune", forget)):
        counter.case(f"restic: {name}", function)
