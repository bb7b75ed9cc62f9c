"""ARP on one interface (RFC 826): who is there, is this one still there, and the VIP is here (RFC 5944 4.6)."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address

from natpair.system import links

_ETH_P_ARP = 0x0806
_BROADCAST = b"\xff" * 6
_FRAME = struct.Struct("!6s6sH HHBBH 6s4s6s4s")
_REQUEST, _REPLY = 1, 2
_BUFFER_BYTES = 64 * 1024
_QUEUE = 512
"""Frames read in one go: more than a socket's default buffer holds, and an end for a flood as fast as our reading."""


@dataclass(frozen=True, slots=True)
class Heard:
    """An ARP frame's sender; `reply` if it answered somebody."""

    address: IPv4Address
    mac: bytes
    reply: bool


class ArpPort:
    """A packet socket for ARP on `interface`, speaking as `address`. OSError if the interface is missing."""

    def __init__(self, interface: str, address: IPv4Address) -> None:
        self._interface = interface
        self._address = address
        # Before the socket: an interface that changes in between is then seen to have changed.
        found = links.identity(interface)
        if found is None:
            raise OSError(errno.ENODEV, f"there is no {interface}")
        self._identity = found
        self.mac = bytes.fromhex(found.mac.replace(":", ""))
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(_ETH_P_ARP))
        # Small: in a flood nobody reads for a while, and what is then read first should not be old.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        try:
            self.socket.bind((interface, _ETH_P_ARP))
        except OSError:
            self.socket.close()
            raise

    @property
    def stale(self) -> bool:
        """The interface of this name is another one by now, or has another MAC, or is gone."""
        return links.identity(self._interface) != self._identity

    def ask(self, targets: Iterable[IPv4Address]) -> None:
        """Broadcast a request for each target; a link that is down loses them, as it would any frame."""
        for target in targets:
            self._send(_BROADCAST, _REQUEST, self._address, target, b"\0" * 6)

    def doubt(self, address: IPv4Address) -> None:
        """Ask who else has `address`, without a claim to it (RFC 5227 2.1.1)."""
        self._send(_BROADCAST, _REQUEST, IPv4Address(0), address, b"\0" * 6)

    def claim(self, vip: IPv4Address) -> None:
        """Tell everybody that the VIP is here: a gratuitous request and a gratuitous reply."""
        self._send(_BROADCAST, _REQUEST, vip, vip, b"\0" * 6)
        self._send(_BROADCAST, _REPLY, vip, vip, _BROADCAST)

    def _send(self, to: bytes, operation: int, sender: IPv4Address, target: IPv4Address, target_mac: bytes) -> None:
        header = (to, self.mac, _ETH_P_ARP, 1, 0x0800, 6, 4, operation)
        frame = _FRAME.pack(*header, self.mac, sender.packed, target_mac, target.packed)
        with contextlib.suppress(OSError):
            self.socket.send(frame)

    def heard(self) -> list[Heard]:
        """The senders heard since the last call, ourselves excepted; of a flood, what the queue held."""
        frames: list[Heard] = []
        with contextlib.suppress(OSError):
            for _ in range(_QUEUE):
                if (heard := parse(self.socket.recv(256))) is not None and heard.mac != self.mac:
                    frames.append(heard)
        return frames

    def close(self) -> None:
        """Give the socket back."""
        self.socket.close()


def parse(frame: bytes) -> Heard | None:
    """The sender of an Ethernet ARP frame; None for anything else and for address probes (RFC 5227)."""
    if len(frame) < _FRAME.size:
        return None
    fields = _FRAME.unpack_from(frame)
    ethertype, hardware, protocol, operation = fields[2], fields[3], fields[4], fields[7]
    if (ethertype, hardware, protocol) != (_ETH_P_ARP, 1, 0x0800) or operation not in {_REQUEST, _REPLY}:
        return None
    address = IPv4Address(fields[9])
    return None if int(address) == 0 else Heard(address, fields[8], operation == _REPLY)
