"""Echo requests (RFC 792) from an address that need not be local, and their answers.

It uses a packet socket. Its packets pass no ruleset and create no flow, and it receives replies for a FIP, which the
ruleset drops, on any interface. The kernel passes on only answers to our own requests.
"""

from __future__ import annotations

import contextlib
import ctypes
import secrets
import socket
import struct
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address

from natpair.core import packets

_SO_ATTACH_FILTER = 26
_OUTGOING = 4
_IP_BYTES = 20
_ICMP = struct.Struct("!BBHHH")
_TOKEN_BYTES = 16
_QUEUE = 256
_TTL = 64
_LOAD_BYTE, _LOAD_HALF_AT_X, _LOAD_BYTE_AT_X, _LOAD_HEADER_LENGTH = 0x30, 0x48, 0x50, 0xB1
_LOAD_HALF, _EQUAL, _ANY_BIT, _JUMP, _RETURN = 0x28, 0x15, 0x45, 0x05, 0x06


class Kind(IntEnum):
    """The ICMP types that are used."""

    REPLY = 0
    UNREACHABLE = 3
    REQUEST = 8
    EXCEEDED = 11


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer: `sender` answered a request of `asker` to `target`. REQUEST: our own request, routed back to us."""

    kind: Kind
    code: int
    sender: IPv4Address
    asker: IPv4Address
    target: IPv4Address


def _program(number: int) -> list[tuple[int, int, int, int]]:
    """A classic BPF filter: ICMP of the four types, no fragment, with our identifier, or with it in the
    quoted packet.
    """
    return [
        (_LOAD_BYTE, 0, 0, 9),
        (_EQUAL, 0, 13, socket.IPPROTO_ICMP),
        (_LOAD_HALF, 0, 0, 6),
        (_ANY_BIT, 11, 0, 0x1FFF),
        (_LOAD_HEADER_LENGTH, 0, 0, 0),
        (_LOAD_BYTE_AT_X, 0, 0, 0),
        (_EQUAL, 5, 0, Kind.REPLY),
        (_EQUAL, 4, 0, Kind.REQUEST),
        (_EQUAL, 1, 0, Kind.UNREACHABLE),
        (_EQUAL, 0, 5, Kind.EXCEEDED),
        (_LOAD_HALF_AT_X, 0, 0, 8 + 20 + 4),
        (_JUMP, 0, 0, 1),
        (_LOAD_HALF_AT_X, 0, 0, 4),
        (_EQUAL, 0, 1, number),
        (_RETURN, 0, 0, 0xFFFF),
        (_RETURN, 0, 0, 0),
    ]


class EchoPort:
    """Sends on `interface`, receives on all. OSError without permission."""

    def __init__(self, interface: str) -> None:
        self._interface = interface
        self._number = secrets.randbelow(0xFFFF) + 1
        self._token = secrets.token_bytes(_TOKEN_BYTES)
        self._count = 0
        kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        self.socket = socket.socket(socket.AF_PACKET, kind, socket.htons(packets.ETH_IPV4))
        try:
            self._attach(_program(self._number))
        except OSError:
            self.socket.close()
            raise

    def _attach(self, program: list[tuple[int, int, int, int]]) -> None:
        code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in program))
        self.socket.setsockopt(
            socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(program), ctypes.addressof(code))
        )

    def ask(self, asker: IPv4Address, target: IPv4Address, next_hop: bytes, ttl: int = _TTL) -> None:
        """Send one echo request to the MAC `next_hop`. A link that is down or gone loses it."""
        self._count = (self._count + 1) & 0xFFFF
        data = request(asker, target, self._number, self._count, self._token, ttl)
        with contextlib.suppress(OSError):
            self.socket.sendto(data, (self._interface, packets.ETH_IPV4, 0, 0, next_hop))

    def heard(self) -> list[Answer]:
        """The answers since the last call."""
        found: list[Answer] = []
        with contextlib.suppress(OSError):
            for _ in range(_QUEUE):
                data, address = self.socket.recvfrom(2048)
                if address[2] != _OUTGOING and (answer := parse(data, self._number, self._token)) is not None:
                    found.append(answer)
        return found

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()


def request(asker: IPv4Address, target: IPv4Address, number: int, count: int, token: bytes, ttl: int = _TTL) -> bytes:
    """The IPv4 packet of an echo request."""
    icmp = packets.echo_request(number, count, token)
    return packets.ipv4(asker, target, packets.ICMP, icmp, ttl=ttl, identification=count)


def parse(data: bytes, number: int, token: bytes) -> Answer | None:
    """The answer in an IPv4 packet; None unless it belongs to a request with this number, and token if it has one."""
    if len(data) < _IP_BYTES or data[0] >> 4 != 4:
        return None
    start = (data[0] & 0xF) * 4
    if data[9] != socket.IPPROTO_ICMP or len(data) < start + _ICMP.size:
        return None
    kind, code, _sum, named, _count = _ICMP.unpack_from(data, start)
    sender, receiver = IPv4Address(data[12:16]), IPv4Address(data[16:20])
    rest = data[start + _ICMP.size :]
    if kind in {Kind.REPLY, Kind.REQUEST}:
        if named != number or not rest.startswith(token):
            return None
        asker, target = (receiver, sender) if kind == Kind.REPLY else (sender, receiver)
        return Answer(Kind(kind), code, sender, asker, target)
    if kind not in {Kind.UNREACHABLE, Kind.EXCEEDED} or len(rest) < _IP_BYTES + _ICMP.size:
        return None
    if rest[0] != 0x45 or _ICMP.unpack_from(rest, _IP_BYTES)[3] != number or rest[12:16] != receiver.packed:
        return None
    return Answer(Kind(kind), code, sender, receiver, IPv4Address(rest[16:20]))
