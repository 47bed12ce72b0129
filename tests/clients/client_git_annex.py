"""git-annex: its own test of a remote, and a file moved there and back.

Its S3 library signs the host name without the port, and makes up a region from the host name: it can only talk to a server
on port 80 or 443 that accepts every region. So a forwarder listens on port 80 of a loopback address of its own.
"""
import os
import socket
import threading

from counter import Skip, true
from process import need, run as execute

SERVER_ARGS = ["--any-region"]
HOST = "127.0.0.77"


def pump(source, target):
    try:
        while True:
            data = source.recv(1 << 16)
            if not data:
                break
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def forward(port):
    """Port 80 of HOST to the server; the listener, for its end."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, 80))
    except OSError as error:
        raise Skip(f"port 80 of {HOST} cannot be had ({error.strerror}), and git-annex signs for no other") from error
    listener.listen(50)

    def serve():
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", port))
            for pair in ((client, server), (server, client)):
                threading.Thread(target=pump, args=pair, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    return listener


def run(server, counter):
    if not counter.case("git-annex: installed", lambda: need("git-annex") and need("git")):
        return
    repo = os.path.join(server.base, "annex")
    env = dict(server.client_environment(), GIT_AUTHOR_NAME="t", GIT_AUTHOR_EMAIL="t@t", GIT_COMMITTER_NAME="t",
               GIT_COMMITTER_EMAIL="t@t", LANG="C.UTF-8")

    listeners = []
    if not counter.case("git-annex: reachable on port 80", lambda: listeners.append(forward(server.port))):
        return

    def make():
        execute(["git", "init", "-q", repo], env)
        execute(["git", "annex", "init", "test"], env, cwd=repo)
        execute(["git", "config", "annex.security.allowed-ip-addresses", "all"], env, cwd=repo)
        execute(["git", "annex", "initremote", "cairn", "type=S3", f"host={HOST}", "port=80",
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
    listeners[0].close()
