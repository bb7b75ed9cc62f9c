"""Controls the fabric's daemons: BIRD's control sockets, the rule that makes the fabric slow, its best paths."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from natpair.core.model import Gateway
from natpair.errors import LabError
from natpair.system.process import run
from natpair_lab.testbed import fabric
from natpair_lab.testbed.fabric import FabricFiles, Knobs, Shares
from natpair_lab.testbed.host import InitRef
from natpair_lab.testbed.netns import batch
from natpair_lab.testbed.topology import FABRIC_RULE, FABRIC_TABLE

_SECONDS = 5.0
# A row begins with a code and a hyphen, or with one blank if its code is that of the row before.
_ESTABLISHED = re.compile(r"(?:\d{4}-| )(\S+)\s+BGP\s.*\sEstablished\s*$")
_ROUTE = re.compile(r"(?:\d{4}-| )(\S*)\s+unicast \[(\S+) ")
_REPLY_END = re.compile(rb"^(\d{4}) .*\n\Z", re.MULTILINE)


def bird(ref: InitRef, daemon: str, command: str) -> str:
    """Send a command to one of the fabric's BIRDs and return its reply.

    LabError if BIRD does not respond or refuses.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(_SECONDS)
        try:
            line.connect(str(ref.path(fabric.control_socket(daemon))))
            _reply(line)
            line.sendall(command.encode() + b"\n")
            text = _reply(line)
        except OSError as error:
            raise LabError(f"{daemon} of the lab's fabric does not answer: {error}") from error
    refusals = [row for row in text.splitlines() if row[:1] in "89" and row[:4].isdigit()]
    if refusals:
        raise LabError(f"{daemon} of the lab's fabric refuses {command}: {'; '.join(refusals)}")
    return text


@dataclass(frozen=True, slots=True)
class Provider:
    """The desired fabric: for which gateway, how it behaves, what is shared."""

    gateway: Gateway
    knobs: Knobs
    shares: Shares

    @property
    def files(self) -> FabricFiles:
        """The files of this fabric."""
        return fabric.configs(self.gateway, self.knobs, self.shares)


def reconfigure(ref: InitRef, netns: str, provider: Provider) -> None:
    """Load new files into running daemons. BIRD keeps the sessions that it can keep."""
    files = provider.files
    # Both tables hold the same routes now: the rule only chooses between the immediate and the delayed table.
    batch([f"rule del pref {FABRIC_RULE}"], netns=netns, force=True)
    if provider.knobs.converge_ms == 0:
        batch([f"rule add pref {FABRIC_RULE} lookup {FABRIC_TABLE}"], netns=netns)
    run(["ip", "netns", "exec", netns, "nft", "-f", "-"], stdin=files.files["sessions.nft"], timeout=10)
    for daemon in files.daemons:
        bird(ref, daemon, "configure")


@dataclass(frozen=True, slots=True)
class Heard:
    """One thing a route server has: an established session (no prefix), or a route learnt over one."""

    daemon: str
    session: str
    prefix: str = ""


def heard(ref: InitRef, daemons: Iterable[str]) -> frozenset[Heard]:
    """Every established session of the fabric's BIRDs, and every route that they use or keep in reserve."""
    found: set[Heard] = set()
    for daemon in daemons:
        found |= {Heard(daemon, name) for name in up_sessions(bird(ref, daemon, "show protocols"))}
        found |= {Heard(daemon, name, prefix) for name, prefix in learnt(bird(ref, daemon, "show route table master4"))}
    return frozenset(found)


def survivors(before: Iterable[Heard], provider: Provider, off: Iterable[str]) -> frozenset[Heard]:
    """The part of `before` that must return once the fabric follows `provider`. The nodes `off` have no power."""
    gone = {*off, *fabric.refused_nodes(provider.gateway, provider.knobs, provider.shares)}
    may_say = {
        fabric.node_session(provider.gateway, node.name): {""}
        | {f"{fip}/32" for fip, nodes in provider.shares.items() if node.name in nodes}
        for node in provider.gateway.node
    }
    silent = {fabric.node_session(provider.gateway, name) for name in gone}
    kept = (h for h in before if h.session not in silent)
    # What the router heard follows from the rest.
    return frozenset(h for h in kept if h.daemon != fabric.ROUTER and h.prefix in may_say.get(h.session, {""}))


def up_sessions(shown: str) -> Iterator[str]:
    """The names of established BGP protocols in the reply to `show protocols`."""
    for row in shown.splitlines():
        if (found := _ESTABLISHED.match(row)) is not None:
            yield found[1]


def learnt(shown: str) -> Iterator[tuple[str, str]]:
    """(protocol, prefix) of each route in the reply to `show route`, which prints a prefix only once."""
    prefix = ""
    for row in shown.splitlines():
        if (found := _ROUTE.match(row)) is not None:
            prefix = found[1] or prefix
            yield found[2], prefix


def best_paths(netns: str, gateway: Gateway, fip: IPv4Address, knobs: Knobs) -> tuple[str, ...]:
    """The nodes to which packets for `fip` go now, in the order of the file; none if they go nowhere."""
    table = "main" if knobs.converge_ms else str(FABRIC_TABLE)
    argv = ["ip", "-n", netns, "-j", "-4", "route", "show", "table", table, "exact", f"{fip}/32"]
    shown = run(argv, timeout=10, ok=(0, 2))
    # A table that never had a route does not exist: ip reports that after half a JSON document.
    return nodes_of(shown.stdout, gateway) if shown.rc == 0 else ()


def nodes_of(shown: str, gateway: Gateway) -> tuple[str, ...]:
    """The nodes to which the routes in `shown`, from `ip -j route`, lead."""
    hops = {hop for route in json.loads(shown or "[]") for hop in _hops(route)}
    return tuple(node.name for node in gateway.node if hops & {node.public_address6.ip, node.public_address.ip})


def _hops(route: dict[str, Any]) -> Iterator[IPv4Address | IPv6Address]:
    for hop in route.get("nexthops", [route]):
        if "via" in hop:
            yield IPv6Address(hop["via"]["host"])
        elif "gateway" in hop:
            yield IPv4Address(hop["gateway"])


def _reply(line: socket.socket) -> str:
    text = b""
    while not _REPLY_END.search(text):
        piece = line.recv(65536)
        if not piece:
            raise OSError("it closed the connection")
        text += piece
    return text.decode(errors="replace")
