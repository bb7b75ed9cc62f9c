"""Read the account once for a pair: missing shares and planned maintenance; and repair shares.

The agent and `natpair cloud watch` use it, and both get the values of `core.account`.

The parts of a look are independent: a token that may not read events can still read shares. Each part has its own time
limit, so a look always ends, and it reports which parts failed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from natpair.core.account import Lack, Trouble, Work
from natpair.core.events import AccountSeen
from natpair.core.model import Gateway, Node
from natpair.errors import ApiError, NatpairError
from natpair.linode import sharing
from natpair.linode.client import LinodeClient
from natpair.linode.models import Address, Event, Maintenance
from natpair.linode.sharing import Drift, DriftKind

Part = TypeVar("Part")

PART_SECONDS = 20.0
LONGEST_PAUSE_SECONDS = 300.0
"""Longest pause between failed looks. Pauses grow up to this, so that a recovered API is soon noticed."""
_JITTER = 0.1
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
"""Events that stop or move a Linode. A boot, a rename or a new address is no reason to hand over."""

# Two sources name the states of maintenance differently; the meaning of any other state is unknown.
_WAITING = frozenset({"pending", "scheduled"})
_OVER = frozenset({"completed", "canceled", "cancelled", "failed"})
_OLDEST_EVENT = timedelta(days=8)  # The longest notice is a week, and the platform does not close all events.
_WORDS_FOR_DRIFT = {
    DriftKind.NOT_SHARED: "is not shared to",
    DriftKind.NOT_OURS: "is not an address of this account",
    DriftKind.OTHER_REGION: "is in a different region from the nodes",
    DriftKind.NOT_SHAREABLE: "is a 1:1 NAT address of a VPC and cannot be shared",
}


@dataclass(frozen=True, slots=True)
class Look:
    """The result for the core, what can be repaired, and the API's errors."""

    seen: AccountSeen
    repairable: tuple[Drift, ...] = ()
    errors: tuple[ApiError, ...] = ()

    @property
    def is_pressed(self) -> bool:
        """Whether to wait longer before the next look, because the API failed.

        A refusal does not count: a new token should be used soon.
        """
        return any(not trouble.refused for trouble in self.seen.troubles)

    @property
    def retry_after_seconds(self) -> float:
        """How long the API asks us to wait."""
        return max((error.retry_after_seconds or 0.0 for error in self.errors), default=0.0)

    @property
    def to_share(self) -> tuple[str, ...]:
        """The shares that `repair` would restore, as text."""
        return tuple(f"{lack.fip} to {lack.node}" for lack in self.seen.lacks or () if lack.repairable)


@dataclass(frozen=True, slots=True)
class _Moment:
    """The present on the wall clock, which the API uses, and on the monotonic clock, which the core uses."""

    wall: datetime
    now: float

    def monotonic(self, moment: datetime | None) -> float | None:
        return None if moment is None else self.now + (moment - self.wall).total_seconds()


async def look(client: LinodeClient, gateway: Gateway, part_seconds: float = PART_SECONDS) -> Look:
    """Read everything. API errors are in the result. It takes at most four times `part_seconds`."""
    errors: dict[str, ApiError] = {}

    async def part(name: str, reading: Awaitable[Part]) -> Part | None:
        try:
            async with asyncio.timeout(part_seconds):
                return await reading
        except TimeoutError:
            errors[name] = ApiError(name, None, (f"no complete answer within {part_seconds:g} s",), retryable=True)
        except ApiError as error:
            errors[name] = error
        return None

    drifts: tuple[Drift, ...] | None = None
    planned, events, linodes = None, None, dict[int, str]()
    owners = await part("which Linode is which node", _owners(client, gateway.node))
    if owners is not None:
        linodes = {_linode_of(node, owners): node.name for node in gateway.node}
        region = owners[gateway.node[0].name].region
        drifts = await part("shares", sharing.look_for_drift(client, gateway.pair.fips, linodes, region))
        planned = await part("maintenance", client.maintenance())
        events = await part("events", _events(client, linodes))
    # Taken after the answers, so that a slow API does not make maintenance seem to begin earlier.
    moment = _Moment(datetime.now(UTC), time.monotonic())
    seen = AccountSeen(
        None if drifts is None else tuple(_lack(drift, linodes) for drift in drifts),
        None if planned is None else _works(_maintenance(item, linodes, moment) for item in planned),
        None if events is None else _works(_event(event, node, moment) for event, node in events),
        tuple(_trouble(name, error) for name, error in errors.items()),
    )
    return Look(seen, tuple(drift for drift in drifts or () if drift.repairable), tuple(errors.values()))


async def repair(
    client: LinodeClient, found: Look, patience: sharing.Patience, seconds: float | None = None
) -> Trouble | None:
    """Restore the missing shares in `found`, within `seconds` if given. Return the error; None on success."""
    try:
        async with asyncio.timeout(seconds):
            await sharing.repair(client, found.repairable, patience)
    except TimeoutError:
        return Trouble("repair", f"not finished within {seconds} s")
    except NatpairError as error:
        refused = isinstance(error, ApiError) and error.status in {401, 403}
        return Trouble("repair", error.message, error.fix, refused)
    return None


def pause(interval: float, failures: int, asked: float, chance: float) -> float:
    """Seconds to the next look. `asked` is the API's Retry-After; `chance` (0 to 1) is jitter between two agents."""
    longest = max(interval, LONGEST_PAUSE_SECONDS)
    usual = min(interval * 2.0 ** min(failures, 16), longest)
    return max(usual, asked) * (1 - _JITTER + 2 * _JITTER * chance)


async def _owners(client: LinodeClient, nodes: Sequence[Node]) -> dict[str, Address]:
    found: dict[str, Address] = {}
    for node in nodes:
        try:
            found[node.name] = await client.address(node.public_address.ip)
        except ApiError as error:
            if error.status != 404:
                raise
            raise _not_ours(node) from None
        if found[node.name].linode_id is None and node.linode is None:
            raise _not_ours(node)
    return found


def _not_ours(node: Node) -> ApiError:
    reason = f"{node.public_address.ip}, the public address of {node.name}, belongs to no Linode of this account"
    return ApiError("read an address", 404, (reason,), fix="use a token of the account that owns both nodes")


def _linode_of(node: Node, owners: Mapping[str, Address]) -> int:
    return node.linode or owners[node.name].linode_id or 0


def _lack(drift: Drift, linodes: Mapping[int, str]) -> Lack:
    node = linodes[drift.receiver] if drift.receiver is not None else ""
    return Lack(str(drift.address), node, f"{_WORDS_FOR_DRIFT[drift.kind]} {node}".strip(), drift.repairable)


def _trouble(part: str, error: ApiError) -> Trouble:
    status = error.status
    refused = status is not None and 400 <= status < 500 and not error.retryable
    return Trouble(part, error.message, error.fix, refused)


def _works(works: Iterable[Work | None]) -> tuple[Work, ...]:
    return tuple(work for work in works if work is not None)


def _maintenance(item: Maintenance, linodes: Mapping[int, str], moment: _Moment) -> Work | None:
    if item.entity.type != "linode" or not isinstance(item.entity.id, int) or item.entity.id not in linodes:
        return None
    if item.status in _OVER:
        return None
    waiting = item.status in _WAITING
    begins = item.begins if waiting else None
    state = "" if waiting else f", {item.status}"
    what = f"maintenance ({item.type}{state}) {_when(begins)}"
    key = f"{item.entity.id}:{item.type}:{_stamp(item.begins)}"
    return Work(linodes[item.entity.id], key, what, moment.monotonic(begins))


async def _events(client: LinodeClient, linodes: Mapping[int, str]) -> tuple[tuple[Event, str], ...]:
    found = [
        (event, node)
        for linode, node in linodes.items()
        for event in await client.events(linode=linode, statuses=EVENT_STATUSES)
    ]
    return tuple(found)


def _event(event: Event, node: str, moment: _Moment) -> Work | None:
    old = moment.wall - event.created >= _OLDEST_EVENT
    if event.action not in WORK_EVENTS or event.status not in EVENT_STATUSES or old:
        return None
    begins = event.details.begins if event.details is not None and event.status == "scheduled" else None
    what = f"{event.action} ({event.status}) {_when(begins)}"
    return Work(node, f"event:{event.id}", what, moment.monotonic(begins))


def _when(begins: datetime | None) -> str:
    return "at an unknown time" if begins is None else f"from {begins.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _stamp(begins: datetime | None) -> str:
    return "unknown" if begins is None else f"{begins.astimezone(UTC):%Y%m%dT%H%M%S}"
