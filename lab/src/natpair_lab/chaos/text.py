"""Renders results as text. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from natpair_lab.chaos.catalogue import CATALOGUE
from natpair_lab.chaos.result import FaultResult, Report, Verdict

_WORDS = {Verdict.PASSED: "passed", Verdict.FAILED: "FAILED", Verdict.NOT_POSSIBLE: "not possible"}


def lines(report: Report) -> Iterator[str]:
    """The whole report, line by line."""
    width = max((len(result.name) for result in report.faults), default=0)
    for result in report.faults:
        yield line(result, width)
        if result.verdict is not Verdict.PASSED:
            yield f"     {result.reason}"
        if result.verdict is Verdict.FAILED and result.again:
            yield f"     to repeat it: {result.again}"
    yield ""
    yield (
        f"{report.passed} passed, {report.failed} failed, {report.not_possible} not possible; design {report.design},"
        f" profile {report.profile}; {report.seconds / 60:.1f} min on {report.machine.cpus} cores,"
        f" load {report.load_1min:g}"
    )


def line(result: FaultResult, width: int = 0) -> str:
    """One result as one line."""
    measured = "-" if result.measured_ms is None else f"{result.measured_ms:.0f}"
    bound = "-" if result.bound_ms is None else f"{result.bound_ms:.0f}"
    return f"{result.id:>4} {result.name:<{width}}  {_WORDS[result.verdict]:<12}  {measured:>6} ms, bound {bound} ms"


def listing() -> list[dict[str, object]]:
    """The catalogue as rows: id, name, bound, invariants, and the scale."""
    return [
        {
            "id": row.id,
            "name": row.name,
            "bound_ms": f"{row.bound_ms:g}",
            "invariants": " ".join(row.invariants),
            "note": row.scale,
        }
        for row in CATALOGUE.values()
    ]
