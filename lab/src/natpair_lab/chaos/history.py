"""The history of one fault: everything the checker reads, as frozen values and as a file beside the captures.

The pair itself computed nothing in here except `statuses`, which the checker only compares with the rest (I10). All
times are nanoseconds of this machine's monotonic clock, which all namespaces share.
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
    """A node's kernel gained or lost the VIP."""

    time_ns: int
    node: str
    owned: bool


@dataclass(frozen=True, slots=True)
class Dark:
    """A period in which a node could not be heard on a link ("vlan", "public") or had no power ("power")."""

    node: str
    link: str
    from_ns: int
    to_ns: int


@dataclass(frozen=True, slots=True)
class Offer:
    """From this time on, some route server held the FIP as primary (65000:1) from exactly these nodes."""

    time_ns: int
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StatusSeen:
    """What a node's agent reported at one time: its role, its community, and the names of its conditions."""

    time_ns: int
    node: str
    role: str
    community: str
    conditions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Check:
    """A check made by the fault itself. It holds if `value_ms` is there and at most `bound_ms`."""

    name: str
    value_ms: float | None
    bound_ms: float
    detail: str = ""

    @property
    def held(self) -> bool:
        """Whether the check passed."""
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
    """The observer's last look, after the repair. `ready_ns` None: the pair never became ready again.

    `flows_active` counts the clients' established flows in the active node's kernel, `flows_missing` those of them that
    are missing in the other node's kernel.
    """

    ready_ns: int | None
    owners: tuple[str, ...]
    best_path: tuple[str, ...]
    flows_active: int = 0
    flows_missing: int = 0


MISSING_RATIO = 0.02
MISSING_SLACK = 2


def unlike_a_pair(after: Aftermath) -> list[str]:
    """What shows that the nodes are not one active and one synced standby, according to kernels and fabric."""
    wrong = []
    if len(after.owners) != 1:
        wrong.append(f"the VIP is on {' and '.join(after.owners) or 'no node'}")
    elif after.best_path != after.owners:
        wrong.append(f"the VIP is on {after.owners[0]}, the best path is {' and '.join(after.best_path) or 'none'}")
    if after.flows_missing > MISSING_SLACK + MISSING_RATIO * after.flows_active:
        wrong.append(f"the standby is missing {after.flows_missing} of {after.flows_active} flows")
    if len(after.owners) == 1 and not after.flows_active:
        wrong.append("the active node has no flow of a client, so its standby cannot be checked")
    return wrong


@dataclass(frozen=True, slots=True)
class History:
    """The history of one fault, from the first undisturbed second to the last look.

    The undisturbed time ends at `event_ns`. The injection is complete at `calm_ns`, and the repair begins at
    `repair_ns`. `vip_start` and `path_start` are the state when the taps opened. `agents_speak` is False for a design
    without agents: then I10 has nothing to compare. Before `felt_ns` the fault must have no effect, though it may have
    one later; None if one of the two holds throughout. `provider` are hosts that the nodes themselves connect to, such
    as an API.
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
        """Whether any node was ever seen with the VIP.

        If not, the observer saw nothing and its record proves nothing.
        """
        return bool(self.vip_start) or any(change.owned for change in self.vips)


_ADAPTER = TypeAdapter(History)


def write(history: History, folder: Path) -> None:
    """Write `history` to `folder`, beside the captures it was made from."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_bytes(_ADAPTER.dump_json(history))


def read(folder: Path) -> History:
    """The history in `folder`. ValueError if the file is not a history, FileNotFoundError if there is none."""
    return _ADAPTER.validate_json((folder / FILE).read_bytes())
