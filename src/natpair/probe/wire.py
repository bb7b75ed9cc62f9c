"""What the probe puts on the wire, and how it reads what comes back. Pure, standard library only.

Shipped to the probe's machines together with `node`, `stream`, `senders` and `core.packets`, which import nothing else.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass

from natpair.core import packets

FOLDER = "/run/natpair-probe"
"""Where everything of the probe lies on its machines."""
PORT = 7907
SIZED_PORT = 7908
ROUTER_ID = 251
"""The VRRP router id of the probe's own adverts: not natpair's default."""

ASK, ANSWER, UNASKED = 1, 2, 3
_MAGIC = b"npp1"
_DATAGRAM = struct.Struct("!4sBBHIQQ4sH")


@dataclass(frozen=True, slots=True)
class Datagram:
    """One numbered datagram. An answer says which node it is from, and how long ago that node last changed its word.

    `sent_ns` is the asker's clock, given back as it came. `mark` counts a node's changes; `elapsed_us` is the age of
    the last one.
    """

    kind: int
    sequence: int
    sent_ns: int
    node: int = 255
    mark: int = 0
    elapsed_us: int = 0
    address: str = "0.0.0.0"  # noqa: S104 - no bind: the asker's address as the node sees it
    port: int = 0

    def pack(self) -> bytes:
        """The bytes on the wire, as many for a question as for an answer: nobody can use us to amplify."""
        seen = ipaddress.IPv4Address(self.address).packed
        head = (_MAGIC, self.kind, self.node, self.mark & 0xFFFF, self.sequence)
        return _DATAGRAM.pack(*head, self.sent_ns, self.elapsed_us, seen, self.port)


def unpack(data: bytes) -> Datagram | None:
    """The datagram in `data`, None if it is none of ours."""
    if len(data) != _DATAGRAM.size:
        return None
    magic, kind, node, mark, sequence, sent_ns, elapsed_us, address, port = _DATAGRAM.unpack(data)
    if magic != _MAGIC:
        return None
    return Datagram(kind, sequence, sent_ns, node, mark, elapsed_us, str(ipaddress.IPv4Address(address)), port)


def vrrp_advert(source: str, destination: str, number: int) -> bytes:
    """A VRRPv3 advert of one address, `10.x.y.z` with the advert's number in it."""
    return packets.vrrp(source, destination, ROUTER_ID, 100, str(ipaddress.IPv4Address((10 << 24) + number)), 100)


def gratuitous_arp(mac: str, address: str) -> bytes:
    """A broadcast frame in which `mac` says that `address` is here (RFC 5227 section 3)."""
    return packets.arp(packets.mac_bytes(mac), packets.ARP_REQUEST, address, address)


@dataclass(frozen=True, slots=True)
class Heard:
    """Something of the probe's that arrived on the VLAN: an advert by its number, an ARP frame, or a sized datagram.

    `time_ns` is the kernel's word on when it arrived, on that machine's wall clock.
    """

    what: str
    time_ns: int
    destination: str = ""
    number: int = 0
    mac: str = ""
    address: str = ""


def heard_in(frame: bytes, time_ns: int) -> Heard | None:
    """What an Ethernet frame on the VLAN is to the probe; None for everybody else's."""
    kind, payload = int.from_bytes(frame[12:14], "big"), frame[14:]
    if kind == packets.ETH_ARP and (said := packets.read_arp(payload)) is not None and said[2] == said[3]:
        return Heard("arp", time_ns, mac=frame[6:12].hex(":"), address=str(said[2]))
    if kind != packets.ETH_IPV4 or len(payload) < 20:
        return None
    length, body = int.from_bytes(payload[2:4], "big"), payload[(payload[0] & 15) * 4 :]
    destination = str(ipaddress.IPv4Address(payload[16:20]))
    if payload[9] == packets.VRRP and len(body) >= 12 and body[1] == ROUTER_ID:
        return Heard("vrrp", time_ns, destination, int.from_bytes(body[9:12], "big"))
    if payload[9] == packets.UDP and body[2:4] == SIZED_PORT.to_bytes(2, "big"):
        return Heard("sized", time_ns, destination, length)
    return None


@dataclass(frozen=True, slots=True)
class Open:
    """A BGP OPEN as the other side sent it (RFC 4271 section 4.2), and the hop limit with which it came in."""

    source: str
    hold_seconds: int
    identifier: str
    capabilities: tuple[int, ...]
    hop_limit: int


def open_in(frame: bytes) -> Open | None:
    """The BGP OPEN in an Ethernet frame of IPv6 and TCP; None if it holds none."""
    payload = frame[14:]
    if int.from_bytes(frame[12:14], "big") != packets.ETH_IPV6 or len(payload) < 60 or payload[6] != packets.TCP:
        return None
    segment = payload[40:]
    ports = (int.from_bytes(segment[0:2], "big"), int.from_bytes(segment[2:4], "big"))
    message = segment[(segment[12] >> 4) * 4 :]
    if packets.BGP_PORT not in ports or message[:16] != packets.BGP_MARKER or len(message) < 29:
        return None
    if message[18] != packets.OPEN:
        return None
    source = str(ipaddress.IPv6Address(payload[8:24]))
    identifier = str(ipaddress.IPv4Address(message[24:28]))
    found = packets.bgp_capabilities(message[29 : 29 + message[28]])
    return Open(source, int.from_bytes(message[22:24], "big"), identifier, found, payload[7])
