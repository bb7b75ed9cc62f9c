"""Draws the chart of a failover bench as one SVG: each run is a dot on a logarithmic time scale. Pure."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Mapping
from html import escape

from natpair_lab.bench.figures import Figures, Report
from natpair_lab.bench.plan import Contestant, Event
from natpair_lab.bench.text import CONTESTANT_WORDS, EVENT_WORDS, machine_line, milliseconds

WIDTH = 960
LEFT, RIGHT, TOP = 170, 120, 60
ROW, GAP = 26, 18
_NOTE_LETTERS, _NOTE_LINE = 150, 16
LOWEST_MS, HIGHEST_MS = 1.0, 100_000.0
COLOURS: Mapping[Contestant, str] = {
    Contestant.CLASSIC: "#b3402b",
    Contestant.BALANCED: "#2b6cb0",
    Contestant.FAST: "#2f855a",
}
STYLE = (
    "text{font:13px sans-serif;fill:#222}.small{font-size:11px;fill:#555}.grid{stroke:#ddd}"
    ".end{text-anchor:end}.middle{text-anchor:middle}"
)
_TICKS = ((1, "1 ms"), (10, "10 ms"), (100, "100 ms"), (1000, "1 s"), (10_000, "10 s"), (100_000, "100 s"))


def x_of(value_ms: float) -> float:
    """The position of a time on the scale; times beyond its ends are drawn at the edge."""
    low, high = math.log10(LOWEST_MS), math.log10(HIGHEST_MS)
    share = (math.log10(max(value_ms, LOWEST_MS)) - low) / (high - low)
    return LEFT + min(share, 1.0) * (WIDTH - LEFT - RIGHT)


def svg(report: Report) -> str:
    """The whole SVG."""
    events = [event for event in Event if any(event in cells for cells in report.designs.values())]
    bottom = TOP + len(events) * (len(Contestant) * ROW + GAP)
    notes = textwrap.wrap(machine_line(report), _NOTE_LETTERS)
    height = bottom + 40 + len(notes) * _NOTE_LINE
    body = [*_grid(bottom), *_legend()]
    for number, event in enumerate(events):
        body += _event(report, event, TOP + number * (len(Contestant) * ROW + GAP))
    body += [_text(16, bottom + 46 + _NOTE_LINE * n, note, "small") for n, note in enumerate(notes)]
    lines = "\n".join(body)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" role="img"'
        f' aria-label="Outage of each run by event and design, logarithmic">\n<style>{STYLE}</style>\n'
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>\n{lines}\n</svg>\n'
    )


def _grid(bottom: float) -> Iterator[str]:
    for value, words in _TICKS:
        x = x_of(value)
        yield f'<line class="grid" x1="{x:.1f}" y1="{TOP - 8}" x2="{x:.1f}" y2="{bottom}"/>'
        yield _text(x, bottom + 18, words, "small middle")


def _legend() -> Iterator[str]:
    yield _text(16, 24, "Longest silence of the echo stream, each run a dot, the line at the median")
    for number, contestant in enumerate(Contestant):
        x = LEFT + number * 170
        yield f'<circle cx="{x}" cy="40" r="5" fill="{COLOURS[contestant]}"/>'
        yield _text(x + 10, 44, CONTESTANT_WORDS[contestant])


def _event(report: Report, event: Event, top: float) -> Iterator[str]:
    yield _text(LEFT - 14, top + ROW * len(Contestant) / 2 + 4, EVENT_WORDS[event], "end")
    for number, contestant in enumerate(Contestant):
        seen = report.designs.get(contestant, {}).get(event)
        if seen is not None:
            yield from _cell(seen, COLOURS[contestant], top + number * ROW + ROW / 2)


def _cell(seen: Figures, colour: str, y: float) -> Iterator[str]:
    for outage in seen.outages_ms:
        yield f'<circle cx="{x_of(outage):.1f}" cy="{y:.1f}" r="5" fill="{colour}" fill-opacity="0.45"/>'
    for _ in range(seen.censored):
        x = x_of(seen.censored_over_ms or HIGHEST_MS)
        yield f'<path d="M{x:.1f} {y - 6:.1f}l9 6l-9 6z" fill="{colour}"/>'
    if seen.p50 is not None:
        yield f'<path d="M{x_of(seen.p50):.1f} {y - 10:.1f}v20" stroke="{colour}" stroke-width="2"/>'
    yield _text(WIDTH - RIGHT + 10, y + 4, f"{milliseconds(seen.p50, seen)} ms", "small")


def _text(x: float, y: float, words: str, kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{named}>{escape(words)}</text>'
