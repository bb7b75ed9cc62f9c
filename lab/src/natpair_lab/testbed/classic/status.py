"""Reads the state of a classic node from outside and returns it as natpair's status: it has no agent to ask.

The kernel says who holds the VIP, GoBGP what it announces and to whom, the supervisor what runs. So waiting, `natpair
lab status`, faults and drills work as with natpair's own nodes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any, TypeVar

from natpair.core.model import Gateway
from natpair.core.regions import route_servers
from natpair.core.status import Announced, Bgp, Role, Status
from natpair.errors import LabError
from natpair.system.process import run
from natpair_lab.testbed import host
from natpair_lab.testbed.classic.files import CONNTRACKD, KEEPALIVED, ROLE_FILE

T = TypeVar("T", list[Any], dict[str, Any])

PRIMARY, SECONDARY = "65000:1", "65000:2"

_ESTABLISHED = 6
_COMMUNITIES = 8
_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found on one node. `role_word` is the notify script's; `communities` are those of the first FIP."""

    holds_vip: bool
    role_word: str
    running: frozenset[str]
    sessions: int
    announced: Mapping[str, tuple[str, ...]]


def classic_status(ref: host.InitRef, netns: str, gateway: Gateway, name: str) -> Status | None:
    """The status of node `name`, whose supervisor is `ref`; None if it cannot be asked."""
    try:
        listed = host.control(ref, {"op": "list"})["services"]
    except LabError:
        return None
    services = listed if isinstance(listed, list) else []
    interface = gateway.node_named(name).private_interface
    seen = Seen(
        holds_vip=gateway.pair.vip.ip in addresses(_shown(netns, "ip", "-j", "address", "show", "dev", interface)),
        role_word=_role_word(ref),
        running=frozenset(str(service["name"]) for service in services if service["state"] == "running"),
        sessions=established(_shown(netns, "gobgp", "-j", "neighbor")),
        announced=communities(_shown(netns, "gobgp", "-j", "global", "rib", "-a", "ipv4")),
    )
    return status_of(seen, gateway, name)


def status_of(seen: Seen, gateway: Gateway, name: str) -> Status:
    """The status that follows from what was found. Pure."""
    role = role_of(seen)
    fips = [f"{fip}/32" for fip in gateway.pair.fips]
    servers = len(route_servers(gateway))
    connected = seen.sessions == servers
    carried = {community for fip in fips for community in seen.announced.get(fip, ())}
    ready = role is Role.STANDBY and connected and {KEEPALIVED, CONNTRACKD} <= seen.running
    primary = carried == {PRIMARY}
    return Status(
        node=name,
        peer=gateway.peer_of(name).name,
        role=role,
        vrrp="MASTER" if seen.holds_vip else seen.role_word.upper(),
        traffic="",
        announcement=Announced(", ".join(sorted(carried)) or "nothing"),
        change_complete=role is Role.ACTIVE and connected and primary and seen.role_word == "master",
        synced=ready and not carried,
        ready=ready,
        eligible=ready,
        bgp=Bgp(seen.sessions, servers),
    )


def role_of(seen: Seen) -> Role:
    """The node with the VIP is active. A node whose Keepalived has ended, or reports FAULT, is in fault."""
    if seen.holds_vip:
        return Role.ACTIVE
    if KEEPALIVED not in seen.running or seen.role_word == "fault":
        return Role.FAULT
    return Role.STANDBY


def addresses(shown: str) -> frozenset[IPv4Address]:
    """The IPv4 addresses in the answer of `ip -j address show`."""
    found = (info for link in _parsed(shown, list) for info in link.get("addr_info", []))
    return frozenset(IPv4Address(info["local"]) for info in found if info["family"] == "inet")


def established(shown: str) -> int:
    """The number of established sessions in the answer of `gobgp -j neighbor`."""
    return sum(peer.get("state", {}).get("session_state") == _ESTABLISHED for peer in _parsed(shown, list))


def communities(shown: str) -> dict[str, tuple[str, ...]]:
    """Each prefix in the answer of `gobgp -j global rib`, with the communities of its announcement."""
    return {
        prefix: tuple(
            f"{number >> 16}:{number & 0xFFFF}"
            for path in paths
            for attribute in path.get("attrs", [])
            if attribute["type"] == _COMMUNITIES
            for number in attribute["communities"]
        )
        for prefix, paths in _parsed(shown, dict).items()
        if isinstance(paths, list)
    }


def _parsed(shown: str, kind: type[T]) -> T:
    """The JSON in `shown` if it is of that kind, else an empty one: GoBGP answers otherwise while it starts."""
    try:
        document = json.loads(shown)
    except ValueError:
        return kind()
    return document if isinstance(document, kind) else kind()


def _shown(netns: str, *argv: str) -> str:
    return run(["ip", "netns", "exec", netns, *argv], timeout=_SECONDS, ok=range(256)).stdout


def _role_word(ref: host.InitRef) -> str:
    try:
        return ref.path(ROLE_FILE).read_text().strip()
    except OSError:
        return ""
