"""The program that a classic node's scripts call in place of systemctl: `service.py restart NAME`, in a lab host.

It runs as a file and uses only the standard library. The lab's supervisor replaces systemd and does the same.

It has a module of its own because it is a program.
"""

from __future__ import annotations

import json
import socket
import sys

SOCKET = "/run/lab/init.sock"
_SECONDS = 15.0


def request(operation: str, service: str) -> bool:
    """Send a request to the supervisor of this host; returns whether it succeeded."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(_SECONDS)
        line.connect(SOCKET)
        line.sendall(json.dumps({"op": operation, "service": service}).encode() + b"\n")
        return bool(json.loads(line.makefile().readline() or "{}").get("ok"))


if __name__ == "__main__":
    sys.exit(0 if request(sys.argv[1], sys.argv[2]) else 1)
