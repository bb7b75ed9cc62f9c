"""ARP on one interface (RFC 826): requests, replies, and gratuitous ARP for the VIP (RFC 5944 4.6).

Also the probe of RFC 5227: whether another machine already has an address.
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Interface

from natpair.core import packets
from natpair.system import links

PROBES = 3
PROBE_SECONDS = 0.5
"""Seconds. Shorter than RFC 5227's 1 to 2 s, which are for links slower than a VLAN."""
_BUFFER_BYTES = 64 * 1024
_QUEUE = 512
"""Frames read at once: more than a socket's default buffer holds, and a limit if a flood is as fast as our reading."""


@dataclass(frozen=True, slots=True)
class Heard:
    """An ARP frame's sender; `reply` if the frame is a reply."""

    address: IPv4Address
    mac: bytes
    reply: bool


class ArpPort:
    """A packet socket for ARP on `interface`, speaking as `address`. OSError if the interface is missing."""

    def __init__(self, interface: str, address: IPv4Address) -> None:
        self._interface = interface
        self._address = address
        # Read before the socket is opened, so that a change in between is noticed.
        found = links.identity(interface)
        if found is None:
            raise OSError(errno.ENODEV, f"there is no {interface}")
        self._identity = found
        self.mac = packets.mac_bytes(found.mac)
        self.socket = socket.socket(
            socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(packets.ETH_ARP)
        )
        # A small buffer: in a flood the socket is not read for a while, and the frames read next should not be old.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        try:
            self.socket.bind((interface, packets.ETH_ARP))
        except OSError:
            self.socket.close()
            raise

    @property
    def stale(self) -> bool:
        """True if the interface was replaced, has another MAC, or is gone."""
        return links.identity(self._interface) != self._identity

    def ask(self, targets: Iterable[IPv4Address]) -> None:
        """Broadcast a request for each target. A link that is down loses them."""
        for target in targets:
            self._send(packets.ARP_REQUEST, self._address, target)

    def doubt(self, address: IPv4Address) -> None:
        """Ask who else has `address`, without a claim to it (RFC 5227 2.1.1)."""
        self._send(packets.ARP_REQUEST, IPv4Address(0), address)

    def claim(self, vip: IPv4Address) -> None:
        """Announce the VIP at this node: a gratuitous request and a gratuitous reply."""
        self._send(packets.ARP_REQUEST, vip, vip)
        self._send(packets.ARP_REPLY, vip, vip, packets.BROADCAST)

    def _send(self, operation: int, sender: IPv4Address, target: IPv4Address, target_mac: bytes = b"\0" * 6) -> None:
        with contextlib.suppress(OSError):
            self.socket.send(packets.arp(self.mac, operation, sender, target, target_mac))

    def heard(self) -> list[Heard]:
        """The senders heard since the last call, except this node. In a flood only what the queue held."""
        frames: list[Heard] = []
        with contextlib.suppress(OSError):
            for _ in range(_QUEUE):
                if (heard := parse(self.socket.recv(256))) is not None and heard.mac != self.mac:
                    frames.append(heard)
        return frames

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()


def parse(frame: bytes) -> Heard | None:
    """The sender of an Ethernet ARP frame; None for anything else and for address probes (RFC 5227)."""
    said = packets.read_arp(frame[14:]) if frame[12:14] == packets.ETH_ARP.to_bytes(2, "big") else None
    if said is None or said[0] not in {packets.ARP_REQUEST, packets.ARP_REPLY}:
        return None
    operation, mac, address, _ = said
    return None if int(address) == 0 else Heard(address, mac, operation == packets.ARP_REPLY)


def in_use_by(interface: str, own: IPv4Interface | IPv6Interface) -> str:
    """The machine that has `own` on the link of `interface`, as a MAC or in words; empty if none answers.

    IPv6 is left to the kernel's own duplicate address detection (RFC 4862) when the address is put there.
    """
    return _asked(interface, own.ip) if isinstance(own, IPv4Interface) else ""


def _asked(interface: str, address: IPv4Address) -> str:
    port = ArpPort(interface, IPv4Address(0))
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
