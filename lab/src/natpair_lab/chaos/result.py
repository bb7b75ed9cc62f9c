"""The results of a run: the verdict on each fault, and the file from which a long run resumes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pydantic import TypeAdapter

from natpair_lab.chaos.checker import Finding
from natpair_lab.chaos.history import Check
from natpair_lab.drill.machine import Machine

SCHEMA = "natpair/chaos/v1"
FILE = "results.jsonl"


class Verdict(StrEnum):
    """How a fault ended."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_POSSIBLE = "not_possible"


@dataclass(frozen=True, slots=True)
class FaultResult:
    """The result of one fault or one schedule. `measured_ms` is the echo stream's longest silence after the event."""

    id: int
    name: str
    verdict: Verdict
    measured_ms: float | None
    bound_ms: float | None
    invariants: tuple[Finding, ...] = ()
    checks: tuple[Check, ...] = ()
    reason: str = ""
    scale: str = ""
    seconds: float = 0.0
    history: str = ""
    again: str = ""
    """The command that repeats exactly this run."""


@dataclass(frozen=True, slots=True)
class Report:
    """All results of one run; the JSON document of `natpair chaos`."""

    schema: str
    design: str
    profile: str
    seed: int | None
    faults: tuple[FaultResult, ...]
    passed: int
    failed: int
    not_possible: int
    seconds: float
    machine: Machine
    load_1min: float

    @property
    def held(self) -> bool:
        """Whether nothing failed."""
        return self.failed == 0


_ADAPTER = TypeAdapter(FaultResult)


def append(folder: Path, result: FaultResult) -> None:
    """Append one result to the file at once, so that it is kept if the next fault ends everything."""
    with (folder / FILE).open("ab") as file:
        file.write(_ADAPTER.dump_json(result) + b"\n")


def earlier(folder: Path) -> list[FaultResult]:
    """The results of the earlier run in this folder.

    A torn last line is cut off; otherwise the next one would be joined to it.
    """
    path = folder / FILE
    if not path.exists():
        return []
    text = path.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    if whole != text:
        path.write_bytes(whole)
    return [_ADAPTER.validate_json(line) for line in whole.splitlines()]


def count(results: Iterable[FaultResult], verdict: Verdict) -> int:
    """How many results have this verdict."""
    return sum(1 for result in results if result.verdict is verdict)


def reason(findings: Iterable[Finding], checks: Iterable[Check], measured: float, bound: float) -> str:
    """Why a fault failed, in one line; empty if it did not."""
    wrong = [] if measured <= bound else [f"silent for {measured:.0f} ms, {bound:.0f} are allowed"]
    for finding in findings:
        if not finding.held:
            value = "not checked" if finding.value is None else f"{finding.value:g} of {finding.bound:g} {finding.unit}"
            wrong.append(f"{finding.invariant}: {value}" + (f" ({finding.detail})" if finding.detail else ""))
    for check in checks:
        if not check.held:
            value = "never" if check.value_ms is None else f"{check.value_ms:.0f} of {check.bound_ms:.0f} ms"
            wrong.append(f"{check.name}: {value}" + (f" ({check.detail})" if check.detail else ""))
    return "; ".join(wrong)
