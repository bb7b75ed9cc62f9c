"""A bench's report in words: for a terminal, and as a Markdown table for the docs. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from natpair.bench.figures import Figures, Report
from natpair.bench.plan import Contestant, Event

EVENT_WORDS: Mapping[Event, str] = {
    Event.POWER_CUT: "power cut",
    Event.PLANNED_STOP: "planned stop",
    Event.VLAN_LOSS: "VLAN leg lost",
    Event.UPLINK_LOSS: "uplink lost",
    Event.SPEAKER_DEATH: "BGP speaker killed",
}
CONTESTANT_WORDS: Mapping[Contestant, str] = {
    Contestant.CLASSIC: "classic",
    Contestant.BALANCED: "natpair, balanced",
    Contestant.FAST: "natpair, fast",
}
HEADERS = ("event", "design", "runs", "p50 ms", "p99 ms", "max ms", "packets lost", "flows broken", "resets", "leaked")


def rows(report: Report) -> Iterator[tuple[str, ...]]:
    """One row a cell, in the order of `HEADERS`."""
    for event in Event:
        for contestant in Contestant:
            seen = report.designs.get(contestant, {}).get(event)
            if seen is not None:
                yield (EVENT_WORDS[event], CONTESTANT_WORDS[contestant], *_cells(seen))


def _cells(seen: Figures) -> tuple[str, ...]:
    return (
        str(seen.runs),
        milliseconds(seen.p50, seen),
        milliseconds(seen.p99, seen),
        milliseconds(seen.max, seen),
        f"{seen.packets_lost:,} of {seen.packets_sent:,}",
        f"{seen.flows_broken:,} of {seen.flows_total:,}",
        f"{seen.resets:,}",
        f"{seen.leaked_packets:,}",
    )


def milliseconds(value: float | None, seen: Figures) -> str:
    """A figure of a cell; one that never ended in the time it was watched is said to be above that."""
    if value is not None:
        return f"{value:,.0f}"
    return f"> {seen.censored_over_ms or 0:,.0f}"


def ratio_lines(report: Report) -> Iterator[str]:
    """How many times longer the classic design was out, event by event."""
    for event, by in report.ratio.items():
        parts = (f"{value:,.1f} ({contestant})" for contestant, value in by.items() if value is not None)
        words = ", ".join(parts)
        if words:
            yield f"{EVENT_WORDS[event]}: classic p50 over natpair p50 = {words}"


def bar_lines(report: Report) -> Iterator[str]:
    """The bars and whether they hold."""
    for bar in report.bars:
        value = "not measured" if bar.value is None else f"{bar.value:g}"
        relation = "at least" if bar.name.startswith("ratio") else "at most"
        yield f"{'held' if bar.held else 'FAILED'}: {bar.name} {value}, {relation} {bar.limit:g}"


def machine_line(report: Report) -> str:
    """Where it ran."""
    machine = report.machine
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    load = f"; load {report.load_1min[0]:g} to {report.load_1min[1]:g}" if report.load_1min else ""
    return f"{machine.cpus} x {machine.cpu}, Linux {machine.kernel}, {versions}, natpair {machine.natpair}{load}"


def markdown(report: Report) -> str:
    """The report as a Markdown table, its ratios and its machine."""
    table = [HEADERS, tuple("---" for _ in HEADERS), *rows(report)]
    lines = ["| " + " | ".join(row) + " |" for row in table]
    ratios = [f"- {line}" for line in ratio_lines(report)]
    return "\n".join([*lines, "", *ratios, "", machine_line(report), ""])
