"""A sample of the clients' established flows, and whether a flow is known here: conntrack by netlink (pyroute2).

A dump is walked in the order of the kernel's hash table and ended early. The hash has a secret of its own at each
boot, so the flows of its first buckets are a fair sample of all, for the price of a few of them: 6 ms for 64.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import AsyncIterator, Container, Sequence
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from pyroute2 import NetlinkError
from pyroute2.netlink.nfnetlink.nfctsocket import AsyncNFCTSocket, NFCTAttrTuple

from natpair.core.messages import Flow
from natpair.system.rtnetlink import as_os_error

_SEEN_REPLY_AND_ASSURED = 0x2 | 0x4
_TCP_ESTABLISHED = 3
_SEEN_REPLY = 0x2
_SRC_NAT = 0x10
_LOOKED_AT_MOST = 8
"""Times the sample's size: how many flows of other kinds are passed over in search of clients' ones."""

_ORIGINAL_IP = ("CTA_TUPLE_ORIG", "CTA_TUPLE_IP")
_REPLY_IP = ("CTA_TUPLE_REPLY", "CTA_TUPLE_IP")


async def sample(size: int, clients: IPv4Network) -> tuple[Flow, ...]:
    """At most `size` flows of `clients` that are established, TCP or UDP; OSError if the kernel gives none."""
    found: list[Flow] = []
    async for flow in _established(size * _LOOKED_AT_MOST):
        if flow is not None and flow.source in clients:
            found.append(flow)
            if len(found) == size:
                break
    return tuple(found)


async def answered_destinations(most: int, fips: Container[IPv4Address]) -> tuple[IPv4Address, ...]:
    """At most `most` addresses that have answered a client behind one of `fips`; OSError if the kernel gives none."""
    found: dict[IPv4Address, None] = {}
    try:
        async with AsyncNFCTSocket() as conntrack:
            seen = 0
            async for message in await conntrack.dump(status=_SEEN_REPLY, status_mask=_SEEN_REPLY):
                seen += 1
                if IPv4Address(message.get_nested(*_REPLY_IP).get_attr("CTA_IP_V4_DST")) in fips:
                    found[IPv4Address(message.get_nested(*_ORIGINAL_IP).get_attr("CTA_IP_V4_DST"))] = None
                if len(found) == most or seen == most * _LOOKED_AT_MOST * _LOOKED_AT_MOST:
                    break
    except NetlinkError as error:
        raise OSError(error.code, str(error)) from error
    return tuple(found)


async def untranslated(most: int, clients: IPv4Network) -> tuple[IPv4Address, ...]:
    """At most `most` of `clients` that have a flow without translation and without an answer; OSError as above.

    The kernel picks them out of the table (CTA_STATUS). It lets nobody translate a flow that has begun without.
    """
    found: dict[IPv4Address, None] = {}
    try:
        async with AsyncNFCTSocket() as conntrack:
            async for message in await conntrack.dump(status=0, status_mask=_SEEN_REPLY | _SRC_NAT):
                source = message.get_nested(*_ORIGINAL_IP).get_attr("CTA_IP_V4_SRC")
                if source is not None and IPv4Address(source) in clients:
                    found[IPv4Address(source)] = None
                if len(found) == most:
                    break
    except NetlinkError as error:
        raise OSError(error.code, str(error)) from error
    return tuple(found)


async def translated(size: int, fips: Container[str]) -> list[tuple[str, int, str, int]]:
    """(FIP, protocol, destination, port) of at most `size` flows translated to one of `fips`; OSError as above."""
    found: list[tuple[str, int, str, int]] = []
    try:
        async with AsyncNFCTSocket() as conntrack:
            async for message in await conntrack.dump():
                fip = message.get_nested(*_REPLY_IP).get_attr("CTA_IP_V4_DST")
                if fip in fips:
                    target = message.get_nested(*_ORIGINAL_IP).get_attr("CTA_IP_V4_DST")
                    proto = message.get_nested("CTA_TUPLE_ORIG", "CTA_TUPLE_PROTO")
                    number, port = proto.get_attr("CTA_PROTO_NUM"), proto.get_attr("CTA_PROTO_DST_PORT") or 0
                    found.append((fip, number, target, port))
                if len(found) == size:
                    break
    except NetlinkError as error:
        raise OSError(error.code, str(error)) from error
    return found


async def _established(limit: int) -> AsyncIterator[Flow | None]:
    status = {"status": _SEEN_REPLY_AND_ASSURED, "status_mask": _SEEN_REPLY_AND_ASSURED}
    try:
        async with AsyncNFCTSocket() as conntrack:
            seen = 0
            async for message in await conntrack.dump(**status):
                yield _flow(message)
                seen += 1
                if seen == limit:
                    return
    except NetlinkError as error:
        raise OSError(error.code, str(error)) from error


def _flow(message: Any) -> Flow | None:
    """The flow as the client began it; None for other protocols and for TCP that is opening or closing."""
    ip = message.get_nested("CTA_TUPLE_ORIG", "CTA_TUPLE_IP")
    proto = message.get_nested("CTA_TUPLE_ORIG", "CTA_TUPLE_PROTO")
    number = proto.get_attr("CTA_PROTO_NUM")
    state = message.get_nested("CTA_PROTOINFO", "CTA_PROTOINFO_TCP", "CTA_PROTOINFO_TCP_STATE")
    if number not in {socket.IPPROTO_TCP, socket.IPPROTO_UDP}:
        return None
    if number == socket.IPPROTO_TCP and state != _TCP_ESTABLISHED:
        return None
    return Flow(
        protocol=number,
        source=IPv4Address(ip.get_attr("CTA_IP_V4_SRC")),
        source_port=proto.get_attr("CTA_PROTO_SRC_PORT"),
        target=IPv4Address(ip.get_attr("CTA_IP_V4_DST")),
        target_port=proto.get_attr("CTA_PROTO_DST_PORT"),
    )


async def unknown(flows: Sequence[Flow]) -> tuple[Flow, ...]:
    """Those of `flows` that this node's kernel has no entry for, in whatever state; OSError if it cannot be asked."""
    with as_os_error():
        async with AsyncNFCTSocket() as conntrack:
            return tuple([flow for flow in flows if not await _known(conntrack, flow)])


async def _known(conntrack: AsyncNFCTSocket, flow: Flow) -> bool:
    addresses = {"saddr": str(flow.source), "daddr": str(flow.target)}
    ports = {"sport": flow.source_port, "dport": flow.target_port}
    try:
        await conntrack.entry("get", tuple_orig=NFCTAttrTuple(proto=flow.protocol, **addresses, **ports))
    except NetlinkError as error:
        if error.code != errno.ENOENT:
            raise
        return False
    return True
