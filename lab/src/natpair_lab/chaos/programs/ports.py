"""Opens many flows to one destination from few source ports, until a FIP has no free ports. Standard library only.

The kernel maps a source port below 512 to one of the 511 ports there. Run as `ports.py TARGET SECONDS ADDRESS…` with
local addresses: the program sends from all of these ports of each address to the discard port of TARGET.
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import time

_PORTS = range(1, 512)
_DISCARD = 9
_PAUSE_SECONDS = 0.3


def opened(address: str) -> list[socket.socket]:
    """A socket for each free port of `address`."""
    found = []
    for port in _PORTS:
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            udp.bind((address, port))
        except OSError:
            udp.close()
            continue
        found.append(udp)
    return found


def main() -> None:
    """Send until the time is over."""
    target, seconds, addresses = sys.argv[1], float(sys.argv[2]), sys.argv[3:]
    sockets = [udp for address in addresses for udp in opened(address)]
    end, sent = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        for udp in sockets:
            with contextlib.suppress(OSError):
                sent += udp.sendto(b"x", (target, _DISCARD))
        time.sleep(_PAUSE_SECONDS)
    sys.stdout.write(json.dumps({"sent": sent}) + "\n")


if __name__ == "__main__":
    main()
