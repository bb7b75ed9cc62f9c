"""The TCP server on the internet host: echo, periodic push and rate-limited bulk on several ports.

Right after accept the server sends the address and port that it sees. Every echo and push repeats them, so that a
client notices a changed mapping. One process and one epoll hold all flows.
"""

from __future__ import annotations

import argparse
import contextlib
import select
import socket
import time
from collections.abc import Sequence

from natpair_lab.drill.traffic_common import (
    FRAME,
    KIND_BULK,
    KIND_PUSH,
    MAX_OPEN_FILES,
    TCP_PORTS,
    Commands,
    allow_open_files,
    pack_frame,
    raise_priority,
    say,
    unpack_frame,
)

TICK_SECONDS = 0.02
PUSH_EVERY_TICKS = 10
BACKLOG = 4096


class Peer:
    """One accepted connection."""

    __slots__ = ("address", "kind", "link", "pending", "port")

    def __init__(self, link: socket.socket, address: str, port: int) -> None:
        self.link = link
        self.address = socket.inet_aton(address)
        self.port = port
        self.kind = -1
        self.pending = b""

    def send(self, kind: int, stamp: int) -> None:
        """Send one frame; the next read event handles a full or dead socket."""
        with contextlib.suppress(OSError):
            self.link.send(pack_frame(kind, stamp, self.address, self.port))

    def frames(self, data: bytes) -> list[tuple[int, int]]:
        """Kind and stamp of each complete frame among the bytes received so far."""
        data = self.pending + data
        whole = len(data) - len(data) % FRAME.size
        self.pending = data[whole:]
        parsed = (unpack_frame(data[at : at + FRAME.size]) for at in range(0, whole, FRAME.size))
        return [(frame.kind, frame.stamp) for frame in parsed if frame is not None]


class Server:
    """All listeners and connections of one process."""

    def __init__(self, listeners: Sequence[socket.socket], bulk_bytes_per_tick: int) -> None:
        self.poller = select.epoll()
        self.listeners = {listener.fileno(): listener for listener in listeners}
        self.peers: dict[int, Peer] = {}
        self.pushed: dict[int, Peer] = {}
        self.bulk: dict[int, Peer] = {}
        self.filler = bytes(bulk_bytes_per_tick)
        for descriptor in self.listeners:
            self.poller.register(descriptor, select.EPOLLIN)

    def serve(self, commands: Commands) -> None:
        """Serve until stopped."""
        self.poller.register(commands.fileno(), select.EPOLLIN)
        tick, due = 0, time.monotonic()
        while True:
            busy = self.pushed or self.bulk
            timeout = max(0.0, due - time.monotonic()) if busy else 1.0
            for descriptor, _ in self.poller.poll(timeout, 256):
                if descriptor == commands.fileno():
                    if "stop" in commands.read():
                        return
                elif descriptor in self.listeners:
                    self._accept(self.listeners[descriptor])
                else:
                    self._read(self.peers[descriptor])
            if time.monotonic() >= due:
                due, tick = time.monotonic() + TICK_SECONDS, tick + 1
                self._tick(tick)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                link, (address, port) = listener.accept()
            except BlockingIOError:
                return
            except OSError:  # the connection ended while it waited in the backlog
                continue
            link.setblocking(False)
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer = Peer(link, address, port)
            self.peers[link.fileno()] = peer
            self.poller.register(link.fileno(), select.EPOLLIN)
            peer.send(0, 0)

    def _read(self, peer: Peer) -> None:
        try:
            data = peer.link.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._forget(peer)
            return
        for kind, stamp in peer.frames(data):
            if peer.kind < 0:
                self._begin(peer, kind)
            if kind not in (KIND_BULK, KIND_PUSH):
                peer.send(kind, stamp)

    def _begin(self, peer: Peer, kind: int) -> None:
        peer.kind = kind
        if kind == KIND_PUSH:
            self.pushed[peer.link.fileno()] = peer
        elif kind == KIND_BULK:
            self.bulk[peer.link.fileno()] = peer

    def _forget(self, peer: Peer) -> None:
        descriptor = peer.link.fileno()
        self.poller.unregister(descriptor)
        for table in (self.peers, self.pushed, self.bulk):
            table.pop(descriptor, None)
        peer.link.close()

    def _tick(self, tick: int) -> None:
        for peer in self.bulk.values():
            with contextlib.suppress(OSError):
                peer.link.send(self.filler)
        # A tenth of the push flows each tick: one message per 200 ms and flow, without one large burst.
        now = time.monotonic_ns()
        for descriptor, peer in self.pushed.items():
            if descriptor % PUSH_EVERY_TICKS == tick % PUSH_EVERY_TICKS:
                peer.send(KIND_PUSH, now)


def listen(bind: str, port: int) -> socket.socket:
    """A listening socket with a backlog long enough for thousands of flows that open at once.

    Several servers may share its port: the kernel spreads the connections over them.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.setblocking(False)
    listener.bind((bind, port))
    listener.listen(BACKLOG)
    return listener


def main(argv: Sequence[str] | None = None) -> None:
    """Run the server until standard input closes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bind", default="0.0.0.0")  # noqa: S104 - any address of the host, inside the lab
    parser.add_argument("--bulk-mbit", type=float, default=5.0, help="rate of each bulk flow")
    parser.add_argument("--priority", type=int, default=0)
    options = parser.parse_args(argv)
    allow_open_files(MAX_OPEN_FILES)
    listeners = [listen(options.bind, port) for port in TCP_PORTS]
    server = Server(listeners, int(options.bulk_mbit * 1e6 / 8 * TICK_SECONDS))
    say({"ready": True, "real_time": raise_priority(options.priority)})
    server.serve(Commands())


if __name__ == "__main__":
    main()
