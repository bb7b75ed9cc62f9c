"""Turns the lines of `events.jsonl` into changes for people: what happened, why, in which steps, on which node.

A change begins when a node leaves a phase of rest and ends when it is at rest again. One that moves the active role is
named after the highest epoch known at its end, which is the same on both nodes. Standard library only, phases as
text: `natpair events` must start fast.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

REST = frozenset({"booting", "standby", "active", "fault", "drained"})
"""Phases in which a node may stay. The other phases of `core.messages.Phase` lead to one of these."""
CLAIMS = frozenset({"active", "handing-over"})
LEAD_SECONDS = 1.0
"""Seconds. A line of Keepalived within them before the first move belongs to the change that it caused."""
TAIL_SECONDS = 3.0
"""Seconds. Steps within them after the last move belong to the change, if no other change has begun."""

CAUSE_SECONDS = 5.0
"""Seconds. A daemon that ended within them before a role was lost is the cause."""
KINDS = (
    *("takeover", "switchover", "handback", "demotion", "adoption"),
    *("start", "drain", "undrain", "fault", "recovery", "refused", "challenge", "move"),
)
"""Every kind of change: the first five concern who is active."""

_FIFO_TAIL_SECONDS = 0.3
_ROLE_MOVES = frozenset({"takeover", "switchover", "handback", "demotion"})

Line = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """One step, `offset_ms` after the change began on this node. `took_ms` is None if it was not measured."""

    offset_ms: float
    text: str
    took_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One change as one node saw it; times in seconds since 1970 by that node's clock."""

    id: str
    kind: str
    node: str
    began: float
    ended: float
    before: str
    after: str
    cause: str
    epoch: int
    steps: tuple[Step, ...]

    @property
    def at_rest(self) -> bool:
        """True if the change is complete. Otherwise it is still running, or the agent ended during it."""
        return self.after in REST


def changes(lines: Iterable[Line], fallback_node: str = "?") -> list[Change]:
    """The changes of one node's lines, oldest first; every line has to be an object with a `time`."""
    ordered = sorted(lines, key=lambda line: float(line["time"]))
    groups = list(_groups([line for line in ordered if line.get("event") == "transition"]))
    return [
        _change(group, _around(ordered, group, *limits), fallback_node, _death_before(ordered, group))
        for group, limits in _with_limits(groups)
    ]


def merged(found: Iterable[Change]) -> list[list[Change]]:
    """Groups the nodes' views of the same change, oldest first."""
    groups: list[list[Change]] = []
    for change in sorted(found, key=lambda change: change.began):
        same = [views for views in groups if views[0].id == change.id and change.node not in {v.node for v in views}]
        same[0].append(change) if same else groups.append([change])
    return groups


def _groups(moves: Sequence[Line]) -> Iterator[list[Line]]:
    group: list[Line] = []
    for move in moves:
        if group and (group[-1]["after"] in REST or group[-1]["after"] != move["before"]):
            yield group
            group = []
        group.append(move)
    if group:
        yield group


def _with_limits(groups: Sequence[list[Line]]) -> Iterator[tuple[list[Line], tuple[float, float]]]:
    """Each group with the times at which the one before it ended and the one after it begins."""
    ends = [float("-inf"), *(float(group[-1]["time"]) for group in groups)]
    begins = [*(float(group[0]["time"]) for group in groups[1:]), float("inf")]
    for group, end, begin in zip(groups, ends, begins, strict=False):
        yield group, (end, begin)


def _around(lines: Sequence[Line], group: Sequence[Line], previous: float, following: float) -> list[Line]:
    """The lines that belong to a group: its own, what led to it, and what followed from it."""
    lead = max(previous, float(group[0]["time"]) - LEAD_SECONDS)
    end = min(following, float(group[-1]["time"]) + TAIL_SECONDS)
    return [line for line in lines if lead <= float(line["time"]) < end]


def _death_before(lines: Sequence[Line], group: Sequence[Line]) -> str:
    """How Keepalived ended, if that was just before the role was lost. The agent's cause says what followed."""
    began = float(group[0]["time"])
    ends = [
        line
        for line in lines
        if line.get("event") == "daemon" and line.get("what") == "ended" and line.get("name") == "Keepalived"
    ]
    near = [line for line in ends if began - CAUSE_SECONDS <= float(line["time"]) <= began]
    return ended_words(near[-1]) if near and group[0]["before"] in CLAIMS else ""


def ended_words(line: Line) -> str:
    """How a daemon ended, in words."""
    how = str(line.get("how"))
    plain = {"killed": "was killed or crashed", "stopped": "was stopped"}.get(how, how)
    return f"{line.get('name')} {plain}"


def _change(group: Sequence[Line], around: Sequence[Line], fallback: str, death: str) -> Change:
    first, last = group[0], group[-1]
    began, ended = float(first["time"]), float(last["time"])
    steps = tuple(_steps(around, began, ended))
    kind = _kind(group)
    cause = str(last["cause"] if kind == "takeover" else first["cause"])
    epoch = _epoch(group, [line for line in around if float(line["time"]) >= ended])
    return Change(
        id=f"e{epoch}" if _moves_role(kind, group, epoch) else str(last.get("transition", "")),
        kind=kind,
        node=str(first.get("node") or _node_in(str(first.get("transition", ""))) or fallback),
        began=began,
        ended=ended,
        before=str(first["before"]),
        after=str(last["after"]),
        cause=f"{death}: {cause}" if death else cause,
        epoch=epoch,
        steps=steps,
    )


def _kind(group: Sequence[Line]) -> str:
    """The kind of change, from the phases it went through."""
    phases = {str(move["after"]) for move in group}
    before, after = str(group[0]["before"]), str(group[-1]["after"])
    if phases & {"preparing", "handing-over"}:
        return "switchover" if (before in CLAIMS) != (after in CLAIMS) else "handback"
    if before == "booting" and after == "active":
        return "adoption" if len(group) == 1 else "takeover"
    if after == "active":
        return "takeover"
    if before in CLAIMS:
        return "demotion"
    return _standing_kind(phases, before, after)


def _standing_kind(phases: set[str], before: str, after: str) -> str:
    """The kind of change of a node that was not active before or after it."""
    if "refused" in phases or after == "refused":
        return "refused"
    if before == "booting":
        return "start"
    if "drained" in {before, after}:
        return "drain" if after == "drained" else "undrain"
    if after == "fault":
        return "fault"
    if before in {"fault", "refused", "yielding"}:
        return "recovery"
    return "challenge" if "challenging" in phases else "move"


def _moves_role(kind: str, group: Sequence[Line], epoch: int) -> bool:
    """True if both nodes know the change by the same name. A node that lost the role without hearing of a new epoch
    does not.
    """
    return kind in _ROLE_MOVES and (kind != "demotion" or epoch > int(group[0].get("epoch") or 0))


def _epoch(group: Sequence[Line], later: Sequence[Line]) -> int:
    """The highest epoch known when it ended. A node that lost the role may hear of the new epoch a moment later."""
    lost = group[0]["before"] in CLAIMS and group[-1]["after"] not in CLAIMS
    said = [line for line in later if lost and line.get("event") == "peer-active"]
    known = [int(line.get(key) or 0) for line in (*group, *said[:1]) for key in ("epoch", "peer_epoch")]
    return max(known, default=0)


def _steps(lines: Sequence[Line], began: float, ended: float) -> Iterator[Step]:
    for line in (*_causes(lines, began), *(line for line in lines if float(line["time"]) >= began)):
        at, text = float(line["time"]), _words(line)
        # A line of Keepalived long after the end belongs to another change. A step then still belongs to this one.
        told_later = line.get("event") in {"fifo", "transition"} and at > ended + _FIFO_TAIL_SECONDS
        if text and not told_later:
            took = line.get("took_ms")
            yield Step(round((at - began) * 1000, 1), text, float(took) if took else None)


def _causes(lines: Sequence[Line], began: float) -> list[Line]:
    """The causes before the first move: Keepalived's last line and the operator's last request."""
    before = [line for line in lines if float(line["time"]) < began]
    last = {line["event"]: line for line in before if line.get("event") in {"fifo", "asked"}}
    return sorted(last.values(), key=lambda line: float(line["time"]))


def _words(line: Line) -> str:
    match line.get("event"):
        case "transition":
            return f"{line['before']} to {line['after']}: {line['cause']}"
        case "fifo":
            return f"Keepalived says {line.get('role')}"
        case "asked":
            return f"an operator asks for {line.get('verb')}" + (", forced" if line.get("force") else "")
        case "peer-active":
            return f"{line.get('peer')} is active with epoch {line.get('epoch')}"
        case "step":
            failed = "" if line.get("ok", True) else " failed"
            detail = f": {line['detail']}" if line.get("detail") else ""
            return f"{line.get('step')}{failed}{detail}"
        case "daemon":
            return ended_words(line) if line.get("what") == "ended" else f"{line.get('name')} runs again"
    return ""


def _node_in(transition: str) -> str:
    """The node's name in front of a transition's own id, NAME-EPOCH-TIME."""
    return transition.rsplit("-", 2)[0] if transition.count("-") >= 2 else ""


def shifted(change: Change, base: float) -> Change:
    """The same change with offsets counted from `base` instead of its own beginning."""
    by = (change.began - base) * 1000
    return replace(change, steps=tuple(replace(step, offset_ms=round(step.offset_ms + by, 1)) for step in change.steps))
