"""Measures what 100,000 live connections cost: power cuts with few and with many, and the resync of a returning node.

A live flow is a TCP connection that a client and a server hold open, and whose client received an answer to a message
sent after the cut, or still receives data.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from natpair.core.model import Profile
from natpair.errors import LabError
from natpair.system.process import run
from natpair_lab.bench.figures import Bar
from natpair_lab.bench.runner import seen_by_all
from natpair_lab.drill.analysis import spread
from natpair_lab.drill.kinds import KINDS, Inject, KindName
from natpair_lab.drill.machine import Machine
from natpair_lab.drill.result import RunResult, Spread
from natpair_lab.drill.runner import Options, drill_in
from natpair_lab.drill.stage import Injection, Stage
from natpair_lab.testbed.world import Lab

SCHEMA = "natpair/bench-flows/v1"
FEW = 100
MAX_OUTAGE_RATIO = 1.3
MAX_BROKEN_RATIO = 0.001
_COUNT_SECONDS = 30.0

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Sync:
    """The replication just before a cut: entries on both nodes, and the resident memory of each conntrackd."""

    entries_active: int
    entries_standby: int
    conntrackd_active_mb: float
    conntrackd_standby_mb: float


@dataclass(frozen=True, slots=True)
class Size:
    """All cuts with one number of connections. `broken_ratio` counts flows that were at least 2 s old."""

    flows: int
    runs: int
    outage_ms: Spread
    outages_ms: tuple[float, ...]
    flows_total: int
    flows_broken: int
    broken_ratio: float
    packets_lost: int
    resets: int
    leaked_packets: int
    sync: tuple[Sync, ...]


@dataclass(frozen=True, slots=True)
class Return:
    """A node that comes back while the other carries all connections.

    `resync_ms` is the time from power on to a standby that reports itself synced. `sync` is what both nodes hold at
    that moment.
    """

    flows: int
    resync_ms: float | None
    packets_lost: int
    flows_broken: int
    sync: Sync


@dataclass(frozen=True, slots=True)
class FlowsReport:
    """The document of `natpair bench flows --json`."""

    profile: Profile
    few: Size
    many: Size
    back: Return
    outage_ratio: float
    bars: tuple[Bar, ...]
    held: bool
    machine: Machine
    schema: str = field(default=SCHEMA)

    def document(self) -> dict[str, Any]:
        """The report as plain JSON values, the schema first."""
        body = asdict(self)
        return {"schema": body.pop("schema"), **body}


def bench_flows(lab: Lab, many: int, runs: int, machine: Machine, progress: Progress) -> FlowsReport:
    """Cut the power with few and with many connections in turn, `runs` times each, then boot a node again."""
    results: dict[int, list[tuple[RunResult, Sync]]] = {FEW: [], many: []}
    for number in range(runs):
        for count in (FEW, many):
            progress(f"run {number + 1} of {runs}: power cut with {count:,} connections")
            results[count].append(_cut(lab, count))
    progress(f"a node comes back while the other carries {many:,} connections")
    returned = _return(lab, many)
    return report(lab.gateway.pair.profile, size(FEW, results[FEW]), size(many, results[many]), returned, machine)


def report(profile: Profile, few: Size, many: Size, back: Return, machine: Machine) -> FlowsReport:
    """Summarise the runs and check the bars. Pure."""
    ratio = round(many.outage_ms.p50 / few.outage_ms.p50, 3)
    bars = (
        Bar("outage_ratio", MAX_OUTAGE_RATIO, ratio, ratio <= MAX_OUTAGE_RATIO),
        Bar("broken_ratio", MAX_BROKEN_RATIO, many.broken_ratio, many.broken_ratio <= MAX_BROKEN_RATIO),
    )
    return FlowsReport(profile, few, many, back, ratio, bars, all(bar.held for bar in bars), machine)


def size(count: int, results: Sequence[tuple[RunResult, Sync]]) -> Size:
    """Summarise the runs with one number of connections; ValueError without any."""
    runs = [result for result, _ in results]
    total, broken = sum(r.flows_total for r in runs), sum(r.flows_broken for r in runs)
    return Size(
        flows=count,
        runs=len(runs),
        outage_ms=spread([r.outage_ms for r in runs]),
        outages_ms=tuple(r.outage_ms for r in runs),
        flows_total=total,
        flows_broken=broken,
        broken_ratio=round(broken / total, 6) if total else 1.0,
        packets_lost=sum(r.packets_lost for r in runs),
        resets=sum(r.resets for r in runs),
        leaked_packets=sum(r.leaked_packets for r in runs),
        sync=tuple(sync for _, sync in results),
    )


def _cut(lab: Lab, count: int) -> tuple[RunResult, Sync]:
    seen: list[Sync] = []

    def inject(stage: Stage) -> Injection:
        seen.append(look(stage.lab, stage.victim, stage.survivor))
        return KINDS[KindName.CRASH].inject(stage)

    return _drill(lab, KindName.CRASH, count, inject), seen[0]


def _return(lab: Lab, count: int) -> Return:
    seen: list[Sync] = []

    def inject(stage: Stage) -> Injection:
        injection = KINDS[KindName.RETURN].inject(stage)
        seen.append(look(stage.lab, stage.survivor, stage.victim))
        return injection

    run = _drill(lab, KindName.RETURN, count, inject)
    return Return(count, run.rejoined_ms, run.packets_lost, run.flows_broken, seen[0])


def _drill(lab: Lab, name: KindName, count: int, inject: Inject) -> RunResult:
    kind = replace(KINDS[name], inject=inject)
    run = seen_by_all(drill_in(lab, Options(name, flows=count), lambda _: None, kind=kind).runs[0])
    if not run.recovered:
        # With few flows it would make the ratio of the outages small, and so the bar would hold.
        raise LabError(f"with {count:,} connections the stream did not come back: there is no outage to compare")
    return run


def look(lab: Lab, active: str, standby: str) -> Sync:
    """Count both tables and read the memory of both conntrackd."""
    return Sync(_entries(lab, active), _entries(lab, standby), _resident_mb(lab, active), _resident_mb(lab, standby))


def _entries(lab: Lab, node: str) -> int:
    argv = ["ip", "netns", "exec", lab.netns_of(node), "conntrack", "-C"]
    return int(run(argv, timeout=_COUNT_SECONDS).stdout)


def _resident_mb(lab: Lab, node: str) -> float:
    services: Mapping[str, Mapping[str, Any]] = {s["name"]: s for s in lab.services(node)["services"]}
    status = lab.ref(node).path(f"/proc/{services[lab.parts.replicator]['pid']}/status").read_text()
    return resident_mb(status)


def resident_mb(status: str) -> float:
    """VmRSS of a `/proc/PID/status` in MB; 0 if it has none."""
    found = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
    return round(int(found[1]) / 1024, 1) if found else 0.0
