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
"""Kinds of entries that are no change of role: `core.changes.KINDS` are those that are."""


def timeline(lines: Iterable[Line], fallback_node: str = "?") -> list[Entry]:
    """Everything in one node's lines that people want to know of, oldest first."""
    ordered = sorted(lines, key=lambda line: float(line["time"]))
    # A line of another program than the agent does not say the node.
    fallback_node = next((str(line["node"]) for line in ordered if line.get("node")), fallback_node)
    moves = [Entry(c.kind, c.node, c.began, c.ended, _moved(c), c) for c in changes(ordered, fallback_node)]
    rest = [*_spans(ordered, fallback_node), *_moments(ordered, fallback_node)]
    return sorted([*moves, *rest], key=lambda entry: entry.began)


def _moved(change: Change) -> str:
    return f"{change.before} to {change.after}: {change.cause}"


def _moments(lines: list[Line], node: str) -> list[Entry]:
    """What has no length."""
    found = ((line, _WORDS[str(line.get("event"))]) for line in lines if line.get("event") in _WORDS)
    told = [(line, kind, say(line)) for line, (kind, say) in found]
    return [_entry(kind, line, node, text, float(line["time"])) for line, kind, text in told if text]


def _entry(kind: str, line: Line, node: str, text: str, ended: float | None, began: float | None = None) -> Entry:
    at = float(line["time"]) if began is None else began
    return Entry(kind, str(line.get("node") or node), at, ended, text)


def _spans(lines: list[Line], node: str) -> list[Entry]:
    """What lasts: conditions until they have gone, daemons until they are back."""
    found: list[Entry] = []
    for place, line in enumerate(lines):
        after = lines[place + 1 :]
        if line.get("event") == "condition" and line.get("what") == "began":
            began = float(line["time"]) - float(line.get("seconds") or 0)
            end = _end(after, "condition", "code", line)
            text = f"{line.get('severity')}: {line.get('text')} ({line.get('code')})"
            found.append(_entry("condition", line, node, text, None if end is None else float(end["time"]), began))
        elif line.get("event") == "daemon" and line.get("what") == "ended":
            end = _end(after, "daemon", "name", line)
            back = "" if end is None else f", and was back after {float(end.get('seconds') or 0):.1f} s"
            text = f"{ended_words(line)}{back}"
            found.append(_entry("daemon", line, node, text, None if end is None else float(end["time"])))
    return found


def _end(after: list[Line], event: str, key: str, line: Line) -> Line | None:
    """The line that ends what `line` began: the next of its name. An agent that began anew tells it again."""
    return next((one for one in after if one.get("event") == event and one.get(key) == line.get(key)), None)


def _repair(line: Line) -> str:
    return f"{line.get('thing')}: found {line.get('found')}, put right: {line.get('put')}{_suspects(line)}"


def _not_done(line: Line) -> str:
    return (
        f"{line.get('thing')}: found {line.get('found')}, wanted {line.get('wanted')}; not put right{_suspects(line)}"
    )


def _gave_up(line: Line) -> str:
    return f"{line.get('thing')} is changed back again and again: left alone for a while{_suspects(line)}"


def _suspects(line: Line) -> str:
    names = line.get("suspects")
    return f" (may have been: {', '.join(map(str, names))})" if isinstance(names, list) and names else ""


def _trouble(line: Line) -> str:
    """A step that failed; the rest are parts of changes of role."""
    step = str(line.get("step"))
    detail = f": {line['detail']}" if line.get("detail") else ""
    failed = line.get("ok") is False or step.endswith(("-failed", "-not-written"))
    return f"{step.removesuffix('-failed')} failed{detail}" if failed else ""


_WORDS: Mapping[str, tuple[str, Callable[[Line], str]]] = {
    "repair": ("repair", _repair),
    "repair-not-done": ("repair", _not_done),
    "repair-gave-up": ("repair", _gave_up),
    "share-repaired": ("repair", lambda line: f"shared again: {', '.join(map(str, line.get('shares') or []))}"),
    "share-not-repaired": (
        "repair",
        lambda line: f"not shared again: {', '.join(map(str, line.get('shares') or []))}: {line.get('why')}",
    ),
    "note": ("note", lambda line: str(line.get("text"))),
    "step": ("trouble", _trouble),
    "task-failed": ("trouble", lambda line: f"a part of the agent failed: {line.get('task')}: {line.get('why')}"),
    "events-lost": ("trouble", lambda line: f"{line.get('count')} events were lost: the disk did not take them"),
    "apply": ("apply", lambda line: f"{line.get('text')}"),
}
