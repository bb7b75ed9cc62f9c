"""What an agent says of its node: the types behind `natpair status --json`, and what can be read off them.

The agent writes a `Status` as JSON, and everybody else gets one back by `parse`. The schema is made from these types by
`scripts/schemas`. Standard library only: `natpair status` must start fast.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from enum import StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from natpair.core.condition import Condition, Severity
from natpair.core.history import History, Transition
from natpair.core.replies import FipReplies, ReplyState

SCHEMA = "natpair/status/v1"


class Role(StrEnum):
    """What a node does, in the word for people; `phase` says more."""

    ACTIVE = "active"
    STANDBY = "standby"
    FAULT = "fault"
    DRAINED = "drained"
    BOOTING = "booting"


@dataclass(frozen=True, slots=True)
class Announced:
    """What is said of the FIPs in BGP."""

    community: str
    med: int | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """What the agent wants nftables and BIRD to do."""

    traffic: str = ""
    announcement: Announced | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """One part of the node's health."""

    name: str
    ok: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Bgp:
    """The sessions to the route servers."""

    established: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True)
class Sync:
    """How complete the standby's copy of the flow table is, as far as this node knows."""

    sampled: int = 0
    """flows of the active node that were lately looked up on the standby"""
    missing: int = 0
    """how many of the sampled ones the standby does not have"""
    flows: int | None = None
    """flows on the active node; null if it is not known which node is active"""
    flows_missing: int | None = None
    """flows that the standby does not have: estimated from the sample, or else from the two counts"""


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """The peer as this node last heard it; null where nothing was heard."""

    heard_private_ms: int = 0
    heard_public_ms: int = 0
    fresh: bool = False
    """heard so lately that the rest speaks of the present"""
    role: Role | None = None
    phase: str | None = None
    vrrp: str | None = None
    epoch: int | None = None
    ready: bool | None = None
    synced: bool | None = None
    drained: bool | None = None
    flows: int | None = None


@dataclass(frozen=True, slots=True)
class MissingShare:
    """A FIP that the provider does not let a node announce; without a node, neither may."""

    fip: str
    node: str | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Maintenance:
    """Work on a node's machine that the provider has announced; it may begin at any moment if that is not known."""

    node: str
    what: str = ""
    begins_in_ms: int | None = None
    handed_over: bool = False
    """the role was given away for it"""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A part of the provider's account that could not be read or repaired."""

    part: str
    why: str = ""
    fix: str = ""


@dataclass(frozen=True, slots=True)
class AccountStatus:
    """The provider's account as this node last saw it."""

    seen_ms: int | None = None
    shares_missing: tuple[MissingShare, ...] = ()
    maintenance: tuple[Maintenance, ...] = ()
    trouble: tuple[Unreadable, ...] = ()


@dataclass(frozen=True, slots=True)
class Repaired:
    """Something that was not as it should be and was repaired."""

    time: float
    thing: str
    found: str = ""
    put: str = ""
    suspects: tuple[str, ...] = ()
    """programs that may have changed it"""


@dataclass(frozen=True, slots=True)
class UnconfirmedApply:
    """An `apply --confirm` that waits for its confirmation."""

    back_to: int
    """the generation that comes back without it"""
    seconds_left: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """One node as its agent sees it. What every agent has always said has no default here."""

    schema: str = SCHEMA
    node: str
    role: Role
    peer: str = ""
    time: float = 0.0
    """seconds since 1970"""
    phase: str = ""
    vrrp: str = ""
    epoch: int = 0
    change_complete: bool = False
    """this node is active, and the flows are adopted and told to the peer"""
    synced: bool = False
    """this standby has the flows of the active node"""
    ready: bool = False
    """this standby could become active at this moment"""
    eligible: bool = False
    """this node takes part in the election"""
    drained: bool = False
    boosted: bool = False
    fenced: bool = False
    config_hash: str = ""
    rendered: str = ""
    """digest of the files that this agent's version makes of the configuration"""
    preferred: str | None = None
    desired: Target = Target()
    traffic: str = "none"
    """what the ruleset in force does with clients' packets; "none" if there is none"""
    announcement: Announced | None = None
    health: tuple[Reading, ...] = ()
    bgp: Bgp = Bgp()
    flows: int = 0
    most_flows: int = 0
    """what the flow table may hold; 0 if that is not known"""
    unanswered: bool = False
    """no packets came back for a FIP when this node last served, lately"""
    replies: tuple[FipReplies, ...] = ()
    """for each FIP, whether packets come back; empty on a node that does not serve"""
    sync: Sync = Sync()
    peer_view: PeerStatus = PeerStatus()
    account: AccountStatus | None = None
    """null if nobody watches the account"""
    conditions: tuple[Condition, ...] = ()
    counters: Mapping[str, int] = field(default_factory=dict)
    trouble: str = ""
    """what nftables or BIRD refuses"""
    foreign_changes: int = 0
    repairs: tuple[Repaired, ...] = ()
    rejected_heartbeats: int = 0
    events_dropped: int = 0
    last_transition: Transition | None = None
    history: History | None = None
    unconfirmed: UnconfirmedApply | None = None

    @property
    def active_node(self) -> str | None:
        """The node that is active as far as this one knows."""
        if self.role is Role.ACTIVE:
            return self.node
        return self.peer if self.peer_view.fresh and self.peer_view.role is Role.ACTIVE else None

    @property
    def failing(self) -> frozenset[str]:
        """The parts of the node's health that are not well, in words."""
        return frozenset(one.detail for one in self.health if not one.ok)

    @property
    def critical(self) -> frozenset[str]:
        """What is critical on this node; what only the peer sees is not among it."""
        own = (one for one in self.conditions if one.node in {"", self.node})
        return frozenset(one.text for one in own if one.severity is Severity.CRITICAL)

    @property
    def asking(self) -> tuple[str, ...]:
        """The FIPs of which it is not known yet whether packets come back."""
        return tuple(one.fip for one in self.replies if one.state in {ReplyState.ASKING, ReplyState.SUSPECTED})

    def has(self, code: str) -> bool:
        """Whether a condition with this code holds."""
        return any(one.code == code for one in self.conditions)


# A ready pair


@dataclass(frozen=True, slots=True)
class _Side:
    """One node of a pair as far as it matters for readiness. A node does not tell its peer the last two."""

    name: str
    role: Role | None
    synced: bool
    ready: bool
    complete: bool = True
    eligible: bool = True


def _side(status: Status) -> _Side:
    return _Side(
        status.node, status.role, status.synced, status.ready, complete=status.change_complete, eligible=status.eligible
    )


def ready_pair(first: Status, second: Status) -> tuple[str, str] | None:
    """(active, standby) if the two nodes' own words make a ready pair.

    That is: one node is active with its change of role complete, and the other is a standby in sync that could take
    the role over at this moment.
    """
    sides = _side(first), _side(second)
    if _missing(*sides):
        return None
    active, standby = sorted(sides, key=lambda side: side.role is not Role.ACTIVE)
    return active.name, standby.name


def missing_for_pair(status: Status) -> str:
    """What is missing for a ready pair, to go by one node's word alone; empty if nothing is."""
    view = status.peer_view
    if not view.fresh:
        return f"{status.node} is {status.role}, {status.peer} is not heard"
    return _missing(_side(status), _Side(status.peer, view.role, bool(view.synced), bool(view.ready)))


def _missing(first: _Side, second: _Side) -> str:
    if {first.role, second.role} != {Role.ACTIVE, Role.STANDBY}:
        return f"{first.name} is {first.role}, {second.name} is {second.role}"
    active, standby = (first, second) if first.role is Role.ACTIVE else (second, first)
    if not active.complete:
        return f"{active.name} has not completed its takeover yet"
    if not standby.synced:
        return f"{standby.name} is not in sync yet"
    if not (standby.ready and standby.eligible):
        return f"{standby.name} is not ready to take over"
    return ""


# JSON


def to_json(status: Status) -> dict[str, Any]:
    """The document: plain values for `json.dumps`."""
    return asdict(status)


def parse(document: object) -> Status:
    """The status that an agent has written as JSON; ValueError if it is none.

    During an upgrade the agent may be older or newer than its reader: keys that are not known here are passed over, and
    what is not there, or is not understood, has its default.
    """
    status = _read(Status, document)
    if not isinstance(status, Status) or status.schema != SCHEMA:
        raise ValueError(f"not a document of {SCHEMA}")
    return status


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


# Any: a type expression such as `int | None` or `tuple[str, ...]`, for which typing has no better name.
def _read(kind: Any, raw: object) -> object:
    """`raw` as a value of `kind`; ValueError if it is none."""
    origin = get_origin(kind)
    if origin is UnionType:
        (wanted,) = (one for one in get_args(kind) if one is not NoneType)
        return None if raw is None else _read(wanted, raw)
    if is_dataclass(kind) and isinstance(kind, type):
        return _read_fields(kind, raw)
    if origin is tuple and isinstance(raw, list):
        return tuple(_read(get_args(kind)[0], one) for one in raw)
    if origin is Mapping and isinstance(raw, dict):
        return {str(key): _read(get_args(kind)[1], value) for key, value in raw.items()}
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return kind(str(raw))
    if kind is float and isinstance(raw, int | float) and not isinstance(raw, bool):
        return float(raw)
    if isinstance(kind, type) and type(raw) is kind:
        return raw
    raise ValueError(f"{raw!r} is no {kind}")


def _read_fields(kind: type, raw: object) -> object:
    if not isinstance(raw, dict):
        raise ValueError(f"{raw!r} is no {kind.__name__}")
    found: dict[str, object] = {}
    for one in fields(kind):
        try:
            found[one.name] = _read(_hints(kind)[one.name], raw[one.name])
        except (KeyError, ValueError):
            if one.default is MISSING and one.default_factory is MISSING:
                raise ValueError(f"{kind.__name__} without {one.name}") from None
    return kind(**found)
