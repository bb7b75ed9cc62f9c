"""Output that all commands share: problems, tables, JSON, symbols.

Data goes to stdout, messages go to stderr, so that `natpair … --json | jq` always works. This module imports only
click and the standard library, so that `natpair status` starts fast.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from enum import Enum
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
from itertools import islice
from pathlib import PurePath
from typing import TextIO

import click

from natpair.errors import ConfigError, NatpairError, Problem
from natpair.system.wait import ticks

_AS_TEXT = (IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network, PurePath)


@dataclasses.dataclass(frozen=True, slots=True)
class Symbols:
    """The symbols used beside words. A symbol or a colour is never the only sign of a state."""

    good: str
    bad: str
    warning: str
    info: str
    bullet: str
    arrow: str
    bar: str


UNICODE = Symbols(good="✓", bad="✗", warning="⚠", info="\N{INFORMATION SOURCE}", bullet="•", arrow="→", bar="█")
ASCII = Symbols(good="+", bad="x", warning="!", info="i", bullet="*", arrow="->", bar="#")


def symbols(stream: TextIO | None = None) -> Symbols:
    """The symbols that `stream` (default stdout) can print: ASCII if its encoding has no others."""
    encoding = getattr(stream or sys.stdout, "encoding", None) or "ascii"
    try:
        "".join(dataclasses.astuple(UNICODE)).encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return UNICODE


def duration(seconds: float) -> str:
    """A length of time in a suitable unit: 0.3 s, 42 s, 4 min, 3 h, 2 days."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    for size, unit, below in ((1, "s", 120), (60, "min", 7200), (3600, "h", 172_800)):
        if seconds < below:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} days"


def colour_wanted(stream: TextIO | None = None) -> bool:
    """Whether to use colour: on a terminal that is not dumb, if NO_COLOR is empty (no-color.org)."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return (stream or sys.stdout).isatty()


def say(text: str = "") -> None:
    """Print a line of text to stdout; characters that its encoding cannot express become `?`."""
    click.echo(_printable(text, sys.stdout), color=colour_wanted(sys.stdout))


def talk(text: str = "") -> None:
    """Print a line of progress or advice to stderr, separate from the data on stdout."""
    click.echo(_printable(text, sys.stderr), err=True, color=colour_wanted(sys.stderr))


def emit_json(document: object) -> None:
    """Print one JSON document to stdout, keys in the given order. NaN raises ValueError (RFC 8259 has none)."""
    click.echo(json.dumps(document, indent=2, allow_nan=False, default=plain))


def emit_line(document: object) -> None:
    """Print one line of JSON Lines to stdout without buffering."""
    click.echo(json.dumps(document, allow_nan=False, default=plain))


def plain(value: object) -> object:
    """The JSON form of `value`: dataclasses as objects, enums as their value, addresses as text.

    Raise TypeError for anything else, so that a `repr` never gets into a document that others parse.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, _AS_TEXT):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no JSON form here")


def table(rows: Iterable[Sequence[object]], headers: Sequence[str] = ()) -> str:
    """Columns of left-aligned text, two spaces apart, without lines. The text is empty if there are no rows."""
    body = [[str(cell) for cell in row] for row in rows]
    if not body:
        return ""
    lines = [list(headers), *body] if headers else body
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def report_error(error: NatpairError) -> None:
    """Print to stderr what is wrong, each problem of a file in its own block, and the fix."""
    talk(f"{click.style('natpair:', fg='red', bold=True)} {error.message}")
    if isinstance(error, ConfigError):
        for problem in error.problems:
            talk()
            talk(problem_block(problem, error.source))
    if error.fix:
        talk(f"  {symbols(sys.stderr).arrow} {error.fix}")


def problem_block(problem: Problem, source: str = "", label: str = "expected") -> str:
    """One problem of a configuration file as lines: its place, the present value, what is wrong, what is expected.

    The first line begins with FILE:LINE, which editors and terminals can open.
    """
    place = f"{source}:{problem.line}: " if problem.line is not None and source else ""
    line = f" (line {problem.line})" if problem.line is not None and not source else ""
    head = " = ".join(part for part in (f"{problem.called or problem.key}{line}".strip(), problem.value) if part)
    lines = [f"  {place}{head}", f"    {problem.message}"]
    hint, accepted = _split_hint(problem.accepted)
    if hint:
        lines.append(f"    {hint}")
    if accepted:
        lines.append(f"    {label}: {accepted}")
    return "\n".join(lines)


def _split_hint(accepted: str) -> tuple[str, str]:
    """Split `did you mean X? one of X, Y` into the question and the rest; without a question it is empty."""
    if not accepted.startswith("did you mean "):
        return "", accepted
    hint, _, rest = accepted.partition("?")
    return f"{hint}?", rest.strip()


def _printable(text: str, stream: TextIO) -> str:
    encoding = getattr(stream, "encoding", None) or "ascii"
    return text.encode(encoding, errors="replace").decode(encoding)


Frame = Callable[[], Sequence[str]]


def watch(frame: Frame, interval_seconds: float, *, frames: int | None = None) -> None:
    """Show what `frame` gives, every `interval_seconds`, until interrupted or for so many `frames`.

    On a terminal it is refreshed in place; through a pipe one block comes after another.
    """
    if sys.stdout.isatty():
        _in_place(frame, interval_seconds, frames)
        return
    for _ in islice(ticks(interval_seconds), frames):
        for line in frame():
            say(line)
        say()
        sys.stdout.flush()


def _in_place(frame: Frame, interval_seconds: float, frames: int | None) -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(no_color=not colour_wanted(sys.stdout), highlight=False)
    with Live(console=console, auto_refresh=False, screen=True) as live:
        for _ in islice(ticks(interval_seconds), frames):
            live.update(Text("\n".join(frame())), refresh=True)
