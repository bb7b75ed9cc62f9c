"""Echo requests to every address given, until all have answered: warms neighbour caches and proves a path.

Run as a file inside a host, `ping.py SECONDS ADDRESS…`, standard library only (a fresh Debian has no ping).
Exit status 0 if all answered in time, else 1 with the silent ones on stdout.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import sys
import time

_ECHO_REQUEST, _ECHO_REPLY = 8, 0
_AGAIN_SECONDS = 0.1


def checksum(data: bytes) -> int:
    """The Internet checksum of RFC 1071."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def request(identifier: int) -> bytes:
    """An ICMP echo request (RFC 792)."""
    head = struct.pack("!BBHHH", _ECHO_REQUEST, 0, 0, identifier, 1)
    return struct.pack("!BBHHH", _ECHO_REQUEST, 0, checksum(head), identifier, 1)


def is_reply(packet: bytes, identifier: int) -> bool:
    """Whether an IPv4 packet is the answer to `request(identifier)`."""
    icmp = packet[(packet[0] & 0x0F) * 4 :]
    return len(icmp) >= 8 and icmp[0] == _ECHO_REPLY and int.from_bytes(icmp[4:6]) == identifier


def silent(addresses: list[str], seconds: float) -> set[str]:
    """Ask all `addresses` again and again; those that have not answered after `seconds`."""
    identifier = os.getpid() & 0xFFFF
    waiting, end = set(addresses), time.monotonic() + seconds
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as icmp:
        while waiting and time.monotonic() < end:
            for address in waiting:
                try:
                    icmp.sendto(request(identifier), (address, 0))
                except OSError:
                    continue  # no neighbour or no route yet; it is asked again
            again = time.monotonic() + _AGAIN_SECONDS
            while waiting and (rest := again - time.monotonic()) > 0:
                if select.select([icmp], [], [], rest)[0]:
                    packet, (sender, _) = icmp.recvfrom(2048)
                    if is_reply(packet, identifier):
                        waiting.discard(sender)
    return waiting


def main(arguments: list[str]) -> int:
    """Ping, and say who stayed silent."""
    missing = silent(arguments[1:], float(arguments[0]))
    sys.stdout.write("".join(f"{address}\n" for address in sorted(missing)))
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
