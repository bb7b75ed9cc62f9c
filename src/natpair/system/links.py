"""Links, addresses and the FIPs' relay routes by rtnetlink (pyroute2), and the kernel's change notices."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

from natpair.system.files import read_small
from natpair.system.rtnetlink import as_os_error, rtnetlink

RELAY_METRIC = 10
"""Lower than the blackhole route's metric: while a relay route exists, packets for a FIP go to the peer."""
SPARE_METRIC = 4096
"""Higher than any metric of network managers: a spare route is used only while the real one is missing."""
SPARE_PROTOCOL = 110
"""Marks natpair's spare routes (rtm_protocol; /etc/iproute2/rt_protos does not assign this number)."""
_SIOCGIFFLAGS = 0x8913
_SIOCGIFHWADDR = 0x8927
_IFF_UP = 0x1
_IFF_UP_RUNNING = 0x1 | 0x40
_NETLINK_ADD_MEMBERSHIP = 1
_SOL_NETLINK = 270
_RTNLGRP_LINK, _RTNLGRP_TC, _RTNLGRP_IPV4_IFADDR, _RTNLGRP_IPV4_ROUTE, _RTNLGRP_IPV4_RULE = 1, 4, 5, 7, 8
_RTNLGRP_IPV6_IFADDR, _RTNLGRP_IPV6_ROUTE, _RTNLGRP_IPV6_RULE = 9, 11, 19
_RTNLGRP_IPV4_NETCONF, _RTNLGRP_IPV6_NETCONF = 24, 25
_NFT_MSG_NEWGEN = 0x0A0F
_NFTA_GEN_PROC_NAME = 3
_NFGEN_HEADER_BYTES = 20
_NFNLGRP_NFTABLES = 7
_NETLINK_NETFILTER = 12
_RT_TABLE_MAIN = 254
_NUD_PERMANENT = 0x80


def index_of(interface: str) -> int | None:
    """The index of an interface; None if there is none of that name."""
    try:
        return socket.if_nametoindex(interface)
    except OSError:
        return None


def interface_named(index: int) -> str:
    """The name of the interface with this index, for messages."""
    try:
        return socket.if_indextoname(index)
    except OSError:
        return f"interface {index}"


def is_up(interface: str) -> bool:
    """True if the interface exists, is up and has a carrier."""
    request = struct.pack("16sh14x", interface.encode(), 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            answer = fcntl.ioctl(probe, _SIOCGIFFLAGS, request)
        except OSError:
            return False
    flags = struct.unpack("16sh14x", answer)[1]
    return bool(flags & _IFF_UP_RUNNING == _IFF_UP_RUNNING)


def mtu(interface: str) -> int:
    """Bytes of the largest packet that `interface` sends; 0 if there is no such interface."""
    try:
        return int(read_small(f"/sys/class/net/{interface}/mtu"))
    except (OSError, ValueError):
        return 0


def why_down(interface: str) -> str:
    """Why `is_up` is False, for messages; empty if it is True."""
    request = struct.pack("16sh14x", interface.encode(), 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            answer = fcntl.ioctl(probe, _SIOCGIFFLAGS, request)
        except OSError:
            return "is missing"
    flags = struct.unpack("16sh14x", answer)[1]
    if not flags & _IFF_UP:
        return "is down"
    return "" if flags & _IFF_UP_RUNNING == _IFF_UP_RUNNING else "has no carrier"


@dataclass(frozen=True, slots=True)
class Identity:
    """The identity of an interface: a new one of the same name has another index, a replaced card another MAC.

    A socket is bound to an interface's index, and receives nothing when a new interface has the same name.
    """

    index: int
    mac: str


def identity(interface: str) -> Identity | None:
    """The interface that has this name now; None if there is none."""
    request = struct.pack("256s", interface.encode())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            index = socket.if_nametoindex(interface)
            answer = fcntl.ioctl(probe, _SIOCGIFHWADDR, request)
        except OSError:
            return None
    return Identity(index, answer[18:24].hex(":"))


def is_local(address: IPv4Address) -> bool:
    """True if an interface of this node has `address`, so that a socket can be bound to it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
    return True


async def has_address(address: IPv4Address) -> bool:
    """Some interface of this node holds `address`."""
    async with rtnetlink() as route:
        return any([True async for _ in await route.get_addr(family=socket.AF_INET, address=str(address))])


async def misplaced(belonging: Mapping[str, str]) -> tuple[str, ...]:
    """Addresses on another interface than `belonging` says (on any, if it names none), for messages."""
    found = []
    async with rtnetlink() as route:
        async for message in await route.get_addr():
            address = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
            name = interface_named(message["index"])
            if address in belonging and name != belonging[address]:
                should = f"belongs on {belonging[address]}" if belonging[address] else "belongs to the other node"
                found.append(f"{address} is on {name} and {should}")
    return tuple(sorted(found))


async def default_gateway(interface: str) -> IPv4Address | None:
    """The next hop of the IPv4 default route on `interface`."""
    index = socket.if_nametoindex(interface)
    async with rtnetlink() as route:
        async for message in await route.get_default_routes(family=socket.AF_INET):
            if message.get_attr("RTA_OIF") == index and (hop := message.get_attr("RTA_GATEWAY")) is not None:
                return IPv4Address(hop)
    return None


class RelayRoutes:
    """The routes that send a FIP's packets to the peer. The blackhole routes below them always stay."""

    def __init__(self, fips: tuple[IPv4Address, ...], peer: IPv4Address, interface: str) -> None:
        self._fips = fips
        self._peer = str(peer)
        self._interface = interface

    async def present(self) -> bool:
        """True if all relay routes exist with the right next hop."""
        hops = {str(fip): "" for fip in self._fips}
        async with rtnetlink() as route:
            async for message in await route.get_routes(family=socket.AF_INET, table=_RT_TABLE_MAIN):
                if message.get_attr("RTA_PRIORITY") == RELAY_METRIC and message.get_attr("RTA_DST") in hops:
                    hops[message.get_attr("RTA_DST")] = message.get_attr("RTA_GATEWAY")
        return set(hops.values()) == {self._peer}

    async def add(self) -> None:
        """Add them; OSError if the private interface is gone or down."""
        index = socket.if_nametoindex(self._interface)
        async with rtnetlink() as route:
            for fip in self._fips:
                await route.route("replace", dst=f"{fip}/32", gateway=self._peer, oif=index, priority=RELAY_METRIC)

    async def remove(self) -> None:
        """Remove them. A missing one is no error."""
        async with rtnetlink() as route:
            for fip in self._fips:
                with contextlib.suppress(ProcessLookupError), as_os_error():
                    await route.route("del", dst=f"{fip}/32", priority=RELAY_METRIC)


async def pin_neighbour(interface: str, address: IPv4Address, mac: str) -> None:
    """Pin `address` to `mac`, whatever ARP says. An empty `mac` lets ARP decide again. OSError without the link."""
    index = socket.if_nametoindex(interface)
    async with rtnetlink() as route:
        if mac:
            await route.neigh("replace", dst=str(address), lladdr=mac, ifindex=index, state=_NUD_PERMANENT)
        else:
            with contextlib.suppress(OSError), as_os_error():
                await route.neigh("del", dst=str(address), ifindex=index)


def notice_sockets() -> tuple[socket.socket, socket.socket]:
    """Two non-blocking sockets: one readable when links, addresses, routes, rules or filters change, one for rulesets.

    What they say is a reason to look and no more (and ENOBUFS is one, too). Of sysctls the kernel gives notice when
    forwarding or reverse path filtering of an interface changes.
    """
    addresses = (_RTNLGRP_IPV4_IFADDR, _RTNLGRP_IPV6_IFADDR, _RTNLGRP_IPV4_ROUTE, _RTNLGRP_IPV6_ROUTE)
    rules = (_RTNLGRP_IPV4_RULE, _RTNLGRP_IPV6_RULE)
    settings = (_RTNLGRP_IPV4_NETCONF, _RTNLGRP_IPV6_NETCONF)
    links = _notices(socket.NETLINK_ROUTE, _RTNLGRP_LINK, _RTNLGRP_TC, *rules, *addresses, *settings)
    return links, _notices(_NETLINK_NETFILTER, _NFNLGRP_NFTABLES)


def _notices(family: int, *groups: int) -> socket.socket:
    notices = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, family)
    # A socket without its own port ID gets no notices.
    notices.bind((0, 0))
    for group in groups:
        notices.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, group)
    return notices


def drain(notices: socket.socket) -> list[bytes]:
    """Read everything from a notice socket."""
    said: list[bytes] = []
    with contextlib.suppress(OSError):
        while datagram := notices.recv(65536):
            said.append(datagram)
    return said


def ruleset_authors(notices: list[bytes]) -> tuple[str, ...]:
    """The names of the programs that changed a ruleset, as the kernel gives them (NFT_MSG_NEWGEN)."""
    found: list[str] = []
    for datagram in notices:
        at = 0
        while at + _NFGEN_HEADER_BYTES <= len(datagram):
            length, kind = struct.unpack_from("=IH", datagram, at)
            if kind == _NFT_MSG_NEWGEN:
                found += _process_names(datagram[at + _NFGEN_HEADER_BYTES : at + length])
            at += max((length + 3) & ~3, _NFGEN_HEADER_BYTES)
    return tuple(dict.fromkeys(found))


def _process_names(attributes: bytes) -> Iterator[str]:
    at = 0
    while at + 4 <= len(attributes):
        length, kind = struct.unpack_from("=HH", attributes, at)
        if kind == _NFTA_GEN_PROC_NAME:
            yield attributes[at + 4 : at + length].rstrip(b"\0").decode(errors="replace")
        at += max((length + 3) & ~3, 4)
