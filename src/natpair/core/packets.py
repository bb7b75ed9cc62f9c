"""Packets that natpair, its probe and its lab write or read. Pure, standard library only: it can be shipped."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address

ETH_IPV4, ETH_ARP, ETH_IPV6 = 0x0800, 0x0806, 0x86DD
ICMP, TCP, UDP, VRRP = 1, 6, 17, 112
BROADCAST = b"\xff" * 6
ARP_REQUEST, ARP_REPLY = 1, 2
ECHO_REPLY, ECHO_REQUEST = 0, 8
BGP_PORT = 179
BGP_MARKER = b"\xff" * 16
OPEN, UPDATE, NOTIFICATION, KEEPALIVE = 1, 2, 3, 4

_ARP = struct.Struct("!HHBBH6s4s6s4s")
_CAPABILITIES = 2


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total >> 16) + (total & 0xFFFF)
    return ~total & 0xFFFF


def summed(data: bytes, at: int, pseudo: bytes = b"") -> bytes:
    """`data` with its checksum, and that of the pseudo header before it, at the offset where it holds two zeros."""
    return data[:at] + struct.pack("!H", checksum(pseudo + data)) + data[at + 2 :]


def packed(address: str | IPv4Address) -> bytes:
    """An IPv4 address as four bytes."""
    return (address if isinstance(address, IPv4Address) else IPv4Address(address)).packed


def mac_bytes(mac: str) -> bytes:
    """A hardware address as six bytes."""
    return bytes.fromhex(mac.replace(":", ""))


def ipv4(
    source: str | IPv4Address,
    target: str | IPv4Address,
    protocol: int,
    payload: bytes,
    *,
    ttl: int = 64,
    identification: int = 0,
    fragment: int = 0,
) -> bytes:
    """An IPv4 packet (RFC 791); `fragment` is the flags-and-offset field."""
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), identification, fragment, ttl, protocol, 0)
    return summed(head + packed(source) + packed(target), 10) + payload


def udp(source_port: int, target_port: int, payload: bytes) -> bytes:
    """A UDP datagram without checksum (RFC 768 allows 0)."""
    return struct.pack("!HHHH", source_port, target_port, 8 + len(payload), 0) + payload


def over_ipv4(source: str, target: str, protocol: int, body: bytes, at: int) -> bytes:
    """What IPv4 carries, with the checksum at `at` over a pseudo header as well, as TCP and VRRPv3 have it."""
    return summed(body, at, packed(source) + packed(target) + struct.pack("!BBH", 0, protocol, len(body)))


def vrrp(source: str, target: str, router_id: int, priority: int, address: str, centiseconds: int) -> bytes:
    """A VRRPv3 advertisement of one address (RFC 9568 section 5.1)."""
    body = struct.pack("!BBBBHH", 0x31, router_id, priority, 1, centiseconds, 0) + packed(address)
    return over_ipv4(source, target, VRRP, body, 6)


def echo_request(number: int, count: int, token: bytes = b"") -> bytes:
    """An ICMP echo request (RFC 792)."""
    return summed(struct.pack("!BBHHH", ECHO_REQUEST, 0, 0, number, count) + token, 2)


def arp(
    mac: bytes,
    operation: int,
    sender: str | IPv4Address,
    target: str | IPv4Address,
    target_mac: bytes = b"\0" * 6,
) -> bytes:
    """A broadcast Ethernet frame of ARP (RFC 826); gratuitous if sender and target are the same (RFC 5227)."""
    body = _ARP.pack(1, ETH_IPV4, 6, 4, operation, mac, packed(sender), target_mac, packed(target))
    return BROADCAST + mac + struct.pack("!H", ETH_ARP) + body


def read_arp(payload: bytes) -> tuple[int, bytes, IPv4Address, IPv4Address] | None:
    """Operation, hardware address, sender and target of an ARP packet for IPv4 over Ethernet; None if it is none."""
    if len(payload) < _ARP.size:
        return None
    *kind, operation, mac, sender, _, target = _ARP.unpack_from(payload)
    return (operation, mac, IPv4Address(sender), IPv4Address(target)) if kind == [1, ETH_IPV4, 6, 4] else None


def bgp_message(kind: int, body: bytes = b"") -> bytes:
    """One BGP message (RFC 4271 section 4.1)."""
    return BGP_MARKER + struct.pack("!HB", 19 + len(body), kind) + body


def bgp_capabilities(parameters: bytes) -> tuple[int, ...]:
    """The codes of the capabilities in an OPEN's optional parameters (RFC 5492), each once, in order."""
    codes: set[int] = set()
    while len(parameters) >= 2:
        kind, length = parameters[0], parameters[1]
        body, parameters = parameters[2 : 2 + length], parameters[2 + length :]
        while kind == _CAPABILITIES and len(body) >= 2:
            codes.add(body[0])
            body = body[2 + body[1] :]
    return tuple(sorted(codes))
