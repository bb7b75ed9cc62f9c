"""Reads capture files and parses the few protocols that a drill checks. Pure: bytes in, records out.

Captures are made with `tcpdump -i any`. Its link type LINUX_SLL2 records for each packet the switch port and the
direction: what comes *in* at a switch port has *left* the host behind it.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from natpair.core.packets import BGP_MARKER, ETH_ARP, ETH_IPV4, ETH_IPV6, NOTIFICATION, UPDATE, read_arp

LINKTYPE_LINUX_SLL2 = 276
_PACKET_OUTGOING = 4
_SLL2 = struct.Struct("!HHIHBB8s")
_FRACTION_NS = {0xA1B2C3D4: 1000, 0xA1B23C4D: 1}
_ICMP_UNREACHABLE = 3
_ICMP_FRAG_NEEDED = 4


@dataclass(frozen=True, slots=True)
class Packet:
    """One captured packet. `leaving_host` is the view of the host behind the port, not of the switch."""

    time_ns: int
    interface: int
    leaving_host: bool
    source_mac: str
    ethertype: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Ipv4:
    """The fields of an IPv4 packet that are checked."""

    source: str
    destination: str
    protocol: int
    identification: int
    payload: bytes


class ResetKind(StrEnum):
    """The messages that tell an endpoint that its flow is dead."""

    TCP_RST = "tcp-rst"
    ICMP_UNREACHABLE = "icmp-unreachable"


@dataclass(frozen=True, slots=True)
class Reset:
    """A RST or an ICMP unreachable, with the flow that it is about.

    NAT rewrites one endpoint, leaves the other, and never changes the sequence number (or the embedded IP
    identification). So `source`, `destination` and `tag` find the same message on the other side. `sender` and
    `receiver` are the addresses of the packet itself.
    """

    kind: ResetKind
    source: str
    destination: str
    tag: int
    sender: str
    receiver: str


@dataclass(frozen=True, slots=True)
class Advert:
    """One VRRP advertisement; priority 0 means that the sender gives up the role (RFC 9568 5.2.4)."""

    source: str
    router_id: int
    priority: int


@dataclass(frozen=True, slots=True)
class Arp:
    """One ARP packet; it is gratuitous if its sender and its target address are the same."""

    operation: int
    sender_mac: str
    sender: str
    target: str

    @property
    def gratuitous(self) -> bool:
        """Whether the sender announces its own address instead of asking or answering."""
        return self.sender == self.target


@dataclass(frozen=True, slots=True)
class Update:
    """One BGP UPDATE, or the end of a session (`closed`), as its sender put it on the wire."""

    announced: tuple[str, ...] = ()
    withdrawn: tuple[str, ...] = ()
    communities: tuple[str, ...] = ()
    med: int | None = None
    closed: bool = False


def read_packets(data: bytes) -> Iterator[Packet]:
    """All complete packets of a capture file; a torn last one is left out. ValueError if the file is not a capture."""
    if len(data) < 24:
        return
    order = "<" if struct.unpack_from("<I", data)[0] in _FRACTION_NS else ">"
    magic, link_type = struct.unpack_from(order + "I16xI", data)
    if magic not in _FRACTION_NS or link_type & 0xFFFF != LINKTYPE_LINUX_SLL2:
        raise ValueError("not a LINUX_SLL2 capture")
    header = struct.Struct(order + "IIII")
    at = 24
    while at + header.size <= len(data):
        seconds, fraction, captured, _ = header.unpack_from(data, at)
        at += header.size
        if at + captured > len(data):
            return
        packet = _packet(seconds * 1_000_000_000 + fraction * _FRACTION_NS[magic], data[at : at + captured])
        at += captured
        if packet is not None:
            yield packet


def _packet(time_ns: int, frame: bytes) -> Packet | None:
    if len(frame) < _SLL2.size:
        return None
    ethertype, _, interface, _, direction, length, address = _SLL2.unpack_from(frame)
    mac = address[:length].hex(":") if length == 6 else ""
    return Packet(time_ns, interface, direction != _PACKET_OUTGOING, mac, ethertype, frame[_SLL2.size :])


def ipv4(packet: Packet) -> Ipv4 | None:
    """The packet's IPv4 layer; None if it has none or is truncated."""
    return _ipv4(packet.payload) if packet.ethertype == ETH_IPV4 else None


def _ipv4(data: bytes) -> Ipv4 | None:
    if len(data) < 20 or data[0] >> 4 != 4:
        return None
    header = (data[0] & 15) * 4
    if header < 20 or len(data) < header:
        return None
    length, identification = struct.unpack_from("!HH", data, 2)
    end = min(len(data), length) if length >= header else len(data)
    source, destination = (str(ipaddress.IPv4Address(data[at : at + 4])) for at in (12, 16))
    return Ipv4(source, destination, data[9], identification, data[header:end])


def reset(packet: Packet) -> Reset | None:
    """The packet as a reset; None if it is something else.

    ICMP "fragmentation needed" is a normal message of path MTU discovery, not a reset.
    """
    layer = ipv4(packet)
    if layer is None:
        return None
    if layer.protocol == 6 and len(layer.payload) >= 14 and layer.payload[13] & 0x04:
        source_port, destination_port, sequence = struct.unpack_from("!HHI", layer.payload)
        source, destination = f"{layer.source}:{source_port}", f"{layer.destination}:{destination_port}"
        return Reset(ResetKind.TCP_RST, source, destination, sequence, layer.source, layer.destination)
    if layer.protocol == 1 and len(layer.payload) >= 8 and layer.payload[0] == _ICMP_UNREACHABLE:
        return _unreachable(layer)
    return None


def _unreachable(layer: Ipv4) -> Reset | None:
    code = layer.payload[1]
    inner = _ipv4(layer.payload[8:])
    if code == _ICMP_FRAG_NEEDED or inner is None:
        return None
    ports = (
        struct.unpack_from("!HH", inner.payload) if inner.protocol in (6, 17) and len(inner.payload) >= 4 else (0, 0)
    )
    return Reset(
        ResetKind.ICMP_UNREACHABLE,
        f"{inner.source}:{ports[0]}",
        f"{inner.destination}:{ports[1]}",
        code << 16 | inner.identification,
        layer.source,
        layer.destination,
    )


def advert(packet: Packet) -> Advert | None:
    """The packet as a VRRP advertisement; None if it is something else."""
    layer = ipv4(packet)
    if layer is None or layer.protocol != 112 or len(layer.payload) < 8 or layer.payload[0] & 15 != 1:
        return None
    return Advert(layer.source, layer.payload[1], layer.payload[2])


def arp(packet: Packet) -> Arp | None:
    """The packet as ARP for IPv4 over Ethernet; None if it is something else."""
    said = read_arp(packet.payload) if packet.ethertype == ETH_ARP else None
    return None if said is None else Arp(said[0], said[1].hex(":"), str(said[2]), str(said[3]))


def updates(packet: Packet) -> Iterator[Update]:
    """The BGP UPDATEs and session ends that begin in this packet (IPv6 or IPv4, port 179 on either side)."""
    segment = _tcp_segment(packet)
    if len(segment) < 20 or 179 not in struct.unpack_from("!HH", segment):
        return
    if segment[13] & 0x05:  # FIN or RST
        yield Update(closed=True)
        return
    data = segment[(segment[12] >> 4) * 4 :]
    while len(data) >= 19 and data[:16] == BGP_MARKER:
        length, kind = struct.unpack_from("!HB", data, 16)
        if length < 19:
            return
        if kind == UPDATE and length <= len(data):
            yield _update(data[19:length])
        elif kind == NOTIFICATION:
            yield Update(closed=True)
        data = data[length:]


def _tcp_segment(packet: Packet) -> bytes:
    if packet.ethertype == ETH_IPV6 and len(packet.payload) >= 40 and packet.payload[6] == 6:
        length = struct.unpack_from("!H", packet.payload, 4)[0]
        return packet.payload[40 : 40 + length]
    layer = ipv4(packet)
    return layer.payload if layer is not None and layer.protocol == 6 else b""


def _update(body: bytes) -> Update:
    """One UPDATE (RFC 4271 4.3) with IPv4 reachability in the classic fields or in MP_REACH (RFC 4760, 8950)."""
    try:
        return _parse_update(body)
    except (struct.error, IndexError, ValueError):
        return Update()


def _parse_update(body: bytes) -> Update:
    withdrawn_length = struct.unpack_from("!H", body)[0]
    attributes_at = 2 + withdrawn_length
    attributes_length = struct.unpack_from("!H", body, attributes_at)[0]
    withdrawn = list(_prefixes(body[2:attributes_at]))
    announced = list(_prefixes(body[attributes_at + 2 + attributes_length :]))
    communities: tuple[str, ...] = ()
    med = None
    for kind, value in _attributes(body[attributes_at + 2 : attributes_at + 2 + attributes_length]):
        if kind == 4:
            med = struct.unpack("!I", value)[0]
        elif kind == 8:
            communities = tuple(f"{high}:{low}" for high, low in struct.iter_unpack("!HH", value))
        elif kind == 14 and value[:3] == b"\x00\x01\x01":
            announced += _prefixes(value[5 + value[3] :])
        elif kind == 15 and value[:3] == b"\x00\x01\x01":
            withdrawn += _prefixes(value[3:])
    return Update(tuple(announced), tuple(withdrawn), communities, med)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 3 <= len(data):
        wide = bool(data[at] & 0x10)
        length = struct.unpack_from("!H" if wide else "!B", data, at + 2)[0]
        start = at + (4 if wide else 3)
        yield data[at + 1], data[start : start + length]
        at = start + length


def _prefixes(data: bytes) -> Iterator[str]:
    at = 0
    while at < len(data):
        bits = data[at]
        size = (bits + 7) // 8
        if bits > 32:
            raise ValueError("prefix longer than an IPv4 address")
        raw = data[at + 1 : at + 1 + size].ljust(4, b"\0")
        yield f"{ipaddress.IPv4Address(raw)}/{bits}"
        at += 1 + size
