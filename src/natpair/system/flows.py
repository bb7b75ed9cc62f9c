"""The kernel's flows: samples and single questions by netlink (pyroute2), the whole table by `conntrack`.

A dump follows the order of the kernel's hash table and is ended early. The hash has a new secret at each
boot, so the flows of its first buckets are a fair sample of all, for the price of a few of them: 6 ms for 64. To list
all of 10,000 takes `conntrack -L` 0.2 s, and netlink in Python 3.2 s (on two busy cores).
"""

from __future__ import annotations

import errno
import json
import re
import socket
from collections.abc import AsyncGenerator, Container, Iterator, Sequence
from contextlib import aclosing
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from pyroute2 import NetlinkError
from pyroute2.netlink.nfnetlink.nfctsocket import AsyncNFCTSocket, NFCTAttrTuple

from natpair.core.messages import Flow
from natpair.core.whatif import LiveFlow
from natpair.errors import CommandFailed, Unsupported
from natpair.system.process import arun, run
from natpair.system.rtnetlink import as_os_error

_SEEN_REPLY_AND_ASSURED = 0x2 | 0x4
_TCP_ESTABLISHED = 3
_SEEN_REPLY = 0x2
_SRC_NAT = 0x10
_LOOKED_AT_MOST = 8
"""Multiple of the sample's size: how many other flows are skipped in search of clients' flows."""

_ORIGINAL_IP = ("CTA_TUPLE_ORIG", "CTA_TUPLE_IP")
_REPLY_IP = ("CTA_TUPLE_REPLY", "CTA_TUPLE_IP")

_SECONDS = 60.0
_LINE = re.compile(
    r"^(?P<protocol>\w+)\s+\d+\s+(?P<left>\d+)\s+(?P<state>[A-Z_]+)?.*?"
    r"src=(?P<source>[\d.]+) dst=[\d.]+.*?src=[\d.]+ dst=(?P<translated>[\d.]+)"
)


async def _dump(**only: int) -> AsyncGenerator[Any, None]:
    """The kernel's entries, those with a `status` under a `status_mask`; OSError if it gives none."""
    with as_os_error():
        async with AsyncNFCTSocket() as conntrack:
            async for message in await conntrack.dump(**only):
                yield message


async def sample(size: int, clients: IPv4Network) -> tuple[Flow, ...]:
    """At most `size` flows of `clients` that are established, TCP or UDP; OSError if the kernel gives none."""
    found: list[Flow] = []
    seen = 0
    async with aclosing(_dump(status=_SEEN_REPLY_AND_ASSURED, status_mask=_SEEN_REPLY_AND_ASSURED)) as messages:
        async for message in messages:
            flow, seen = _flow(message), seen + 1
            if flow is not None and flow.source in clients:
                found.append(flow)
            if len(found) == size or seen == size * _LOOKED_AT_MOST:
                break
    return tuple(found)


async def answered_destinations(most: int, fips: Container[IPv4Address]) -> tuple[IPv4Address, ...]:
    """At most `most` addresses that have answered a client behind one of `fips`; OSError if the kernel gives none."""
    found: dict[IPv4Address, None] = {}
    seen = 0
    async with aclosing(_dump(status=_SEEN_REPLY, status_mask=_SEEN_REPLY)) as messages:
        async for message in messages:
            seen += 1
            if IPv4Address(message.get_nested(*_REPLY_IP).get_attr("CTA_IP_V4_DST")) in fips:
                found[IPv4Address(message.get_nested(*_ORIGINAL_IP).get_attr("CTA_IP_V4_DST"))] = None
            if len(found) == most or seen == most * _LOOKED_AT_MOST * _LOOKED_AT_MOST:
                break
    return tuple(found)


async def untranslated(most: int, clients: IPv4Network) -> tuple[IPv4Address, ...]:
    """At most `most` of `clients` that have a flow without translation and without an answer; OSError as above.

    The kernel selects them (CTA_STATUS). A flow that began without translation cannot be translated later.
    """
    found: dict[IPv4Address, None] = {}
    async with aclosing(_dump(status=0, status_mask=_SEEN_REPLY | _SRC_NAT)) as messages:
        async for message in messages:
            source = message.get_nested(*_ORIGINAL_IP).get_attr("CTA_IP_V4_SRC")
            if source is not None and IPv4Address(source) in clients:
                found[IPv4Address(source)] = None
            if len(found) == most:
                break
    return tuple(found)


async def translated(size: int, fips: Container[str]) -> list[tuple[str, int, str, int]]:
    """(FIP, protocol, destination, port) of at most `size` flows translated to one of `fips`; OSError as above."""
    found: list[tuple[str, int, str, int]] = []
    async with aclosing(_dump()) as messages:
        async for message in messages:
            fip = message.get_nested(*_REPLY_IP).get_attr("CTA_IP_V4_DST")
            if fip in fips:
                target = message.get_nested(*_ORIGINAL_IP).get_attr("CTA_IP_V4_DST")
                proto = message.get_nested("CTA_TUPLE_ORIG", "CTA_TUPLE_PROTO")
                number, port = proto.get_attr("CTA_PROTO_NUM"), proto.get_attr("CTA_PROTO_DST_PORT") or 0
                found.append((fip, number, target, port))
            if len(found) == size:
                break
    return found


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


def live_flows() -> tuple[LiveFlow, ...]:
    """Every translated IPv4 flow; empty if this machine cannot list them (no root, no conntrack)."""
    try:
        done = run(["conntrack", "-L", "--src-nat", "-f", "ipv4"], timeout=_SECONDS)
    except (CommandFailed, Unsupported):
        return ()
    return tuple(parse(done.stdout))


def parse(listing: str) -> Iterator[LiveFlow]:
    """The flows of a listing; a line of another form is left out."""
    for line in listing.splitlines():
        if match := _LINE.match(line):
            yield LiveFlow(
                protocol=match["protocol"],
                established=match["state"] == "ESTABLISHED",
                source=IPv4Address(match["source"]),
                translated=IPv4Address(match["translated"]),
                left_seconds=int(match["left"]),
            )


async def contradicting() -> tuple[IPv4Address, ...]:
    """The addresses to which replies would go for the clients' flows that the leak guard recently dropped."""
    done = await arun(["nft", "-j", "list", "set", "ip", "natpair", "misrouted"], timeout=_SECONDS)
    sets = (entry["set"] for entry in json.loads(done.stdout)["nftables"] if "set" in entry)
    found = (element for each in sets for element in each.get("elem", ()))
    return tuple(IPv4Address(e["elem"]["val"] if isinstance(e, dict) else e) for e in found)


async def delete(clients: IPv4Network, translated: IPv4Address) -> int:
    """Delete the flows of `clients` that are translated to `translated`; how many there were."""
    argv = ["nice", "-n", "19", "conntrack", "-D", "-f", "ipv4", "-s", str(clients), "--reply-dst", str(translated)]
    done = await arun(argv, timeout=_SECONDS, ok=(0, 1))
    return len(done.stdout.splitlines())
