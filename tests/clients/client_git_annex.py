"""git-annex: its own test of a remote, and a file moved there and back."""
import os

from counter import true
from process import need, run as execute

# The S3 library of this client makes up a region from the first part of the host name (here "127").
SERVER_ARGS = ["--any-region"]


def run(server, counter):
    if not counter.case("git-annex: installed", lambda: need("git-annex") and need("git")):
        return
    repo = os.path.join(server.base, "annex")
    env = dict(server.client_environment(), GIT_AUTHOR_NAME="t", GIT_AUTHOR_EMAIL="t@t", GIT_COMMITTER_NAME="t",
               GIT_COMMITTER_EMAIL="t@t", LANG="C.UTF-8")

    def make():
        execute(["git", "init", "-q", repo], env)
        execute(["git", "annex", "init", "test"], env, cwd=repo)
        execute(["git", "config", "annex.security.allowed-ip-addresses", "all"], env, cwd=repo)
        execute(["git", "annex", "initremote", "cairn", "type=S3", "host=127.0.0.1", f"port={server.port}",
                 "protocol=http", "requeststyle=path", "signature=v4", "datacenter=US", "bucket=annex-b",
                 "encryption=none", "partsize=6MiB", "autoenable=false"], env, cwd=repo)

    def remote_test():
        text = execute(["git", "annex", "testremote", "--fast", "cairn"], env, cwd=repo, timeout=600)
        true("All" in text and "tests passed" in text, text[-500:])

    def move():
        with open(os.path.join(repo, "file"), "wb") as f:
            f.write(os.urandom(13 << 20))
        execute(["git", "annex", "add", "file"], env, cwd=repo)
        execute(["git", "annex", "move", "file", "--to", "cairn"], env, cwd=repo)
        execute(["git", "annex", "get", "file"], env, cwd=repo)
        execute(["git", "annex", "fsck", "file"], env, cwd=repo)

    for name, function in (("initremote", make), ("testremote", remote_test), ("move there and back, fsck", move)):
        counter.case(f"git-annex: {name}", function)
