"""The outside view: numbered datagrams to the FIP, and who answers them. Shipped; standard library only.

Prints one JSON document: when each datagram was sent, and each answer with the node it is from. One clock, this
machine's, times everything, so that no clocks need to agree.
"""

from __future__ import annotations

import argparse
import json
import select
import socket
import sys
import time
from collections import deque
from typing import Any

from natpair.probe import wire

_LINGER_SECONDS = 0.3
_SECOND_NS = 1_000_000_000


class Stream:
    """Datagrams at a steady rate from several ports in turn, which a fabric that shares load spreads."""

    def __init__(self, target: str, port: int, rate: int, sources: int) -> None:
        self._target = (target, port)
        self._interval_ns = _SECOND_NS // rate
        self._sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(sources)]
        for line in self._sockets:
            line.setblocking(False)
            line.bind(("", 0))
        self._sent_ns: list[int] = []
        self._answers: list[list[int]] = []
        self._last: deque[int] = deque(maxlen=sources)

    def run(self, at_most_seconds: float, until: int | None) -> None:
        """Send until time is up, or, with `until`, until that node alone has answered once for each port."""
        begin = time.monotonic_ns()
        end, due = begin + int(at_most_seconds * _SECOND_NS), begin
        while (now := time.monotonic_ns()) < end and not self._reached(until):
            if now >= due:
                self._send()
                due = max(due + self._interval_ns, now - self._interval_ns)
            self._receive(max(0, due - time.monotonic_ns()) / _SECOND_NS)
        last = time.monotonic_ns() + int(_LINGER_SECONDS * _SECOND_NS)
        while (left := last - time.monotonic_ns()) > 0 and len(self._answers) < len(self._sent_ns):
            self._receive(left / _SECOND_NS)

    def document(self) -> dict[str, Any]:
        """All that was seen; answers as [sequence, received_ns, node, mark, elapsed_us, kind]."""
        return {"sent_ns": self._sent_ns, "answers": self._answers}

    def _reached(self, until: int | None) -> bool:
        return until is not None and len(self._last) == self._last.maxlen and set(self._last) == {until}

    def _send(self) -> None:
        sequence, now = len(self._sent_ns), time.monotonic_ns()
        self._sent_ns.append(now)
        try:
            line = self._sockets[sequence % len(self._sockets)]
            line.sendto(wire.Datagram(wire.ASK, sequence, now).pack(), self._target)
        except OSError:  # no route at this moment: nobody will answer it
            return

    def _receive(self, seconds: float) -> None:
        for line in select.select(self._sockets, [], [], seconds)[0]:
            try:
                data, sender = line.recvfrom(2048)
            except OSError:
                continue
            said = wire.unpack(data)
            if said is None or sender != self._target or said.kind == wire.ASK:
                continue
            self._answers.append([said.sequence, time.monotonic_ns(), said.node, said.mark, said.elapsed_us, said.kind])
            if said.kind == wire.ANSWER:
                self._last.append(said.node)


def main() -> int:
    """Run one stream."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("--port", type=int, default=wire.PORT)
    parser.add_argument("--rate", type=int, default=100)
    parser.add_argument("--sources", type=int, default=16)
    parser.add_argument("--at-most", type=float, required=True)
    parser.add_argument("--until", type=int)
    options = parser.parse_args()
    stream = Stream(options.target, options.port, options.rate, options.sources)
    stream.run(options.at_most, options.until)
    json.dump(stream.document(), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
