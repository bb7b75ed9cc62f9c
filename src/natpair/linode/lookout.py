"""One look at what the account says of a pair: shares that are gone, work that is planned. Reads only.

The parts of a look are independent: a token that may not read events still sees shares. Each part has its own time
limit, so a look ends however the API behaves, and what it could not see it says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from typing import TypeVar

from natpair.errors import ApiError
from natpair.linode import sharing
from natpair.linode.client import LinodeClient
from natpair.linode.models import Address, Event, Maintenance
from natpair.linode.sharing import Drift, DriftKind

Part = TypeVar("Part")

PART_SECONDS = 20.0
EVENT_STATUSES = ("scheduled", "started")
WORK_EVENTS = frozenset(
    {
        "host_reboot",
        "linode_migrate",
        "linode_migrate_datacenter",
        "linode_poweroff_on",
        "linode_reboot",
        "linode_shutdown",
    }
)
"""Events that stop a Linode or move it; a boot, a rename or a new address is no reason to leave."""

# Two sources name the states of maintenance differently; one that is in none of these lists may mean anything.
_WAITING = frozenset({"pending", "scheduled"})
_OVER = frozenset({"completed", "canceled", "cancelled", "failed"})
_OLDEST_EVENT = timedelta(days=8)  # a week's notice is the longest; what is older has been forgotten by the platform
_SAID_OF_DRIFT = {
    DriftKind.NOT_SHARED: "is not shared to",
    DriftKind.NOT_OURS: "is not an address of this account",
    DriftKind.OTHER_REGION: "is in another region than the nodes",
    DriftKind.NOT_SHAREABLE: "stands for a VPC address and cannot be shared",
}


@dataclass(frozen=True, slots=True)
class Machine:
    """A node as the API can find it: by its public address, or by its Linode's id where that is known."""

    name: str
    address: IPv4Address
    linode: int | None = None


@dataclass(frozen=True, slots=True)
class Gone:
    """A FIP that `node` may not announce; an empty node: neither may. `why` completes "192.0.2.221 …"."""

    fip: IPv4Address
    node: str
    why: str
    drift: Drift


@dataclass(frozen=True, slots=True)
class Planned:
    """Work on a node. `begins` None: nobody says when. `key`: the same as long as it is the same work."""

    node: str
    key: str
    what: str
    begins: datetime | None


@dataclass(frozen=True, slots=True)
class Blind:
    """A part that could not be seen, and why. `refused`: it will be no better next time, unless somebody acts."""

    part: str
    error: ApiError

    @property
    def refused(self) -> bool:
        """Whether the API refused: no right, no such address."""
        status = self.error.status
        return status is not None and 400 <= status < 500 and not self.error.retryable


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen. None: that part was not."""

    gone: tuple[Gone, ...] | None
    planned: tuple[Planned, ...] | None
    events: tuple[Planned, ...] | None
    blind: tuple[Blind, ...] = ()

    @property
    def retry_after_seconds(self) -> float:
        """How long the API asks to be left alone."""
        return max((one.error.retry_after_seconds or 0.0 for one in self.blind), default=0.0)


async def look(
    client: LinodeClient,
    nodes: Sequence[Machine],
    fips: Sequence[IPv4Address],
    now: datetime,
    part_seconds: float = PART_SECONDS,
) -> Look:
    """Look at all of it. Never raises for what the API does; it takes four times `part_seconds` at most."""
    blind: list[Blind] = []

    async def part(name: str, reading: Awaitable[Part]) -> Part | None:
        try:
            async with asyncio.timeout(part_seconds):
                return await reading
        except TimeoutError:
            error = ApiError(name, None, (f"no complete answer within {part_seconds:g} s",), retryable=True)
        except ApiError as caught:
            error = caught
        blind.append(Blind(name, error))
        return None

    owners = await part("which Linode is which node", _owners(client, nodes))
    if owners is None:
        return Look(None, None, None, tuple(blind))
    linodes = {_linode_of(node, owners): node.name for node in nodes}
    region = owners[nodes[0].name].region
    gone = await part("shares", _gone(client, fips, linodes, region))
    planned = await part("maintenance", _planned(client, linodes))
    events = await part("events", _events(client, linodes, now))
    return Look(gone, planned, events, tuple(blind))


async def _owners(client: LinodeClient, nodes: Sequence[Machine]) -> dict[str, Address]:
    found: dict[str, Address] = {}
    for node in nodes:
        try:
            found[node.name] = await client.address(node.address)
        except ApiError as error:
            if error.status != 404:
                raise
            raise _not_ours(node) from None
        if found[node.name].linode_id is None and node.linode is None:
            raise _not_ours(node)
    return found


def _not_ours(node: Machine) -> ApiError:
    reason = f"{node.address}, the public address of {node.name}, is no Linode's of this account"
    return ApiError("read an address", 404, (reason,), cure="use a token of the account that owns both nodes")


def _linode_of(node: Machine, owners: Mapping[str, Address]) -> int:
    return node.linode or owners[node.name].linode_id or 0


async def _gone(
    client: LinodeClient, fips: Sequence[IPv4Address], linodes: Mapping[int, str], region: str
) -> tuple[Gone, ...]:
    drifts = await sharing.look_for_drift(client, fips, linodes, region)
    return tuple(_said(drift, linodes) for drift in drifts)


def _said(drift: Drift, linodes: Mapping[int, str]) -> Gone:
    node = linodes[drift.receiver] if drift.receiver is not None else ""
    why = f"{_SAID_OF_DRIFT[drift.kind]} {node}".strip()
    return Gone(drift.address, node, why, drift)


async def _planned(client: LinodeClient, linodes: Mapping[int, str]) -> tuple[Planned, ...]:
    found = (_maintenance(item, linodes) for item in await client.maintenance())
    return tuple(work for work in found if work is not None)


def _maintenance(item: Maintenance, linodes: Mapping[int, str]) -> Planned | None:
    if item.entity.type != "linode" or not isinstance(item.entity.id, int) or item.entity.id not in linodes:
        return None
    if item.status in _OVER:
        return None
    waiting = item.status in _WAITING
    begins = item.begins if waiting else None
    state = "" if waiting else f", {item.status}"
    what = f"maintenance ({item.type}{state}) {_when(begins)}"
    return Planned(linodes[item.entity.id], f"{item.entity.id}:{item.type}:{_stamp(item.begins)}", what, begins)


async def _events(client: LinodeClient, linodes: Mapping[int, str], now: datetime) -> tuple[Planned, ...]:
    found: list[Planned] = []
    for linode, node in linodes.items():
        for event in await client.events(linode=linode, statuses=EVENT_STATUSES):
            if event.action in WORK_EVENTS and event.status in EVENT_STATUSES and now - event.created < _OLDEST_EVENT:
                found.append(_event(event, node))
    return tuple(found)


def _event(event: Event, node: str) -> Planned:
    begins = event.details.begins if event.details is not None and event.status == "scheduled" else None
    what = f"{event.action} ({event.status}) {_when(begins)}"
    return Planned(node, f"event:{event.id}", what, begins)


def _when(begins: datetime | None) -> str:
    return "at an unknown moment" if begins is None else f"from {begins.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _stamp(begins: datetime | None) -> str:
    return "unknown" if begins is None else f"{begins.astimezone(UTC):%Y%m%dT%H%M%S}"
