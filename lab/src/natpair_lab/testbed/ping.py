"""Pings every given address until all have answered: fills neighbour caches and proves a path.

It runs inside a host, as `python -m natpair_lab.testbed.ping SECONDS ADDRESS…` (a fresh Debian has no ping). Exit
status 0 if all answered in time, else 1 with the other addresses on stdout.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import time

from natpair.core import packets

_AGAIN_SECONDS = 0.1


def is_reply(packet: bytes, identifier: int) -> bool:
    """Whether an IPv4 packet is the answer to our request with this number."""
    icmp = packet[(packet[0] & 0x0F) * 4 :]
    return len(icmp) >= 8 and icmp[0] == packets.ECHO_REPLY and int.from_bytes(icmp[4:6]) == identifier


def silent(addresses: list[str], seconds: float) -> set[str]:
    """Ping all `addresses` repeatedly; returns those that have not answered after `seconds`."""
    identifier = os.getpid() & 0xFFFF
    waiting, end = set(addresses), time.monotonic() + seconds
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as icmp:
        while waiting and time.monotonic() < end:
            for address in waiting:
                try:
                    icmp.sendto(packets.echo_request(identifier, 1), (address, 0))
                except OSError:
                    continue  # no neighbour or no route yet; it is sent again
            again = time.monotonic() + _AGAIN_SECONDS
            while waiting and (rest := again - time.monotonic()) > 0:
                if select.select([icmp], [], [], rest)[0]:
                    packet, (sender, _) = icmp.recvfrom(2048)
                    if is_reply(packet, identifier):
                        waiting.discard(sender)
    return waiting


def main(arguments: list[str]) -> int:
    """Ping, and print the addresses that did not answer."""
    missing = silent(arguments[1:], float(arguments[0]))
    sys.stdout.write("".join(f"{address}\n" for address in sorted(missing)))
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
