"""Renders a drill's report as text: a table of runs, a timeline of the worst run, and the bounds that did not hold.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

from natpair_lab.drill.result import Failure, Report, RunResult

PICTURE_WIDTH = 64
_STEP_NAMES = (
    ("detection", "new active heard (VRRP)"),
    ("arp_learnt", "client's ARP entry moved"),
    ("traffic_state_switched", "traffic state switched"),
    ("update_on_the_wire", "BGP UPDATE on the wire"),
    ("best_path_moved", "fabric's best path moved"),
)
_COLUMNS = (
    "run",
    "victim",
    "outage ms",
    "undisturbed",
    "lost/sent",
    "flows broken",
    "young",
    "stalled",
    "rst",
    "leaks",
)


def lines(report: Report, *, ascii_only: bool = False) -> Iterator[str]:
    """The whole report, line by line."""
    yield f"drill {report.kind}, profile {report.profile}, {len(report.runs)} run{'s' * (len(report.runs) != 1)}"
    yield ""
    yield from _table(report)
    for number, run in enumerate(report.runs, start=1):
        for words in dict.fromkeys((*run.refusals, run.refused)):
            if words:
                yield f"run {number}, the agent's answer: {words}"
    worst = max(report.runs, key=lambda run: run.outage_ms)
    yield ""
    yield f"worst run ({report.runs.index(worst) + 1}), milliseconds after the event:"
    yield from picture(worst, ascii_only=ascii_only)
    yield ""
    yield from _summary(report)


def _table(report: Report) -> Iterator[str]:
    rows = [_COLUMNS, *(_row(number, run) for number, run in enumerate(report.runs, start=1))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    for row in rows:
        yield "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _row(number: int, run: RunResult) -> tuple[str, ...]:
    return (
        str(number),
        run.victim,
        f"{run.outage_ms:.1f}",
        f"{run.baseline_gap_ms:.1f}",
        f"{run.packets_lost}/{run.packets_sent}",
        f"{run.flows_broken}/{run.flows_total}",
        f"{run.young_flows_broken}/{run.young_flows_total}",
        f"{run.stalled_new}/{run.new_total}",
        str(run.resets),
        str(run.leaked_packets),
    )


def picture(run: RunResult, *, ascii_only: bool = False) -> Iterator[str]:
    """A timeline around the event, with gaps where the stream had no replies, and one line per step with its time."""
    full, empty = ("#", ".") if ascii_only else ("█", "·")
    moments = [moment for name, _ in _STEP_NAMES if (moment := getattr(run.steps_ms, name)) is not None]
    end = max([200.0, *moments, *(gap[1] for gap in run.gaps_ms)]) * 1.15
    start = -end * 0.1

    def column(moment: float) -> int:
        return min(PICTURE_WIDTH - 1, max(0, int((moment - start) / (end - start) * PICTURE_WIDTH)))

    cells = [full] * PICTURE_WIDTH
    for gap_start, gap_end in run.gaps_ms:
        for at in range(column(gap_start), column(gap_end) + 1):
            cells[at] = empty
    yield f"  {'echo replies':26}{''.join(cells)}  longest gap {run.outage_ms:.0f}"
    yield f"  {'event':26}{' ' * column(0.0)}^  0"
    for name, title in _STEP_NAMES:
        moment = getattr(run.steps_ms, name)
        if moment is not None:
            yield f"  {title:26}{' ' * column(moment)}^  {moment:.0f}"


def _summary(report: Report) -> Iterator[str]:
    total = report.summary
    outage = total.outage_ms
    yield f"outage ms: median {outage.p50:.1f}, p99 {outage.p99:.1f}, worst {outage.max:.1f}"
    yield (
        f"packets lost {total.packets_lost} of {total.packets_sent}; flows broken {total.flows_broken} of"
        f" {total.flows_total}; resets {total.resets}; leaked {total.leaked_packets}"
    )
    first, last = report.runs[0], report.runs[-1]
    after = last.address_after or "no answer"
    yield f"public address {first.address_before} before the first run, {after} after the last run"
    if report.held:
        yield "all bounds held: " + ", ".join(f"{name} <= {limit:g}" for name, limit in report.bounds.items())
        return
    yield "BOUNDS THAT DID NOT HOLD:"
    yield from (f"  {_failure(failure)}" for failure in report.failed)


def _failure(failure: Failure) -> str:
    where = "over all runs" if failure.run is None else f"run {failure.run + 1}"
    value = "not measured" if failure.value is None else f"{failure.value:g}"
    return f"{failure.bound}: {value}, bound {failure.limit:g} ({where})"
