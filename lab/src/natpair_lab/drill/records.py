"""The records of one run as frozen values: the input of the analysis. All times are monotonic nanoseconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar

from natpair_lab.drill.pcap import Advert, Arp, Reset, Update

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Sighting:
    """The stream's public address and port, as the internet host saw it from this time on."""

    time_ns: int
    address: str


@dataclass(frozen=True, slots=True)
class UdpRecord:
    """The echo stream: send and receive time of each packet (receive 0 = no reply)."""

    sent_ns: tuple[int, ...]
    received_ns: tuple[int, ...]
    seen: tuple[Sighting, ...] = ()
    socket_errors: int = 0


@dataclass(frozen=True, slots=True)
class FlowRecord:
    """One TCP connection; see `traffic_flows.Connection`. 0 means never, an empty text means nothing."""

    kind: str
    server: str
    started_ns: int
    opened_ns: int = 0
    connect_error: str = ""
    error: str = ""
    error_ns: int = 0
    address: str = ""
    changed_to: str = ""
    answered_stamp_ns: int = 0
    last_received_ns: int = 0
    proven_ns: int = 0


class Link(StrEnum):
    """The two sides of a node."""

    VLAN = "vlan"
    PUBLIC = "public"


@dataclass(frozen=True, slots=True)
class Seen(Generic[T]):
    """Something a tap saw at the switch port of a node's link, and whether it left or entered the node."""

    time_ns: int
    node: str
    link: Link
    leaving: bool
    what: T


@dataclass(frozen=True, slots=True)
class Leak:
    """A packet with a private source on a node's uplink."""

    source: str
    destination: str
    protocol: int


@dataclass(frozen=True, slots=True)
class TapRecord:
    """All that the taps on both switches saw, in order of time. `lost` counts packets the taps missed."""

    leaks: tuple[Seen[Leak], ...] = ()
    resets: tuple[Seen[Reset], ...] = ()
    adverts: tuple[Seen[Advert], ...] = ()
    arps: tuple[Seen[Arp], ...] = ()
    updates: tuple[Seen[Update], ...] = ()
    lost: int = 0


@dataclass(frozen=True, slots=True)
class RouteChange:
    """The fabric's route for a FIP changed: to these nodes (none, one, or several when it shares load)."""

    time_ns: int
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NeighbourChange:
    """A client's neighbour entry for the VIP changed; `node` owns the new hardware address, empty if no node does."""

    time_ns: int
    node: str


@dataclass(frozen=True, slots=True)
class AgentStep:
    """A line of a node's events.jsonl."""

    time_ns: int
    node: str
    event: str
    step: str
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Observed:
    """What the runner itself observed about the event, beside traffic and taps; None = not observed."""

    active_before: str
    active_after: str | None = None
    standby_synced: bool | None = None
    repaired_ns: int | None = None
    rejoined_ns: int | None = None
    moved_back_ns: int | None = None
    refused: str = ""
    refusals: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunData:
    """Everything that one run recorded; `event_ns` ends the baseline.

    At `probe_ns` the flows were asked for proof, which had to come by `answer_by_ns`. The taps closed at `end_ns`. The
    victim lost power at `cut_ns`, if it did.
    """

    victim: str
    survivor: str
    baseline_from_ns: int
    event_ns: int
    probe_ns: int
    answer_by_ns: int
    end_ns: int
    observed: Observed
    expected_active: str
    advert_hold_ns: int
    udp: UdpRecord
    flows: tuple[FlowRecord, ...] = ()
    connections: tuple[FlowRecord, ...] = ()
    taps: TapRecord = TapRecord()
    routes: tuple[RouteChange, ...] = ()
    neighbours: tuple[NeighbourChange, ...] = ()
    steps: tuple[AgentStep, ...] = ()
    own_addresses: frozenset[str] = frozenset()
    cut_ns: int | None = None


def udp_record(document: Mapping[str, Any]) -> UdpRecord:
    """The record a UDP client printed."""
    body = document["udp"]
    seen = tuple(Sighting(time_ns, address) for time_ns, address in body["seen"])
    return UdpRecord(tuple(body["sent_ns"]), tuple(body["received_ns"]), seen, body["socket_errors"])


def flow_records(document: Mapping[str, Any]) -> tuple[FlowRecord, ...]:
    """The records a TCP client printed."""
    rows: Sequence[Mapping[str, Any]] = document["flows"]
    return tuple(FlowRecord(**row) for row in rows)
