"""Computes figures from runs: percentiles, ratios, bars. Pure arithmetic."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any

from natpair_lab.bench.plan import Cell, Contestant, Event
from natpair_lab.bench.results import Measured
from natpair_lab.drill.analysis import nearest_rank
from natpair_lab.drill.machine import Machine

SCHEMA = "natpair/bench/v1"

RATIO_BARS: Mapping[Contestant, float] = MappingProxyType({Contestant.BALANCED: 12.0, Contestant.FAST: 60.0})
"""How many times shorter natpair's median outage after a power cut must be than that of the classic design."""


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one cell, in milliseconds. Percentiles are nearest rank, so below 100 runs p99 is the maximum.

    A figure is None if the run of that rank never recovered: it is only known to be above `censored_over_ms`.
    """

    runs: int
    p50: float | None
    p99: float | None
    max: float | None
    censored: int
    censored_over_ms: float | None
    packets_sent: int
    packets_lost: int
    flows_total: int
    flows_broken: int
    young_flows_total: int
    young_flows_broken: int
    resets: int
    leaked_packets: int
    repeats: int
    outages_ms: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of the bench. `value` None: it could not be measured, and so fails."""

    name: str
    limit: float
    value: float | None
    held: bool


@dataclass(frozen=True, slots=True)
class Report:
    """The document of `natpair bench failover --json`."""

    bench: str
    runs: int
    flows: int
    designs: Mapping[Contestant, Mapping[Event, Figures]]
    ratio: Mapping[Event, Mapping[Contestant, float | None]]
    bars: tuple[Bar, ...]
    held: bool
    complete: bool
    machine: Machine
    load_1min: tuple[float, float] | None
    schema: str = field(default=SCHEMA)

    def document(self) -> dict[str, Any]:
        """The report as plain JSON values, the schema first."""
        body = asdict(self)
        return {"schema": body.pop("schema"), **body}


def figures(runs: Sequence[Measured]) -> Figures:
    """The figures of one cell; ValueError without runs."""
    outages = [run.outage_ms if run.recovered else math.inf for run in runs]
    endless = [run.outage_ms for run in runs if not run.recovered]
    return Figures(
        runs=len(runs),
        p50=_finite(nearest_rank(outages, 50)),
        p99=_finite(nearest_rank(outages, 99)),
        max=_finite(max(outages)),
        censored=len(endless),
        censored_over_ms=min(endless, default=None),
        outages_ms=tuple(sorted(run.outage_ms for run in runs if run.recovered)),
        **{name: sum(getattr(run, name) for run in runs) for name in _SUMMED},
    )


_SUMMED = (
    *("packets_sent", "packets_lost", "flows_total", "flows_broken", "young_flows_total", "young_flows_broken"),
    *("resets", "leaked_packets", "repeats"),
)


def _finite(value: float) -> float | None:
    return None if math.isinf(value) else value


def ratio(slow: Figures | None, quick: Figures | None) -> float | None:
    """How many times longer the median outage of `slow` is.

    None if either is missing or has no figure, or if `quick` lost no packet: then its silences are the machine's.
    """
    if slow is None or quick is None or slow.p50 is None or not quick.p50 or not quick.packets_lost:
        return None
    return round(slow.p50 / quick.p50, 2)


def report(runs: Sequence[Measured], wanted: Sequence[Cell], rounds: int, flows: int, machine: Machine) -> Report:
    """Summarise the chosen cells. The report is complete when each has `rounds` runs."""
    table: dict[Contestant, dict[Event, Figures]] = {}
    for cell in wanted:
        mine = [run for run in runs if run.cell == cell]
        if mine:
            table.setdefault(cell.contestant, {})[cell.event] = figures(mine)
    ratios = _ratios(table)
    bars = _bars(table, ratios)
    loads = [run.load_1min for run in runs]
    return Report(
        bench="failover",
        runs=rounds,
        flows=flows,
        designs=table,
        ratio=ratios,
        bars=bars,
        held=all(bar.held for bar in bars),
        complete=all(sum(run.cell == cell for run in runs) >= rounds for cell in wanted),
        machine=machine,
        load_1min=(min(loads), max(loads)) if loads else None,
    )


def _ratios(table: Mapping[Contestant, Mapping[Event, Figures]]) -> dict[Event, dict[Contestant, float | None]]:
    """The ratios of all events that both contestants ran."""
    classic = table.get(Contestant.CLASSIC, {})
    found: dict[Event, dict[Contestant, float | None]] = {}
    for event in Event:
        for contestant in RATIO_BARS:
            quick = table.get(contestant, {}).get(event)
            if event in classic and quick is not None:
                found.setdefault(event, {})[contestant] = ratio(classic[event], quick)
    return found


def _bars(
    table: Mapping[Contestant, Mapping[Event, Figures]], ratios: Mapping[Event, Mapping[Contestant, float | None]]
) -> tuple[Bar, ...]:
    bars = []
    for contestant, limit in RATIO_BARS.items():
        measured = table.get(contestant, {})
        if contestant in ratios.get(Event.POWER_CUT, {}):
            value = ratios[Event.POWER_CUT][contestant]
            bars.append(Bar(f"ratio.power_cut.{contestant}", limit, value, value is not None and value >= limit))
        if Event.PLANNED_STOP in measured:
            lost = measured[Event.PLANNED_STOP].packets_lost
            bars.append(Bar(f"packets_lost.planned_stop.{contestant}", 0, lost, lost == 0))
    return tuple(bars)
