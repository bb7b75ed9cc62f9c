"""May an address be put on an interface, or has somebody else got it? Asked by ARP as RFC 5227 says."""

from __future__ import annotations

import select
import time
from ipaddress import IPv4Address, IPv4Interface, IPv6Interface

from natpair.system.arp import ArpPort

PROBES = 3
PROBE_SECONDS = 0.5
"""Shorter than RFC 5227's 1 to 2 s: those are for links slower than a VLAN."""
_NOBODY = IPv4Address(0)


def in_use_by(interface: str, own: IPv4Interface | IPv6Interface) -> str:
    """Who has `own` on the link of `interface`, as a MAC or in words; empty if nobody answers.

    IPv6 is left to the kernel's own duplicate address detection (RFC 4862) when the address is put there.
    """
    return _asked(interface, own.ip) if isinstance(own, IPv4Interface) else ""


def _asked(interface: str, address: IPv4Address) -> str:
    port = ArpPort(interface, _NOBODY)
    try:
        for _ in range(PROBES):
            port.ask([address])
            end = time.monotonic() + PROBE_SECONDS
            while (left := end - time.monotonic()) > 0:
                select.select([port.socket], [], [], left)
                for heard in port.heard():
                    if heard.address == address:
                        return f"{heard.mac.hex(':')} answers for {address}"
    finally:
        port.close()
    return ""
