"""Builders of recorded runs and of packets, so that each test states only what it is about."""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import replace

from natpair.core.packets import ETH_ARP, ETH_IPV4, ETH_IPV6
from natpair_lab.drill.pcap import Advert, Packet, Reset, ResetKind, Update
from natpair_lab.drill.records import FlowRecord, Link, Observed, RunData, Seen, Sighting, TapRecord, UdpRecord

CLIENT_MAC = "02:00:00:00:00:01"
MS = 1_000_000
SECOND = 1_000_000_000
EVENT = 100 * SECOND
START = EVENT - 6 * SECOND
END = EVENT + 6 * SECOND


def stream(silences: tuple[tuple[int, int], ...] = (), *, every: int = 2 * MS, delay: int = MS // 2) -> UdpRecord:
    """A stream from START to END whose packets sent within a silence (ns after the event) get no reply."""
    sent = tuple(range(START, END, every))
    received = tuple(
        0 if any(EVENT + a <= moment < EVENT + b for a, b in silences) else moment + delay for moment in sent
    )
    return UdpRecord(sent, received, (Sighting(START, "192.0.2.221:4000"),))


def flow(opened: int = EVENT - 5 * SECOND, **changes: object) -> FlowRecord:
    base = FlowRecord(
        kind="echo",
        server="198.51.100.10:7101",
        started_ns=opened - MS,
        opened_ns=opened,
        address="192.0.2.221:5000",
        last_received_ns=EVENT + 2 * SECOND,
        proven_ns=EVENT + 2 * SECOND,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def run(**changes: object) -> RunData:
    base = RunData(
        victim="nat-a",
        survivor="nat-b",
        baseline_from_ns=START,
        event_ns=EVENT,
        probe_ns=EVENT + SECOND,
        answer_by_ns=EVENT + 10 * SECOND,
        end_ns=END,
        observed=Observed(active_before="nat-a", active_after="nat-b"),
        expected_active="nat-b",
        advert_hold_ns=150 * MS,
        udp=stream(),
        flows=(flow(),),
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def advert(time_ns: int, node: str = "nat-b", priority: int = 110) -> Seen[Advert]:
    return Seen(time_ns, node, Link.VLAN, True, Advert("192.168.1.4", 51, priority))


def primary(time_ns: int, node: str = "nat-b", community: str = "65000:1") -> Seen[Update]:
    return Seen(time_ns, node, Link.PUBLIC, True, Update(("192.0.2.221/32",), (), (community,), 7))


def rst(time_ns: int, source: str, destination: str, *, leaving: bool, link: Link, **more: object) -> Seen[Reset]:
    node = str(more.get("node", "nat-a"))
    tag = int(str(more.get("tag", 77)))
    addresses = (source.rpartition(":")[0], destination.rpartition(":")[0])
    return Seen(time_ns, node, link, leaving, Reset(ResetKind.TCP_RST, source, destination, tag, *addresses))


def taps(**kinds: object) -> TapRecord:
    return replace(TapRecord(), **kinds)  # type: ignore[arg-type]


def ipv4(source: str, destination: str, protocol: int, payload: bytes, *, identification: int = 1) -> bytes:
    total = 20 + len(payload)
    addresses = ipaddress.IPv4Address(source).packed + ipaddress.IPv4Address(destination).packed
    return struct.pack("!BBHHHBBH", 0x45, 0, total, identification, 0, 64, protocol, 0) + addresses + payload


def ipv6(payload: bytes, protocol: int = 6) -> bytes:
    ends = ipaddress.IPv6Address("2001:db8::1").packed + ipaddress.IPv6Address("2001:db8::2").packed
    return struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64) + ends + payload


def tcp(source_port: int, destination_port: int, *, flags: int, sequence: int = 77, data: bytes = b"") -> bytes:
    return struct.pack("!HHIIBBHHH", source_port, destination_port, sequence, 0, 5 << 4, flags, 0, 0, 0) + data


def packet(payload: bytes, *, ethertype: int = ETH_IPV4, leaving: bool = True, interface: int = 3) -> Packet:
    return Packet(1, interface, leaving, "02:00:00:00:00:01", ethertype, payload)


def arp_packet(sender: str, target: str, operation: int = 1) -> Packet:
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation)
    body += b"\x02\0\0\0\0\x01" + ipaddress.IPv4Address(sender).packed
    body += b"\0" * 6 + ipaddress.IPv4Address(target).packed
    return packet(body, ethertype=ETH_ARP)


def bgp_update(attributes: bytes, nlri: bytes = b"", withdrawn: bytes = b"") -> bytes:
    body = struct.pack("!H", len(withdrawn)) + withdrawn + struct.pack("!H", len(attributes)) + attributes + nlri
    return b"\xff" * 16 + struct.pack("!HB", 19 + len(body), 2) + body


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("!BBB", 0xC0, kind, len(value)) + value


def bgp_packet(data: bytes, *, flags: int = 0x18) -> Packet:
    return packet(ipv6(tcp(40000, 179, flags=flags, data=data)), ethertype=ETH_IPV6)


def capture(frames: list[tuple[int, int, int, int, bytes]], *, magic: int = 0xA1B23C4D) -> bytes:
    """A capture file of (seconds, fraction, interface, packet type, IPv4 payload)."""
    out = struct.pack("<IHHiIII", magic, 2, 4, 0, 0, 512, 276)
    for seconds, fraction, interface, kind, payload in frames:
        frame = struct.pack("!HHIHBB8s", ETH_IPV4, 0, interface, 1, kind, 6, b"\x02\0\0\0\0\x09\0\0") + payload
        out += struct.pack("<IIII", seconds, fraction, len(frame), len(frame)) + frame
    return out
