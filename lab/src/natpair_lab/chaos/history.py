"""What is kept of one fault: everything the checker reads, as frozen values, and as a file beside the captures.

Nothing in here was computed by the pair about itself but `statuses`, which the checker only compares with the
rest (I10). All times are monotonic nanoseconds of this machine, which all namespaces share.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter

from natpair_lab.drill.records import (
    FlowRecord,
    Leak,
    NeighbourChange,
    RouteChange,
    Seen,
    TapRecord,
    UdpRecord,
)

FILE = "history.json"


@dataclass(frozen=True, slots=True)
class VipChange:
    """A node's kernel got or lost the VIP."""

    time_ns: int
    node: str
    owned: bool


@dataclass(frozen=True, slots=True)
class Dark:
    """A time in which a node could not be heard on a link ("vlan", "public") or had no power ("power")."""

    node: str
    link: str
    from_ns: int
    to_ns: int


@dataclass(frozen=True, slots=True)
class Offer:
    """From a moment on, some route server held the FIP as primary (65000:1) from exactly these nodes."""

    time_ns: int
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StatusSeen:
    """What a node's agent said at a moment: its role, its community, and the names of its conditions."""

    time_ns: int
    node: str
    role: str
    community: str
    conditions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Check:
    """Something a fault itself looked at; it holds if `value_ms` is there and at most `bound_ms`."""

    name: str
    value_ms: float | None
    bound_ms: float
    detail: str = ""

    @property
    def held(self) -> bool:
        """Whether it was as it must be."""
        return self.value_ms is not None and self.value_ms <= self.bound_ms


@dataclass(frozen=True, slots=True)
class Resources:
    """What a node used: memory of its processes, tracked flows, bytes of log and state files."""

    node: str
    rss_kb: int
    flows: int
    log_bytes: int


@dataclass(frozen=True, slots=True)
class Aftermath:
    """The look from outside once everything was repaired; `ready_ns` None: the pair never got ready again.

    `flows_active` are the clients' established flows in the active node's kernel, `flows_missing` those of them
    that the other node's kernel lacks.
    """

    ready_ns: int | None
    owners: tuple[str, ...]
    best_path: tuple[str, ...]
    flows_active: int = 0
    flows_missing: int = 0


MISSING_RATIO = 0.02
MISSING_SLACK = 2


def unlike_a_pair(after: Aftermath) -> list[str]:
    """What keeps two nodes from being one active and one standby with its flows, by kernels and fabric."""
    wrong = []
    if len(after.owners) != 1:
        wrong.append(f"the VIP is on {' and '.join(after.owners) or 'no node'}")
    elif after.best_path != after.owners:
        wrong.append(f"the VIP is on {after.owners[0]}, the best path is {' and '.join(after.best_path) or 'none'}")
    if after.flows_missing > MISSING_SLACK + MISSING_RATIO * after.flows_active:
        wrong.append(f"the standby lacks {after.flows_missing} of {after.flows_active} flows")
    if len(after.owners) == 1 and not after.flows_active:
        wrong.append("the active node has no flow of a client by which to check its standby")
    return wrong


@dataclass(frozen=True, slots=True)
class History:
    """One fault from the first undisturbed second to the last look.

    `event_ns` ends the undisturbed time, `calm_ns` is when the injection had run its course, `repair_ns` when the
    repair began. `vip_start` and `path_start` say how things stood when the taps opened. `agents_speak` is False for
    a design without agents: then I10 has nothing to compare. `felt_ns`: before it the fault must not be felt at all
    though it may be later; None if it is one or the other throughout. `provider` are hosts that the nodes themselves
    talk to, such as an API.
    """

    fault: str
    nodes: tuple[str, str]
    active: str
    baseline_ns: int
    event_ns: int
    calm_ns: int
    repair_ns: int
    probe_ns: int
    end_ns: int
    fips: tuple[str, ...]
    own_addresses: frozenset[str]
    vip_start: tuple[str, ...]
    path_start: tuple[str, ...]
    udp: UdpRecord
    aftermath: Aftermath
    flows: tuple[FlowRecord, ...] = ()
    connections: tuple[FlowRecord, ...] = ()
    taps: TapRecord = field(default_factory=TapRecord)
    aliens: tuple[Seen[Leak], ...] = ()
    routes: tuple[RouteChange, ...] = ()
    neighbours: tuple[NeighbourChange, ...] = ()
    vips: tuple[VipChange, ...] = ()
    offers: tuple[Offer, ...] = ()
    dark: tuple[Dark, ...] = ()
    statuses: tuple[StatusSeen, ...] = ()
    before: tuple[Resources, ...] = ()
    after: tuple[Resources, ...] = ()
    checks: tuple[Check, ...] = ()
    agents_speak: bool = True
    felt_ns: int | None = None
    provider: frozenset[str] = frozenset()

    @property
    def vip_seen(self) -> bool:
        """Some node was ever seen to have the VIP: else the watch on it saw nothing, and proves nothing."""
        return bool(self.vip_start) or any(change.owned for change in self.vips)


_ADAPTER = TypeAdapter(History)


def write(history: History, folder: Path) -> None:
    """Keep `history` in `folder`, beside the captures it was read from."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_bytes(_ADAPTER.dump_json(history))


def read(folder: Path) -> History:
    """The history kept in `folder`; ValueError if what lies there is none, FileNotFoundError without any."""
    return _ADAPTER.validate_json((folder / FILE).read_bytes())
