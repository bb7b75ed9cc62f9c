"""`natpair events`: the agents' event log as text or JSON, with causes, and the steps of each role change."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click

from natpair.cli.output import duration, emit_line, say, symbols, talk
from natpair.core import paths
from natpair.core.changes import KINDS, Change, merged, shifted
from natpair.core.timeline import OTHER_KINDS, Entry, timeline
from natpair.errors import LabError, NoInput, Unsupported
from natpair.system.wait import ticks

SCHEMA = "natpair/events/v1"
_POLL_SECONDS = 0.5
_AGO = re.compile(r"^(\d+(?:\.\d+)?)([smhd])$")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SINCE_HELP = "Only entries that ended after this time: 90s, 15m, 2h or 3d ago, or a time such as 2026-11-27T18:00Z."
_SETTLED_SECONDS = 2.0
"""--follow prints a role change this long after its end, because its last steps are logged about that late."""


@click.command(
    name="events",
    epilog="Example: natpair events --since 1h. With the peer's file beside: natpair events "
    "/var/lib/natpair/events.jsonl nat-b.jsonl",
)
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--last", type=click.IntRange(1), metavar="N", help="Only the newest N entries.")
@click.option("--since", metavar="WHEN", callback=lambda _context, _option, value: _moment(value), help=_SINCE_HELP)
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    type=click.Choice(["role", *KINDS, *OTHER_KINDS]),
    metavar="KIND",
    help=f"Only entries of this kind; may be repeated: role (every role change), {', '.join(OTHER_KINDS)}, "
    f"{', '.join(KINDS)}.",
)
@click.option("--follow", is_flag=True, help="Keep running and print each new entry.")
@click.option("--lab", metavar="NAME", help="Show both nodes of the lab called NAME.")
@click.option("--json", "as_json", is_flag=True, help="JSON Lines on stdout: one entry of one node per line.")
def command(
    files: tuple[Path, ...],
    last: int | None,
    since: float | None,
    kinds: tuple[str, ...],
    follow: bool,
    lab: str | None,
    as_json: bool,
) -> None:
    """Show the event log: role changes with their steps, repairs, daemons that ended, conditions, applies.

    The log survives restarts and reboots. A change that moves the active role has the same id on both nodes. FILES
    are event logs of other nodes, or copies of them; the default is this node's own. Each time is that of the node
    that wrote it.
    """
    chosen = _lab_files(lab) if lab else files or (Path(paths.EVENTS),)
    wanted = Wanted(since, frozenset(kinds) | (frozenset(KINDS) if "role" in kinds else frozenset()))
    groups = _grouped(_read(chosen, wanted, follow=follow))
    show = _json if as_json else _words
    for group in groups[-last:] if last else groups:
        show(group)
    if not groups and not as_json:
        talk("the event log is empty" if wanted == Wanted() else "the event log has no such entries")
    if follow:
        _follow(chosen, wanted, {_name(entry) for group in groups for entry in group}, show)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries to show: those that ended after `since` or last, of these kinds (all kinds if empty)."""

    since: float | None = None
    kinds: frozenset[str] = frozenset()

    def __contains__(self, entry: Entry) -> bool:
        """Whether to show it."""
        late = self.since is None or entry.ended is None or entry.ended >= self.since
        return late and (not self.kinds or entry.kind in self.kinds)


def _moment(text: str | None) -> float | None:
    """Parse a time, such as `90s`, `15m`, `2h`, `3d` (ago) or an RFC 3339 time, into seconds since 1970."""
    if text is None:
        return None
    ago = _AGO.match(text)
    if ago:
        return datetime.now(UTC).timestamp() - float(ago[1]) * _UNITS[ago[2]]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.BadParameter(
            f"{text} is not a time; expected for example 90s, 15m, 2h, 3d or 2026-11-27T18:00Z"
        ) from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _lab_files(name: str) -> tuple[Path, ...]:
    found = tuple(sorted(Path("/run/natpair-lab", name, "nodes").glob("*/var-lib/natpair/events.jsonl")))
    if not found:
        raise LabError(
            f"no lab called {name} has events", fix="start one with natpair lab up, or give another --lab NAME"
        )
    return found


def _read(files: Sequence[Path], wanted: Wanted, *, follow: bool = False) -> list[Entry]:
    found = [entry for file in files for entry in timeline(_lines(file, follow=follow), _place(file))]
    return [entry for entry in found if entry in wanted]


def _grouped(found: Sequence[Entry]) -> list[list[Entry]]:
    """The entries, oldest first; the entries of several nodes about the same role change form one group."""
    of_change = {id(entry.change): entry for entry in found if entry.change is not None}
    changed = [[of_change[id(c)] for c in views] for views in merged(e.change for e in found if e.change is not None)]
    return sorted([*changed, *([e] for e in found if e.change is None)], key=lambda group: group[0].began)


def _place(file: Path) -> str:
    """The node's name if the event log does not contain it: the file's name."""
    return file.name.split(".")[0]


def _lines(file: Path, *, follow: bool) -> Iterator[dict[str, object]]:
    older = file.with_suffix(".1.jsonl")
    there = [path for path in (older, file) if path.exists()]
    if not there and not follow:
        fix = "the agent writes this file on a node; give the path of a copy, or --lab NAME"
        raise NoInput(f"{file} does not exist", fix=fix)
    for path in there:
        lines = _text(path).splitlines()
        found = [parsed for line in lines if (parsed := _parsed(line)) is not None]
        if lines and not found:
            fix = "give the agent's /var/lib/natpair/events.jsonl, a copy of it, or --lab NAME"
            raise NoInput(f"{path} is not an event log: none of its lines is an event", fix=fix)
        yield from found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except PermissionError as error:
        raise Unsupported(f"{path}: no permission to read it", fix="run this command again as root") from error
    except IsADirectoryError as error:
        raise NoInput(f"{path} is a folder", fix="give a file in it, such as events.jsonl") from error


def _parsed(line: str) -> dict[str, object] | None:
    """Parse one line; None if it is incomplete, as after a power cut."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) and isinstance(found.get("time"), (int, float)) else None


def _follow(
    files: Sequence[Path], wanted: Wanted, told: set[tuple[str, ...]], show: Callable[[list[Entry]], None]
) -> None:
    for _ in ticks(_POLL_SECONDS):
        limit = datetime.now(UTC).timestamp() - _SETTLED_SECONDS
        found = _read(files, wanted, follow=True)
        fresh = [entry for entry in found if _name(entry) not in told and _settled(entry, limit)]
        for group in _grouped(fresh):
            show(group)
        told |= {_name(entry) for entry in fresh}


def _settled(entry: Entry, limit: float) -> bool:
    """Whether the entry can be printed: a role change only when it has ended; other entries at their start and end."""
    if entry.change is not None:
        return entry.change.at_rest and entry.change.ended < limit
    return True


def _name(entry: Entry) -> tuple[str, ...]:
    change = entry.change
    if change is not None:
        return change.node, f"{change.id} {change.began}"
    return entry.node, entry.kind, str(entry.began), entry.text, "lasts" if entry.ended is None else "ended"


def _json(group: list[Entry]) -> None:
    for entry in group:
        change = entry.change
        document: dict[str, object] = {
            "schema": SCHEMA,
            "kind": entry.kind,
            "node": entry.node,
            "began": _rfc3339(entry.began),
            "ended": None if entry.ended is None else _rfc3339(entry.ended),
            "took_ms": None if entry.ended is None else round((entry.ended - entry.began) * 1000, 1),
            "text": entry.text,
        }
        if change is not None:
            document |= {"id": change.id, "before": change.before, "after": change.after, "cause": change.cause}
            document |= {"epoch": change.epoch, "steps": change.steps}
        emit_line(document)


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _words(group: list[Entry]) -> None:
    views = [entry.change for entry in group if entry.change is not None]
    if views:
        _change_words(views)
        return
    (entry,) = group
    lasted = "" if entry.ended == entry.began else f"  ({_lasted(entry)})"
    say(f"{_rfc3339(entry.began)}  {entry.kind}  {entry.node}  {entry.text}{lasted}")
    say()


def _lasted(entry: Entry) -> str:
    return "not ended yet" if entry.ended is None else f"for {duration(entry.ended - entry.began)}"


def _change_words(views: list[Change]) -> None:
    arrow = symbols().arrow
    base = views[0].began
    said = "; ".join(f"{view.node} {view.before} {arrow} {view.after}" for view in views)
    say(f"{_rfc3339(base)}  {views[0].kind}  {said}  ({views[0].id})")
    say(f"  {_telling(views).cause}")
    for view in views:
        for step in shifted(view, base).steps:
            took = f"  ({step.took_ms:g} ms)" if step.took_ms else ""
            say(f"  {round(step.offset_ms):9d} ms  {view.node}  {step.text}{took}")
        if not view.at_rest:
            say(f"             {view.node}  change not finished, or its agent ended")
    say()


def _telling(views: list[Change]) -> Change:
    """The view with the best cause: that of the node that was active before a switchover, else the first."""
    return next((view for view in views if view.kind == "switchover" and view.before == "active"), views[0])
