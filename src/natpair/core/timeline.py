"""One timeline from the lines of `events.jsonl`: changes of role, repairs, daemons, conditions, applies, notes.

Standard library only: `natpair events` must start fast.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from natpair.core.changes import Change, changes, ended_words

Line = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened on one node; times in seconds since 1970, `ended` None while it lasts.

    `change`: the change of role that it is, if it is one.
    """

    kind: str
    node: str
    began: float
    ended: float | None
    text: str
    change: Change | None = None


OTHER_KINDS = ("repair", "daemon", "condition", "apply", "trouble", "note")
"""Kinds of entries other than changes of role, which are in `core.changes.KINDS`."""


def timeline(lines: Iterable[Line], fallback_node: str = "?") -> list[Entry]:
    """All entries from one node's lines, oldest first."""
    ordered = sorted(lines, key=lambda line: float(line["time"]))
    # A line of another program than the agent does not say the node.
    fallback_node = next((str(line["node"]) for line in ordered if line.get("node")), fallback_node)
    moves = [Entry(c.kind, c.node, c.began, c.ended, _moved(c), c) for c in changes(ordered, fallback_node)]
    rest = [*_spans(ordered, fallback_node), *_moments(ordered, fallback_node)]
    return sorted([*moves, *rest], key=lambda entry: entry.began)


def _moved(change: Change) -> str:
    return f"{change.before} to {change.after}: {change.cause}"


def _moments(lines: list[Line], node: str) -> list[Entry]:
    """Entries without a duration."""
    told = [(line, kind, say(line)) for line in lines for event, kind, say in _WORDS if event == line.get("event")]
    return [_entry(kind, line, node, text, float(line["time"])) for line, kind, text in told if text]


def _entry(kind: str, line: Line, node: str, text: str, ended: float | None, began: float | None = None) -> Entry:
    at = float(line["time"]) if began is None else began
    return Entry(kind, str(line.get("node") or node), at, ended, text)


def _spans(lines: list[Line], node: str) -> list[Entry]:
    """Entries with a duration: conditions until they end, daemons until they are back.

    The end is the next line of the same name. A restarted agent reports again which conditions still hold.
    """
    found: list[Entry] = []
    following: dict[tuple[object, object], Line] = {}
    for line in reversed(lines):
        name = (line.get("event"), line.get("code") or line.get("name"))
        end = following.get(name)
        if line.get("event") == "condition" and line.get("what") == "began":
            found.append(_condition(line, end, node))
        elif line.get("event") == "daemon" and line.get("what") == "ended":
            found.append(_daemon(line, end, node))
        following[name] = line
    return found


def _condition(line: Line, end: Line | None, node: str) -> Entry:
    began = float(line["time"]) - float(line.get("seconds") or 0)
    text = f"{line.get('severity')}: {line.get('text')} ({line.get('code')})"
    return _entry("condition", line, node, text, None if end is None else float(end["time"]), began)


def _daemon(line: Line, end: Line | None, node: str) -> Entry:
    back = "" if end is None else f", and was back after {float(end.get('seconds') or 0):.1f} s"
    return _entry("daemon", line, node, f"{ended_words(line)}{back}", None if end is None else float(end["time"]))


def _repair(line: Line) -> str:
    return f"{line.get('thing')}: found {line.get('found')}, repaired: {line.get('put')}{_suspects(line)}"


def _not_done(line: Line) -> str:
    return f"{line.get('thing')}: found {line.get('found')}, wanted {line.get('wanted')}; not repaired{_suspects(line)}"


def _gave_up(line: Line) -> str:
    return f"{line.get('thing')} is changed back again and again: left alone for a while{_suspects(line)}"


def _suspects(line: Line) -> str:
    names = line.get("suspects")
    return f" (may have been: {', '.join(map(str, names))})" if isinstance(names, list) and names else ""


def _shares(line: Line) -> str:
    return ", ".join(map(str, line.get("shares") or []))


def _trouble(line: Line) -> str:
    """A step that failed; the rest are parts of changes of role."""
    step = str(line.get("step"))
    detail = f": {line['detail']}" if line.get("detail") else ""
    failed = line.get("ok") is False or step.endswith(("-failed", "-not-written", "-not-deleted"))
    return f"{step.removesuffix('-failed')} failed{detail}" if failed else ""


def _flows_deleted(line: Line) -> str:
    """Flow entries that another configuration, or none, had made."""
    if line.get("step") != "flows-deleted":
        return ""
    return f"{line.get('count')} flows translated to {line.get('translated')} deleted: the configuration says otherwise"


_WORDS: tuple[tuple[str, str, Callable[[Line], str]], ...] = (
    ("repair", "repair", _repair),
    ("repair-not-done", "repair", _not_done),
    ("repair-gave-up", "repair", _gave_up),
    ("share-repaired", "repair", lambda line: f"shared again: {_shares(line)}"),
    ("share-not-repaired", "repair", lambda line: f"not shared again: {_shares(line)}: {line.get('why')}"),
    ("step", "repair", _flows_deleted),
    ("step", "trouble", _trouble),
    ("task-failed", "trouble", lambda line: f"a part of the agent failed: {line.get('task')}: {line.get('why')}"),
    ("events-lost", "trouble", lambda line: f"{line.get('count')} events were lost: the disk did not take them"),
    ("note", "note", lambda line: str(line.get("text"))),
    ("apply", "apply", lambda line: str(line.get("text"))),
)
