"""Keeps the node's own packets on the right path (source address, link, MAC), and removes addresses of others.

The daemons leave the choice of the source address to the kernel (conntrackd's sending socket is not bound), and
the peer accepts only the node's own address.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, ip_network
from typing import Any, ClassVar

from pyroute2 import AsyncIPRoute, NetlinkError

from natpair.core.model import Gateway
from natpair.core.regions import route_servers
from natpair.core.repair import Wrong
from natpair.drift.items import TABLE_LOCAL, Finding, Routes
from natpair.system import links
from natpair.system.links import SPARE_METRIC, SPARE_PROTOCOL, index_of, interface_named
from natpair.system.rtnetlink import rtnetlink

_TABLE_MAIN = 254
_UNICAST, _LOCAL = 1, 2
_PROTO_KERNEL = 2
_SCOPE_LINK, _SCOPE_HOST = 253, 254
_FIB_MATCH = 0x2000
"""RTM_F_FIB_MATCH: answer with the routing table's entry, not with the resolved route."""
_PINNED = 0x80 | 0x40
"""NUD_PERMANENT and NUD_NOARP: the kernel sends no ARP request for such an entry."""
_PERMANENT = 0x80


@dataclass(frozen=True, slots=True)
class _Link:
    """One interface, the node's own address there, and the peer's address that it reaches."""

    interface: str
    own: IPv4Interface
    peer: IPv4Address

    @property
    def network(self) -> str:
        """The network of the link."""
        return str(self.own.network)


class Ways:
    """Makes the node's packets to its peer leave by the right link and from its own address.

    If the own address is missing on the private interface, so is the kernel's route to the clients. A spare route
    with a high metric replaces it, so that no client's packet is lost meanwhile.
    """

    noticed: ClassVar[bool] = True

    def __init__(self, gateway: Gateway, node: str, *, only_look: bool = False) -> None:
        me, peer = gateway.node_named(node), gateway.peer_of(node)
        self._only_look = only_look
        self._private = _Link(me.private_interface, me.private_address, peer.private_address.ip)
        self._public = _Link(me.public_interface, me.public_address, peer.public_address.ip)
        self._own6 = me.public_address6.ip
        self._servers = [IPv6Address(server) for server in route_servers(gateway)]
        self._laid = False

    async def findings(self) -> list[Finding]:
        """What misroutes the packets to the peer. A link that is missing or down is not checked."""
        found: list[Finding] = []
        async with rtnetlink() as route:
            listed = [m async for m in await route.get_routes(family=socket.AF_INET, table=_TABLE_MAIN)]
            for link in (self._private, self._public):
                if links.is_up(link.interface):
                    found += await self._link(route, link, listed)
            if links.is_up(self._private.interface):
                found += await self._spare(listed)
            if links.is_up(self._public.interface):
                found += await self._six(route)
        return found

    async def _link(self, route: AsyncIPRoute, link: _Link, listed: list[Any]) -> list[Finding]:
        own, index = str(link.own.ip), index_of(link.interface)
        if not await _holds(route, own):
            return []  # `Addresses` puts it back, and the kernel its routes
        found = [] if await _is_local(route, own) else [_not_local(own, index, link.interface)]
        connected = [m for m in listed if _dst(m) == link.network and m.get_attr("RTA_OIF") == index]
        bare = link.own.network.prefixlen == link.own.max_prefixlen
        if not bare and not [m for m in connected if m["proto"] != SPARE_PROTOCOL]:
            return [*found, _unconnected(link, index)]
        answer = await _ask(route, str(link.peer))
        out = answer.get_attr("RTA_OIF") if answer is not None else None
        source = answer.get_attr("RTA_PREFSRC") if answer is not None else None
        # On the public side each of our sockets is bound to its address.
        if out == index and (source == own or link is self._public):
            return found
        match = await _ask(route, str(link.peer), flags=_FIB_MATCH) or best(listed, link.peer)
        if match is None and link is self._public:
            return found  # no default route: `Routes` has what is to be done
        return [*found, _misrouted(link, match, f"from {source} on {interface_named(out)}" if out else "no way")]

    async def _spare(self, listed: list[Any]) -> list[Finding]:
        link, index = self._private, index_of(self._private.interface)
        spares = [m for m in listed if m["proto"] == SPARE_PROTOCOL and m["dst_len"]]
        right = [m for m in spares if _dst(m) == link.network and m.get_attr("RTA_OIF") == index]
        found = [_no_longer_spare(m) for m in spares if m not in right]
        if self._only_look:
            return found
        if not right and not self._laid:
            # Adding it for the first time is no repair, because nobody has removed it.
            await _lay_spare(link, index)
            right = [link]
        self._laid = True
        return found if right else [*found, _no_spare(link, index)]

    async def _six(self, route: AsyncIPRoute) -> list[Finding]:
        """Checks that the route servers are reached on the public interface and that the node's own IPv6 address is
        local.
        """
        index, own = index_of(self._public.interface), str(self._own6)
        if not await _holds(route, own):
            return []
        found = [] if await _is_local(route, own) else [_not_local(own, index, self._public.interface)]
        listed = [m async for m in await route.get_routes(family=socket.AF_INET6, table=_TABLE_MAIN)]
        for server in self._servers:
            match = await _ask(route, str(server), flags=_FIB_MATCH) or best(listed, server)
            if match is None or (match["type"] == _UNICAST and match.get_attr("RTA_OIF") in (index, None)):
                continue  # without any route `Routes` has what is to be done; several hops have no single link
            found.append(_led_away(str(server), match, self._public.interface))
            break  # the four lie in one network: what leads one away leads all
        return found


def best(routes: Sequence[Any], target: IPv4Address | IPv6Address) -> Any:
    """The route of a table that decides about `target`: the longest prefix, then the lowest metric; None if none."""
    matching = [m for m in routes if target in ip_network(_dst(m))]
    return max(matching, key=lambda m: (m["dst_len"], -(m.get_attr("RTA_PRIORITY") or 0)), default=None)


async def _holds(route: AsyncIPRoute, address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return bool([True async for _ in await route.get_addr(family=family, address=address)])


async def _is_local(route: AsyncIPRoute, address: str) -> bool:
    answer = await _ask(route, address)
    return answer is not None and answer["type"] == _LOCAL


async def _ask(route: AsyncIPRoute, target: str, *, flags: int = 0) -> Any:
    """What the kernel does with a packet of ours to `target`; None if it has no route."""
    family = socket.AF_INET6 if ":" in target else socket.AF_INET
    try:
        (answer,) = await route.route("get", dst=target, family=family, flags=flags)
    except NetlinkError:
        return None
    return answer


def _dst(message: Any) -> str:
    everything = IPv6Address(0) if message["family"] == socket.AF_INET6 else IPv4Address(0)
    return f"{message.get_attr('RTA_DST') or everything}/{message['dst_len']}"


def _not_local(own: str, index: int | None, interface: str) -> Finding:
    async def repair() -> None:
        length = 128 if ":" in own else 32
        kernels = {"type": "local", "table": TABLE_LOCAL, "proto": _PROTO_KERNEL}
        more = {} if length == 128 else {"scope": _SCOPE_HOST, "prefsrc": own}
        async with rtnetlink() as route:
            await route.route("replace", dst=f"{own}/{length}", oif=index, **kernels, **more)

    return Finding(Wrong(f"local route {own}", "none", f"{own} is local, on {interface}"), repair)


def _unconnected(link: _Link, index: int | None) -> Finding:
    async def repair() -> None:
        async with rtnetlink() as route:
            await route.route("replace", dst=link.network, oif=index, **_kernels_own(link))

    return Finding(Wrong(f"route {link.network}", "none", f"on {link.interface} from {link.own.ip}"), repair)


def _kernels_own(link: _Link) -> dict[str, Any]:
    return {"prefsrc": str(link.own.ip), "scope": _SCOPE_LINK, "proto": _PROTO_KERNEL}


def _misrouted(link: _Link, match: Any, found: str) -> Finding:
    """Packets to the peer take a wrong path: the link's own route with another source, or another tool's route."""
    wrong = Wrong(f"way to {link.peer}", found, f"from {link.own.ip} on {link.interface}")
    if match is None:
        return Finding(wrong, None)
    same = {"priority": match.get_attr("RTA_PRIORITY") or 0, "type": match["type"]}

    async def repair() -> None:
        async with rtnetlink() as route:
            if _dst(match) == link.network and match.get_attr("RTA_OIF") == index_of(link.interface):
                await route.route(
                    "replace", dst=link.network, oif=index_of(link.interface), **_kernels_own(link), **same
                )
            else:
                await route.route("del", dst=_dst(match), scope=match["scope"], **same)

    # A route for more than the link's own network serves another purpose. It is reported, not removed.
    return Finding(wrong, repair if match["dst_len"] >= link.own.network.prefixlen else None)


def _led_away(server: str, match: Any, interface: str) -> Finding:
    family = socket.AF_INET6
    priority = match.get_attr("RTA_PRIORITY") or 0
    target = _dst(match)

    async def repair() -> None:
        more = {"oif": match.get_attr("RTA_OIF")} if match["type"] == _UNICAST else {"type": match["type"]}
        async with rtnetlink() as route:
            await route.route("del", dst=target, family=family, priority=priority, **more)

    out = match.get_attr("RTA_OIF")
    found = f"{target} on {interface_named(out)}" if out and match["type"] == _UNICAST else f"{target} is no way"
    # A route to exactly the provider's network is removed. A wider one serves other purposes as well, unless it is a
    # default route that was learnt from a router advertisement on a wrong link.
    ours = match["dst_len"] >= _PROVIDERS or (match["dst_len"] == 0 and match["proto"] in _LEARNT)
    return Finding(Wrong(f"way to {server}", found, f"on {interface}"), repair if ours else None)


_PROVIDERS = 32
"""Prefix length of the provider's network that has the route servers."""
_LEARNT = frozenset({2, 9})
"""RTPROT_KERNEL and RTPROT_RA: routes that the kernel made from a router advertisement."""


def _no_spare(link: _Link, index: int | None) -> Finding:
    wanted = f"on {link.interface}, metric {SPARE_METRIC}"
    return Finding(Wrong(f"spare route {link.network}", "none", wanted), lambda: _lay_spare(link, index))


async def _lay_spare(link: _Link, index: int | None) -> None:
    spare = {"priority": SPARE_METRIC, "proto": SPARE_PROTOCOL, "scope": _SCOPE_LINK}
    async with rtnetlink() as route:
        await route.route("replace", dst=link.network, oif=index, **spare)


def _no_longer_spare(message: Any) -> Finding:
    async def repair() -> None:
        async with rtnetlink() as route:
            more = {"priority": message.get_attr("RTA_PRIORITY"), "proto": SPARE_PROTOCOL, "scope": message["scope"]}
            await route.route("del", dst=_dst(message), **more)

    return Finding(Wrong(f"spare route {_dst(message)}", "left by an earlier configuration", "none"), repair)


class Strangers:
    """Removes addresses that this node must not have: its peer's, and the VIP on a wrong interface or without the role.

    `may_hold` says whether the node is or becomes active. A VIP counts only at the second check, because Keepalived
    takes it a moment before it says so.
    """

    noticed: ClassVar[bool] = True

    def __init__(self, gateway: Gateway, node: str, may_hold: Callable[[], bool]) -> None:
        me, peer = gateway.node_named(node), gateway.peer_of(node)
        self._vip = str(gateway.pair.vip.ip)
        self._private = me.private_interface
        theirs = (peer.private_address.ip, peer.public_address.ip, peer.public_address6.ip)
        self._peers = {str(address) for address in theirs}
        self._peer = peer.name
        self._may_hold = may_hold
        self._suspect = False

    async def findings(self) -> list[Finding]:
        """Every such address."""
        async with rtnetlink() as route:
            messages = [message async for message in await route.get_addr()]
        there = [(m["index"], m.get_attr("IFA_LOCAL") or m.get_attr("IFA_ADDRESS"), m["prefixlen"]) for m in messages]
        found = [_stranger(entry, f"{self._peer} alone has it") for entry in there if entry[1] in self._peers]
        private = index_of(self._private)
        vips = [entry for entry in there if entry[1] == self._vip]
        found += [_stranger(entry, f"on {self._private} alone") for entry in vips if entry[0] != private]
        own = [entry for entry in vips if entry[0] == private] if not self._may_hold() else []
        wanted = "the elected node alone has it"
        found += [_stranger(entry, wanted, certain=self._suspect) for entry in own]
        self._suspect = bool(own)
        return found


def _stranger(entry: tuple[int, str, int], wanted: str, *, certain: bool = True) -> Finding:
    index, address, length = entry

    async def repair() -> None:
        async with rtnetlink() as route:
            await route.addr("del", index=index, address=address, prefixlen=length)

    return Finding(Wrong(f"address {address}", f"on {interface_named(index)}", wanted), repair if certain else None)


@dataclass(frozen=True, slots=True)
class Wire:
    """The MACs that the agent knows: those that answer for `gateway`, and the peer's. `bgp`: any session is
    Established.
    """

    gateway: str = ""
    gateway_macs: frozenset[str] = frozenset()
    peer_mac: str = ""
    bgp: bool = True


class Neighbours:
    """Keeps the neighbour entries right: the next hops with the MAC that answers for them, the peer with the one it
    reports.

    Neighbour notices would come in floods, so three entries are read at each check instead. What the kernel
    learns about the IPv6 next hop expires by itself. There only a pinned entry counts, and only without a BGP session.
    """

    noticed: ClassVar[bool] = False

    def __init__(self, gateway: Gateway, node: str, routes: Routes, wire: Callable[[], Wire]) -> None:
        me, peer = gateway.node_named(node), gateway.peer_of(node)
        self._private, self._public = me.private_interface, me.public_interface
        self._peer = peer.private_address.ip
        self._routes = routes
        self._wire = wire

    async def findings(self) -> list[Finding]:
        """Entries with a wrong MAC."""
        wire = self._wire()
        found: list[Finding] = []
        async with rtnetlink() as route:
            for hop in self._routes.hops.values():
                mac, state = await _neighbour(route, hop, index_of(self._public))
                right = wire.gateway_macs if hop == wire.gateway else frozenset()
                if (mac and right and mac not in right) or (":" in hop and state & _PINNED and not wire.bgp):
                    found.append(_wrong_neighbour(hop, mac, self._public, right))
            if wire.peer_mac and links.is_up(self._private):
                mac, state = await _neighbour(route, str(self._peer), index_of(self._private))
                if (mac, state & _PERMANENT) != (wire.peer_mac, _PERMANENT):
                    found.append(self._unpinned(mac, wire.peer_mac))
        return found

    def _unpinned(self, mac: str, wanted: str) -> Finding:
        async def repair() -> None:
            await links.pin_neighbour(self._private, self._peer, wanted)

        return Finding(Wrong(f"neighbour {self._peer}", mac or "none", f"{wanted}, permanent"), repair)


async def _neighbour(route: AsyncIPRoute, address: str, index: int | None) -> tuple[str, int]:
    """MAC and state of one neighbour; an empty MAC and 0 if the kernel knows none."""
    if index is None:
        return "", 0
    try:
        answer = await route.neigh("get", dst=address, ifindex=index)
    except NetlinkError:
        return "", 0
    return (answer[0].get_attr("NDA_LLADDR") or "", answer[0]["state"]) if answer else ("", 0)


def _wrong_neighbour(hop: str, mac: str, interface: str, right: frozenset[str]) -> Finding:
    async def repair() -> None:
        async with rtnetlink() as route:
            await route.neigh("del", dst=hop, ifindex=index_of(interface))

    wanted = " or ".join(sorted(right)) or "the one that answers"
    return Finding(Wrong(f"neighbour {hop}", mac or "none", wanted), repair)
