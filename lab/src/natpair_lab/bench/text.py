"""A bench's report as text for a terminal, and as a Markdown table for the docs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from natpair_lab.bench.figures import Figures, Report
from natpair_lab.bench.flows import FlowsReport
from natpair_lab.bench.plan import Contestant, Event
from natpair_lab.drill.machine import Machine

EVENT_WORDS: Mapping[Event, str] = {
    Event.POWER_CUT: "power cut",
    Event.PLANNED_STOP: "planned stop",
    Event.VLAN_LOSS: "VLAN link lost",
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
    """One row per event and design, in the order of `HEADERS`."""
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
    """A figure as text. An outage that did not end while it was watched is shown as greater than that time."""
    if value is not None:
        return f"{value:,.0f}"
    return f"> {seen.censored_over_ms or 0:,.0f}"


def ratio_lines(report: Report) -> Iterator[str]:
    """How many times longer the outage of the classic design was, for each event."""
    for event, by in report.ratio.items():
        parts = (f"{value:,.1f} ({contestant})" for contestant, value in by.items() if value is not None)
        words = ", ".join(parts)
        if words:
            yield f"{EVENT_WORDS[event]}: classic p50 over natpair p50 = {words}"


def bar_lines(report: Report | FlowsReport) -> Iterator[str]:
    """The limits, and whether they held."""
    for bar in report.bars:
        value = "not measured" if bar.value is None else f"{bar.value:g}"
        relation = "at least" if bar.name.startswith("ratio.") else "at most"
        yield f"{'held' if bar.held else 'FAILED'}: {bar.name} {value}, {relation} {bar.limit:g}"


def machine_line(report: Report) -> str:
    """The machine and its load."""
    load = f"; load {report.load_1min[0]:g} to {report.load_1min[1]:g}" if report.load_1min else ""
    return machine_words(report.machine) + load


def machine_words(machine: Machine) -> str:
    """A machine in one line."""
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    return f"{machine.cpus} x {machine.cpu}, Linux {machine.kernel}, {versions}, natpair {machine.natpair}"


FLOW_HEADERS = ("connections", "runs", "p50 ms", "max ms", "flows broken", "resets", "leaked")


def flow_rows(report: FlowsReport) -> Iterator[tuple[str, ...]]:
    """One row for few and one for many connections, in the order of `FLOW_HEADERS`."""
    for seen in (report.few, report.many):
        outage = seen.outage_ms
        broken = f"{seen.flows_broken:,} of {seen.flows_total:,}"
        figures = (f"{seen.flows:,}", str(seen.runs), f"{outage.p50:,.0f}", f"{outage.max:,.0f}", broken)
        yield (*figures, f"{seen.resets:,}", f"{seen.leaked_packets:,}")


def flow_lines(report: FlowsReport) -> Iterator[str]:
    """Entries and memory of the replication before each power cut, and the resync time of a returning node."""
    for sync in report.many.sync:
        yield (
            f"before the cut: {sync.entries_active:,} entries on the active node, {sync.entries_standby:,} on the"
            f" standby; conntrackd {sync.conntrackd_active_mb:g} and {sync.conntrackd_standby_mb:g} MB"
        )
    back = report.back
    if back.resync_ms is None:
        yield f"a node that returned with {back.flows:,} connections open did not get in sync"
        return
    yield (
        f"a node that returned with {back.flows:,} connections open was in sync after {back.resync_ms / 1000:.1f} s,"
        f" with {back.sync.entries_standby:,} of {back.sync.entries_active:,} entries; {back.packets_lost} packets lost"
    )


def markdown(report: Report) -> str:
    """The report as a Markdown table, its ratios and its machine."""
    ratios = [f"- {line}" for line in ratio_lines(report)]
    return "\n".join([*_markdown_table(HEADERS, rows(report)), "", *ratios, "", machine_line(report), ""])


def side_by_side(report: Report) -> str:
    """A short report as a Markdown table: one row per event, one column per design, and the machine."""
    there = [contestant for contestant in Contestant if contestant in report.designs]
    headers = ("median", *(CONTESTANT_WORDS[contestant] for contestant in there))
    body = (
        (EVENT_WORDS[event], *(_in_short(report.designs[contestant].get(event)) for contestant in there))
        for event in Event
        if any(event in report.designs[contestant] for contestant in there)
    )
    runs = (
        f"{report.runs} runs of each event and design, alternating, with at least {report.flows} connections; "
        f"{machine_line(report)}"
    )
    return "\n".join([*_markdown_table(headers, body), "", f"{runs}.", ""])


def _in_short(seen: Figures | None) -> str:
    if seen is None:
        return ""
    broken = f"{seen.flows_broken:,} of {seen.flows_total:,} connections broken"
    if not seen.packets_lost:
        return f"0 packets lost, {broken}"
    return f"{milliseconds(seen.p50, seen)} ms outage, {broken}"


def _markdown_table(headers: Sequence[str], body: Iterable[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in (headers, ["---"] * len(headers), *body)]
