"""`natpair events`: every change of role as the agents wrote it down, with its cause and its steps."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from threading import Event

import click

from natpair.cli.output import emit_line, say, symbols, talk
from natpair.core import paths
from natpair.core.changes import Change, changes, merged, shifted
from natpair.errors import LabError, NoInput, Unsupported

SCHEMA = "natpair/events/v1"
_POLL_SECONDS = 0.5
_SETTLED_SECONDS = 2.0
"""A change is told so long after it ended: its last steps take about that."""


@click.command(
    name="events",
    epilog="Example: natpair events --last 3. With the peer's file beside: natpair events "
    "/var/lib/natpair/events.jsonl nat-b.jsonl",
)
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--last", type=click.IntRange(1), metavar="N", help="Only the newest N changes.")
@click.option("--follow", is_flag=True, help="Go on, and tell each change when it has ended.")
@click.option("--lab", metavar="NAME", help="Both nodes of the lab called NAME.")
@click.option("--json", "as_json", is_flag=True, help="JSON lines on stdout, one change of one node each.")
def command(files: tuple[Path, ...], last: int | None, follow: bool, lab: str | None, as_json: bool) -> None:
    """Show each change of role: when, why, in which steps, and how long they took. It survives restarts and reboots.

    A change that moves the active role has the same id on both nodes. FILES are journals of other nodes, or copies;
    without any, this node's own. Times are those of the node that wrote them.
    """
    chosen = _lab_files(lab) if lab else files or (Path(paths.EVENTS),)
    told: set[tuple[str, str]] = set()
    views = merged(_read(chosen, follow=follow))
    show = _json if as_json else _words
    for group in views[-last:] if last else views:
        show(group)
    if not views and not as_json:
        talk("no change of role has been written down yet")
    if follow:
        told |= {_name(change) for group in views for change in group}
        _follow(chosen, told, show)


def _lab_files(name: str) -> tuple[Path, ...]:
    found = tuple(sorted(Path("/run/natpair-lab", name, "nodes").glob("*/var-lib/natpair/events.jsonl")))
    if not found:
        raise LabError(f"no lab called {name} has events", cure="natpair lab up, or another --lab NAME")
    return found


def _read(files: Sequence[Path], *, follow: bool = False) -> list[Change]:
    return [change for file in files for change in changes(_lines(file, follow=follow), _place(file))]


def _place(file: Path) -> str:
    """A name for the node of a journal that does not say it: the file's own."""
    return file.name.split(".")[0]


def _lines(file: Path, *, follow: bool) -> Iterator[dict[str, object]]:
    older = file.with_suffix(".1.jsonl")
    there = [path for path in (older, file) if path.exists()]
    if not there and not follow:
        cure = "the agent writes it on a node; give the path of a copy, or --lab NAME"
        raise NoInput(f"{file}: there is no such file", cure=cure)
    for path in there:
        lines = _text(path).splitlines()
        found = [parsed for line in lines if (parsed := _parsed(line)) is not None]
        if lines and not found:
            cure = "the agent writes /var/lib/natpair/events.jsonl on a node; give that one or a copy, or --lab NAME"
            raise NoInput(f"{path} is no journal of an agent: not one of its lines is an event", cure=cure)
        yield from found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except PermissionError as error:
        raise Unsupported(f"{path} cannot be read", cure="run it again as root") from error
    except IsADirectoryError as error:
        raise NoInput(f"{path} is a folder", cure="give the file in it, such as events.jsonl") from error


def _parsed(line: str) -> dict[str, object] | None:
    """One line as an object; None for one that a power cut left half written."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) and isinstance(found.get("time"), (int, float)) else None


def _follow(files: Sequence[Path], told: set[tuple[str, str]], show: Callable[[list[Change]], None]) -> None:
    pause = Event()
    while not pause.wait(_POLL_SECONDS):
        limit = datetime.now(UTC).timestamp() - _SETTLED_SECONDS
        fresh = [c for c in _read(files, follow=True) if _name(c) not in told and c.at_rest and c.ended < limit]
        for group in merged(fresh):
            show(group)
        told |= {_name(change) for change in fresh}


def _name(change: Change) -> tuple[str, str]:
    return change.node, f"{change.id} {change.began}"


def _json(views: list[Change]) -> None:
    for change in views:
        emit_line(
            {
                "schema": SCHEMA,
                "id": change.id,
                "kind": change.kind,
                "node": change.node,
                "began": _rfc3339(change.began),
                "ended": _rfc3339(change.ended),
                "took_ms": round((change.ended - change.began) * 1000, 1),
                "before": change.before,
                "after": change.after,
                "cause": change.cause,
                "epoch": change.epoch,
                "steps": change.steps,
            }
        )


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _words(views: list[Change]) -> None:
    arrow = symbols().arrow
    base = views[0].began
    said = "; ".join(f"{view.node} {view.before} {arrow} {view.after}" for view in views)
    say(f"{_rfc3339(base)}  {views[0].kind}  {said}  ({views[0].id})")
    say(f"  {_telling(views).cause}")
    for view in views:
        for step in shifted(view, base).steps:
            took = f"  ({step.took_ms:g} ms)" if step.took_ms else ""
            say(f"  {step.offset_ms:9.0f} ms  {view.node}  {step.text}{took}")
        if not view.at_rest:
            say(f"             {view.node}  has not come to rest, or its agent ended")
    say()


def _telling(views: list[Change]) -> Change:
    """The view whose cause says most: of the node that asked or was asked, else the first."""
    return next((view for view in views if view.kind == "switchover" and view.before == "active"), views[0])
