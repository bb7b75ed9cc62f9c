"""The results file: one JSON object for each run, so that a bench can stop and resume after any run."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from natpair.errors import LabError
from natpair_lab.bench.plan import Cell, Contestant, Event
from natpair_lab.drill.machine import Machine

SCHEMA = "natpair/bench-results/v1"
_OTHER_FILE = "move it away, or give another --results"


@dataclass(frozen=True, slots=True)
class Measured:
    """One run. `recovered` False: the stream was still silent at the end, and `outage_ms` is a lower bound.

    `repeats` counts earlier attempts that failed, each in a lab that was then built again.
    """

    contestant: Contestant
    event: Event
    outage_ms: float
    baseline_gap_ms: float
    recovered: bool
    packets_sent: int
    packets_lost: int
    flows_total: int
    flows_broken: int
    young_flows_total: int
    young_flows_broken: int
    resets: int
    leaked_packets: int
    taps_lost: int
    load_1min: float
    time: str
    victim: str
    repeats: int = 0

    @property
    def cell(self) -> Cell:
        """The cell to which the run belongs."""
        return Cell(self.contestant, self.event)


@dataclass(slots=True)
class ResultsFile:
    """The file at `path`: a first line about the machine, then one line for each run."""

    path: Path
    machine: Machine
    flows: int
    runs: list[Measured] = field(default_factory=list)

    def done(self) -> Mapping[Cell, int]:
        """The number of runs of each cell."""
        return Counter(run.cell for run in self.runs)

    def add(self, run: Measured) -> None:
        """Write a run to disk; it counts as done only afterwards."""
        if not self.path.exists() or not self.path.stat().st_size:
            _append(self.path, {"schema": SCHEMA, "machine": asdict(self.machine), "flows": self.flows})
        _append(self.path, asdict(run))
        self.runs.append(run)


def open_results(path: Path, machine: Machine, flows: int) -> ResultsFile:
    """Begin the results at `path`, or continue where they end.

    LabError if the file holds no results, or results of another machine, another natpair or other traffic: such figures
    must not be mixed.
    """
    if not path.exists() or not path.stat().st_size:
        return ResultsFile(path, machine, flows)
    found = read_results(path)
    differing = [
        what for what, same in (("flows", found.flows == flows), ("machine", found.machine == machine)) if not same
    ]
    if differing:
        raise LabError(f"{path} holds results of another {differing[0]}", fix=_OTHER_FILE)
    text = path.read_text(encoding="utf-8")
    if not text.endswith("\n"):  # the run that was being written when the machine stopped
        path.write_text(text[: text.rindex("\n") + 1], encoding="utf-8")
    return found


def read_results(path: Path) -> ResultsFile:
    """The results at `path`, from any machine; LabError if the file holds none."""
    if not path.exists():
        raise LabError(f"there is no {path}", fix="measure first: natpair bench failover --results FILE")
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    head = _parsed(lines[0]) if lines else {}
    if head.get("schema") != SCHEMA:
        raise LabError(f"{path} holds no results of a bench", fix=_OTHER_FILE)
    return ResultsFile(path, Machine(**head["machine"]), head["flows"], _runs(path, lines[1:]))


def _runs(path: Path, lines: Sequence[str]) -> list[Measured]:
    runs = []
    for number, line in enumerate(lines, start=2):
        if not line.endswith("\n"):
            break
        raw = _parsed(line)
        try:
            named = {"contestant": Contestant(raw["contestant"]), "event": Event(raw["event"])}
            runs.append(Measured(**(raw | named)))
        except (KeyError, TypeError, ValueError) as error:
            raise LabError(f"{path} line {number} is not a run of a bench", fix="remove that line") from error
    return runs


def _parsed(line: str) -> dict[str, Any]:
    try:
        document = json.loads(line)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _append(path: Path, document: Mapping[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(document) + "\n")
        file.flush()
        os.fsync(file.fileno())
