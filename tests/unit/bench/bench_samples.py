"""Runs and machines for the tests of the bench."""

from __future__ import annotations

from dataclasses import replace

from natpair_lab.bench.plan import Contestant, Event
from natpair_lab.bench.results import Measured
from natpair_lab.drill.machine import Machine

MACHINE = Machine("a processor", 2, "6.18", {"keepalived": "2.2.7"}, "0.1.0")


def ran(contestant: Contestant, event: Event, outage_ms: float = 500.0, **changes: object) -> Measured:
    base = Measured(
        contestant=contestant,
        event=event,
        outage_ms=outage_ms,
        baseline_gap_ms=5.0,
        recovered=True,
        packets_sent=3000,
        packets_lost=int(outage_ms / 2),
        flows_total=110,
        flows_broken=0,
        young_flows_total=20,
        young_flows_broken=0,
        resets=0,
        leaked_packets=0,
        taps_lost=0,
        load_1min=0.5,
        time="2026-01-01T00:00:00+00:00",
        victim="nat-a",
    )
    return replace(base, **changes)  # type: ignore[arg-type]
