"""The report of a drill: one `RunResult` per run, and a `Report` over all of them. Frozen, and convertible to JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from natpair_lab.drill.machine import Machine

SCHEMA = "natpair/drill/v1"


@dataclass(frozen=True, slots=True)
class Steps:
    """When each step of a takeover was seen, in milliseconds after the event; None = not seen."""

    detection: float | None = None
    traffic_state_switched: float | None = None
    update_on_the_wire: float | None = None
    best_path_moved: float | None = None
    arp_learnt: float | None = None


@dataclass(frozen=True, slots=True)
class RunResult:
    """One measured event. The names are those of the JSON report; docs/drills.md says what each means."""

    victim: str
    survivor: str
    outage_ms: float
    baseline_gap_ms: float
    excess_ms: float
    packets_sent: int
    packets_per_second: float
    packets_lost: int
    flows_total: int
    flows_broken: int
    young_flows_total: int
    young_flows_broken: int
    new_total: int
    new_refused: int
    stalled_new: int
    slowest_new_ms: float
    resets: int
    leaked_packets: int
    address_before: str
    address_after: str
    steps_ms: Steps
    fifo_to_update_ms: float | None
    role_changes: int
    wrong_active: int
    two_claimants_ms: float
    two_claimants_total_ms: float
    recovered: bool = True
    standby_synced: bool | None = None
    repaired_ms: float | None = None
    rejoined_ms: float | None = None
    moved_back_ms: float | None = None
    refused: str = ""
    refusals: tuple[str, ...] = ()
    taps_lost: int = 0
    gaps_ms: tuple[tuple[float, float], ...] = ()
    broken: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def figure(self, name: str) -> float | None:
        """The figure that the bound called `name` checks; None if this run has none."""
        derived = {
            "address_changed": float(not self.address_after or self.address_before != self.address_after),
            "standby_not_synced": None if self.standby_synced is None else float(not self.standby_synced),
            "event_refused": float(bool(self.refused)),
        }
        if name in derived:
            return derived[name]
        value = getattr(self, name)
        return None if value is None else float(value)


@dataclass(frozen=True, slots=True)
class Spread:
    """Nearest-rank percentiles: below 100 runs, p99 is the maximum."""

    p50: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True)
class Summary:
    """All runs together."""

    runs: int
    victims: tuple[str, ...]
    outage_ms: Spread
    excess_ms: Spread
    fifo_to_update_ms: Spread | None
    packets_sent: int
    packets_lost: int
    flows_total: int
    flows_broken: int
    flows_broken_ratio: float
    resets: int
    leaked_packets: int


@dataclass(frozen=True, slots=True)
class Failure:
    """A bound that did not hold: in run number `run` (from 0), or over all runs (None)."""

    bound: str
    limit: float
    value: float | None
    run: int | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """The document on standard output."""

    kind: str
    profile: str
    fabric: Mapping[str, Any]
    bounds: Mapping[str, float]
    held: bool
    failed: tuple[Failure, ...]
    summary: Summary
    runs: tuple[RunResult, ...]
    machine: Machine
    load_1min: float
    real_time: bool
    seconds: float
    schema: str = SCHEMA

    def document(self) -> dict[str, Any]:
        """The report as plain JSON values, the schema first."""
        body = dataclasses.asdict(self)
        return {"schema": body.pop("schema"), **body}
