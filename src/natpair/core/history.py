"""Counts of what recently happened on a node, from its event log. Standard library only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from natpair.core.changes import CLAIMS

LATELY_SECONDS = 3600.0
TOLD = frozenset({"active", "standby", "fault", "drained", "yielding", "refused", "challenging"})
"""Phases that count as the last change. Other phases are intermediate."""

Line = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class History:
    """Counts of the last `seconds`. `role_since`: when the node got or lost the role last, in seconds since 1970."""

    seconds: float
    role_changes: int
    repairs: int
    daemon_ends: int
    refused_claims: int
    role_since: float | None


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of phase and why. `time`: seconds since 1970."""

    before: str
    after: str
    cause: str
    epoch: int
    time: float


def history(lines: Sequence[Line], now: float) -> History:
    """The figures at `now`, in seconds since 1970; `lines` oldest first."""
    lately = [line for line in lines if now - LATELY_SECONDS <= float(line["time"]) <= now]
    moves = [line for line in lines if line.get("event") == "transition"]
    changed = [float(move["time"]) for move in moves if _changes_role(move)]
    return History(
        seconds=LATELY_SECONDS,
        role_changes=sum(_changes_role(line) for line in lately if line.get("event") == "transition"),
        repairs=_count(lately, "repair"),
        daemon_ends=sum(line.get("what") == "ended" for line in lately if line.get("event") == "daemon"),
        refused_claims=sum(line.get("after") == "refused" for line in lately if line.get("event") == "transition"),
        role_since=changed[-1] if changed else None,
    )


def last_transition(lines: Iterable[Line]) -> Transition | None:
    """The newest change of phase to one of the `TOLD` phases."""
    told = [line for line in lines if line.get("event") == "transition" and line.get("after") in TOLD]
    if not told:
        return None
    line = told[-1]
    before, after, cause = (str(line.get(key, "")) for key in ("before", "after", "cause"))
    return Transition(before, after, cause, int(line.get("epoch") or 0), float(line["time"]))


def _changes_role(move: Line) -> bool:
    """True if the node got or lost the role. Adoption of an active node by a new agent does not count."""
    adopted = move.get("before") == "booting" and "adopted" in str(move.get("cause"))
    return not adopted and (move.get("before") in CLAIMS) != (move.get("after") in CLAIMS)


def _count(lines: Iterable[Line], event: str) -> int:
    return sum(line.get("event") == event for line in lines)
