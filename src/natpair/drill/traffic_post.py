"""One POST to the agent's control socket, with the time just before it was sent: the start of a planned event.

A node's `/run` is its own, so the drill runs this inside the node. It connects first, waits for a line on
standard input, and only then posts: the start of Python is not part of the measurement.
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import time
from collections.abc import Sequence
from http.client import HTTPConnection

from natpair.drill.traffic_common import say


class UnixConnection(HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket's path instead of a host."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def main(argv: Sequence[str] | None = None) -> None:
    """Post once per line of standard input, until it closes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("socket")
    parser.add_argument("path")
    parser.add_argument("--body", default="{}")
    parser.add_argument("--timeout", type=float, default=30.0)
    options = parser.parse_args(argv)
    say({"ready": True})
    for _ in sys.stdin:
        connection = UnixConnection(options.socket, options.timeout)
        started = time.monotonic_ns()
        try:
            connection.request("POST", options.path, options.body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            body = json.loads(answer.read() or b"{}")
            status = answer.status
        except (OSError, ValueError) as error:
            status, body = 0, {"message": str(error)}
        finally:
            connection.close()
        say({"posted_ns": started, "answered_ns": time.monotonic_ns(), "status": status, "body": body})


if __name__ == "__main__":
    main()
