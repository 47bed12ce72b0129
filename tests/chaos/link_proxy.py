"""TCP links between the processes of a cluster that can be stalled, delayed and cut, each direction by itself.

Each process that others reach advertises a port of this proxy. Who connects is found by the connection's own end: its port
in /proc/net/tcp, that socket among the descriptors of the cluster's processes, and the word after --name. A stalled
direction passes nothing, not even the end of the stream; what was stalled arrives when it is healed, late but in order, as
TCP would have it. Runs in a process of its own, so that it does not wait for the workers.
"""
import asyncio
import multiprocessing
import os
import socket

PIECE = 1 << 16


def listener():
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    sock.listen(128)
    return sock


def inode_of(local, remote):
    """The inode of the socket whose own end is `local`."""
    wanted = f"0100007F:{local:04X} 0100007F:{remote:04X} "
    with open("/proc/net/tcp", encoding="ascii") as table:
        for line in table:
            if wanted in line:
                return line.split()[9]
    return None


def name_of(folder, local, remote):
    """The process of the cluster below `folder` that owns the socket; "" for a stranger."""
    inode = inode_of(local, remote)
    for pid in os.listdir("/proc") if inode else []:
        if not pid.isdigit():
            continue
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                words = file.read().decode(errors="replace").split("\0")
            if "--name" not in words or not any(word.startswith(folder) for word in words):
                continue
            for fd in os.listdir(f"/proc/{pid}/fd"):
                if os.readlink(f"/proc/{pid}/fd/{fd}") == f"socket:[{inode}]":
                    return words[words.index("--name") + 1]
        except OSError:
            continue
    return ""


class _Proxy:
    def __init__(self, folder):
        self.folder, self.stalled, self.delays = folder, set(), {}
        self.links, self.changed = {}, asyncio.Event()
        self.counts = {"connections": 0, "strangers": 0, "bytes": 0}

    def rules_changed(self):
        self.changed.set()
        self.changed = asyncio.Event()

    async def passing(self, source, target):
        while (source, target) in self.stalled:
            await self.changed.wait()
        delay = self.delays.get((source, target), 0)
        if delay:
            await asyncio.sleep(delay)

    async def pump(self, reader, writer, source, target):
        try:
            while True:
                piece = await reader.read(PIECE)
                await self.passing(source, target)
                if not piece:
                    writer.write_eof()
                    return
                self.counts["bytes"] += len(piece)
                writer.write(piece)
                await writer.drain()
        except (OSError, RuntimeError):
            writer.transport.abort()

    async def serve(self, target, port, reader, writer):
        own = writer.get_extra_info("sockname")[1]
        peer = writer.get_extra_info("peername")[1]
        source = name_of(self.folder, peer, own)
        self.counts["connections"] += 1
        self.counts["strangers"] += source == ""
        writers = [writer]
        self.links.setdefault((source, target), []).append(writers)
        try:
            await self.passing(source, target)
            await self.passing(target, source)
            back_reader, back_writer = await asyncio.open_connection("127.0.0.1", port)
            writers.append(back_writer)
            for one in writers:
                one.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.gather(self.pump(reader, back_writer, source, target), self.pump(back_reader, writer, target, source))
        except OSError:
            pass
        finally:
            self.links[source, target].remove(writers)
            for one in writers:
                one.transport.abort()

    def command(self, words):
        verb = words[0]
        if verb == "stall":
            self.stalled.add(words[1:3])
        elif verb == "pass":
            self.stalled.discard(words[1:3])
            self.delays.pop(words[1:3], None)
        elif verb == "delay":
            self.delays[words[1:3]] = words[3]
        elif verb == "heal":
            self.stalled.clear()
            self.delays.clear()
        elif verb == "cut":
            for link in (words[1:3], (words[2], words[1])):
                for writers in self.links.get(link, []):
                    for one in writers:
                        one.transport.abort()
        self.rules_changed()
        return dict(self.counts)

    async def run(self, targets, pipe):
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def heard():
            try:
                pipe.send(self.command(pipe.recv()))
            except EOFError:
                done.set()
        loop.add_reader(pipe.fileno(), heard)
        servers = []
        for name, (sock, port) in targets.items():
            def served(reader, writer, name=name, port=port):
                return self.serve(name, port, reader, writer)
            servers.append(await asyncio.start_server(served, sock=sock))
        await done.wait()


def _main(folder, targets, pipe, other):
    other.close()
    async def begin():
        await _Proxy(folder).run(targets, pipe)
    asyncio.run(begin())


class LinkProxy:
    """targets: {name: (listening socket, port of the process)}. Every call returns the counts so far."""

    def __init__(self, folder, targets):
        self.pipe, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=_main, args=(folder, targets, theirs, self.pipe), daemon=True)
        self.process.start()
        theirs.close()

    def tell(self, *words):
        self.pipe.send(words)
        if not self.pipe.poll(30):
            raise RuntimeError("the proxy does not answer")
        return self.pipe.recv()

    def stall(self, source, target):
        return self.tell("stall", source, target)

    def delay(self, source, target, seconds):
        return self.tell("delay", source, target, seconds)

    def restore(self, source, target):
        return self.tell("pass", source, target)

    def cut(self, one, other):
        return self.tell("cut", one, other)

    def heal(self):
        return self.tell("heal")

    def close(self):
        self.pipe.close()
        self.process.join(5)
        if self.process.is_alive():
            self.process.terminate()
