"""Runs a failover bench: one lab for each contestant, drills in turn.

Each result is on disk before the next run begins.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from natpair.errors import LabError
from natpair_lab.bench.plan import DRILLS, Cell, Contestant, pending
from natpair_lab.bench.results import Measured, ResultsFile
from natpair_lab.drill.kinds import KINDS, Kind
from natpair_lab.drill.result import RunResult
from natpair_lab.drill.runner import Options, drill_in
from natpair_lab.testbed import netns
from natpair_lab.testbed.faults import POWER_CUT, kind_named
from natpair_lab.testbed.topology import Design
from natpair_lab.testbed.world import Lab

BASELINE_SECONDS = 2.6
"""Undisturbed time before each event: only flows that are two seconds old count."""

CLASSIC_WATCH_SECONDS = 20.0
"""How long a classic run is watched at least: a restarted speaker takes 5 to 9 s to come back, and may then do harm."""

Progress = Callable[[str], None]


@dataclass(slots=True)
class Labs:
    """The contestants' labs: built when first needed, kept for all runs, removed at the end."""

    name: str
    progress: Progress
    up: dict[Contestant, Lab] = field(default_factory=dict)
    built: set[Contestant] = field(default_factory=set)

    def of(self, contestant: Contestant) -> Lab:
        """The contestant's lab. A lab of that name that is already up is used and stays up."""
        if contestant not in self.up:
            name = f"{self.name}-{contestant}"
            if (netns.LABS / name).exists():
                self.up[contestant] = _recovered(_fitting(_attached(name), contestant))
            else:
                self.build(contestant, name)
        return self.up[contestant]

    def build(self, contestant: Contestant, name: str) -> None:
        """Build the contestant's lab."""
        self.progress(f"building the lab {name}")
        self.up[contestant] = Lab.up(None, name=name, profile=contestant.profile, design=contestant.design)
        self.built.add(contestant)

    def rebuild(self, contestant: Contestant) -> None:
        """Replace a lab that did not recover. A lab that was up before is never removed."""
        if contestant not in self.built:
            return
        self.up[contestant].down()
        del self.up[contestant]
        self.built.discard(contestant)

    def close(self) -> None:
        """Remove every lab that was built here, also when one removal is interrupted."""
        with ExitStack() as all_of_them:
            for contestant in sorted(self.built):
                lab = self.up[contestant]
                all_of_them.callback(lab.down)
                all_of_them.callback(self.progress, f"removing the lab {lab.name}")


def _attached(name: str) -> Lab:
    try:
        return Lab.attach(name)
    except LabError as error:
        raise LabError(f"the lab {name} is there, half built", fix=f"natpair lab down --name {name}") from error


def _recovered(lab: Lab) -> Lab:
    """Repair a lab that was left in the middle of a run; its pair then becomes ready by itself."""
    for node in lab.nodes:
        for kind in (POWER_CUT, "vlan-down", "public-down"):
            kind_named(kind).repair(lab, node)
        lab.service(node, lab.parts.election, "start")
    return lab


def _fitting(lab: Lab, contestant: Contestant) -> Lab:
    wanted = contestant.profile or lab.gateway.pair.profile
    if lab.design is not contestant.design or lab.gateway.pair.profile is not wanted:
        raise LabError(
            f"the lab {lab.name} is up and is not a {contestant} pair", fix=f"natpair lab down --name {lab.name}"
        )
    return lab


@contextmanager
def labs(name: str, progress: Progress) -> Iterator[Labs]:
    """Labs for as long as the block lasts, removed however it ends."""
    held = Labs(name, progress)
    try:
        yield held
    finally:
        held.close()


def failover(wanted: Sequence[Cell], rounds: int, results: ResultsFile, name: str, progress: Progress) -> None:
    """Run what is missing in `results` to `rounds` runs per cell. LabError when a lab fails twice in a row."""
    todo = list(pending(wanted, rounds, results.done()))
    with labs(name, progress) as held:
        for number, cell in enumerate(todo, start=1):
            progress(f"{number} of {len(todo)}: {cell.event} of {cell.contestant}")
            run = _measure(held, cell, results.flows)
            results.add(run)
            progress(f"{number} of {len(todo)}: {_words(run)}")


def _words(run: Measured) -> str:
    outage = f"{run.outage_ms:.0f} ms" if run.recovered else f"over {run.outage_ms:.0f} ms"
    return f"{outage} outage, {run.packets_lost} packets lost, {run.flows_broken} of {run.flows_total} flows broken"


def _measure(held: Labs, cell: Cell, flows: int) -> Measured:
    try:
        return _one(held.of(cell.contestant), cell, flows)
    except LabError as error:
        if cell.contestant not in held.built:
            raise
        held.progress(f"once more in a new lab, for {error.message}")
        held.rebuild(cell.contestant)
        return replace(_one(held.of(cell.contestant), cell, flows), repeats=1)


def _one(lab: Lab, cell: Cell, flows: int) -> Measured:
    kind = drill_for(cell)
    load = os.getloadavg()[0]
    options = Options(kind.name, flows=flows, baseline_seconds=BASELINE_SECONDS)
    result = seen_by_all(drill_in(lab, options, lambda _: None, kind=kind).runs[0])
    return measured(cell, result, load, datetime.now(UTC).isoformat(timespec="seconds"))


def seen_by_all(run: RunResult) -> RunResult:
    """The run; LabError if a tap missed packets: resets and leaks in them would go uncounted."""
    if run.taps_lost:
        raise LabError(f"the taps missed {run.taps_lost} packets", fix="measure on a machine with less load")
    return run


def drill_for(cell: Cell) -> Kind:
    """The drill of a cell: every contestant gets the same event, traffic, witnesses and time limits."""
    kind = KINDS[DRILLS[cell.event]]
    watch = CLASSIC_WATCH_SECONDS if cell.contestant.design is Design.CLASSIC else kind.after_seconds
    return replace(kind, patient=True, after_seconds=watch)


def measured(cell: Cell, run: RunResult, load: float, time: str) -> Measured:
    """The part of a drill's run that a bench keeps."""
    same = (
        *("outage_ms", "baseline_gap_ms", "recovered", "packets_sent", "packets_lost", "flows_total", "flows_broken"),
        *("young_flows_total", "young_flows_broken", "resets", "leaked_packets", "taps_lost", "victim"),
    )
    kept = {name: getattr(run, name) for name in same}
    return Measured(cell.contestant, cell.event, load_1min=round(load, 2), time=time, **kept)
