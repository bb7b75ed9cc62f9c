"""Sends the stream that measures the outage: numbered datagrams at a fixed rate, and when each echo came back.

Times are CLOCK_MONOTONIC nanoseconds, which all namespaces of a machine share. `state` on standard input is answered
with the send time of the newest packet that was echoed. `stop` ends the stream, waits for echoes in flight (at most
`LOST_AFTER_NS`) and prints the whole record.
"""

from __future__ import annotations

import argparse
import select
import socket
import time
from array import array
from collections.abc import Sequence

from natpair_lab.drill.traffic_common import DATAGRAM, MAGIC, UDP_PORT, Commands, raise_priority, say

LOST_AFTER_NS = 1_000_000_000
MAX_BURST = 50


class Stream:
    """One echo stream: what was sent, what came back, and the source address that the server saw."""

    def __init__(self, link: socket.socket, interval_ns: int) -> None:
        self.link = link
        self.interval_ns = interval_ns
        self.sent = array("q")
        self.received = array("q")
        self.seen: list[tuple[int, str]] = []
        self.socket_errors = 0
        self.newest_echoed = 0
        self._next_ns = time.monotonic_ns()

    def wait_seconds(self, now_ns: int) -> float:
        """How long until the next packet is due."""
        return max(0, self._next_ns - now_ns) / 1e9

    def send_due(self) -> None:
        """Send what is due. After a stall the stream catches up, so that the average rate holds over the run."""
        for _ in range(MAX_BURST):
            now = time.monotonic_ns()
            if now < self._next_ns:
                return
            self._next_ns += self.interval_ns
            packet = DATAGRAM.pack(MAGIC, len(self.sent), now, b"\0\0\0\0", 0)
            self.sent.append(now)
            self.received.append(0)
            try:
                self.link.send(packet)
            except OSError:  # counts as sent and never answered, as a client would see it
                self.socket_errors += 1
        self._next_ns = time.monotonic_ns()

    def receive(self) -> None:
        """Read all echoes that wait in the socket."""
        while True:
            try:
                data = self.link.recv(2048)
            except BlockingIOError:
                return
            except OSError:  # an ICMP unreachable arrived; the packet that it is about stays unanswered
                self.socket_errors += 1
                continue
            if len(data) >= DATAGRAM.size and data[:4] == MAGIC:
                self._note(data, time.monotonic_ns())

    def _note(self, data: bytes, now: int) -> None:
        _, sequence, stamp, address, port = DATAGRAM.unpack_from(data)
        if sequence >= len(self.sent) or self.received[sequence]:
            return
        self.received[sequence] = now
        self.newest_echoed = max(self.newest_echoed, stamp)
        seen = f"{socket.inet_ntoa(address)}:{port}"
        if not self.seen or self.seen[-1][1] != seen:
            self.seen.append((now, seen))

    def record(self) -> dict[str, object]:
        """All that was measured, as plain JSON values."""
        return {
            "udp": {
                "sent_ns": self.sent.tolist(),
                "received_ns": self.received.tolist(),
                "seen": self.seen,
                "socket_errors": self.socket_errors,
            }
        }


def stream(stream: Stream, commands: Commands) -> None:
    """Send and receive until stopped."""
    watched: list[socket.socket | Commands] = [stream.link, commands]
    while True:
        timeout = stream.wait_seconds(time.monotonic_ns())
        readable, _, _ = select.select(watched, [], [], timeout)
        if stream.link in readable:
            stream.receive()
        stream.send_due()
        if commands not in readable:
            continue
        for line in commands.read():
            if line == "stop":
                return
            say({"state": line, "newest_echoed_ns": stream.newest_echoed, "sent": len(stream.sent)})


def collect_rest(stream: Stream) -> None:
    """Wait for echoes in flight, but only until the last packet counts as lost."""
    deadline = time.monotonic_ns() + LOST_AFTER_NS
    while 0 in stream.received[-MAX_BURST:] and (left := deadline - time.monotonic_ns()) > 0:
        select.select([stream.link], [], [], left / 1e9)
        stream.receive()


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stream until `stop` arrives on standard input, or the input closes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("server")
    parser.add_argument("--port", type=int, default=UDP_PORT)
    parser.add_argument("--rate", type=float, default=505.0, help="packets a second")
    parser.add_argument("--priority", type=int, default=10)
    options = parser.parse_args(argv)
    link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    link.setblocking(False)
    link.connect((options.server, options.port))
    real_time = raise_priority(options.priority)
    flow = Stream(link, int(1e9 / options.rate))
    say({"ready": True, "real_time": real_time})
    stream(flow, Commands())
    collect_rest(flow)
    say(flow.record())


if __name__ == "__main__":
    main()
