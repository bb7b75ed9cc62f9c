"""Failover stories: what happens when, and what the machine must ask for. A mismatch shows the whole conversation.

A line is `at(time, event, *expected)`. Expected is an action, a kind of action, a phase (meaning: the node enters it
now) or a predicate on one action. Speak and WakeAt may come unasked, anything else may not. After each line the
machine is stepped once more at the same time, which must change nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from natpair.core.actions import Action, Journal, Speak, WakeAt
from natpair.core.events import Event, Tick
from natpair.core.machine import step
from natpair.core.messages import Phase
from natpair.core.state import NodeState

Expected = Action | type[Action] | Phase | Callable[[Action], bool]
UNASKED = (Speak, WakeAt)


@dataclass(frozen=True)
class Line:
    """One event of a story and all that must follow from it."""

    time: float
    event: Event
    expected: tuple[Expected, ...]


def at(time: float, event: Event, *expected: Expected) -> Line:
    return Line(time, event, expected)


def matches(expected: Expected, action: Action) -> bool:
    if isinstance(expected, Phase):
        return isinstance(action, Journal) and action.after is expected
    if isinstance(expected, type):
        return isinstance(action, expected)
    return expected(action) if callable(expected) else expected == action


def play(state: NodeState, *lines: Line) -> NodeState:
    """The state after the story; AssertionError with everything said so far at the first line that goes wrong."""
    said: list[str] = []
    for line in lines:
        outcome = step(state, line.event, line.time)
        said.append(f"{line.time:8.3f} >> {line.event}")
        said += [f"         << {action}" for action in outcome.actions]
        wrong = _mismatch(line, outcome.actions)
        again = step(outcome.state, Tick(), line.time)
        if again.state != outcome.state or again.actions:
            wrong.append(f"         !! a second step at the same time does more: {again.actions}")
        assert not wrong, "\n".join(["the story went otherwise:", *said, *wrong])
        state = outcome.state
    return state


def _mismatch(line: Line, actions: tuple[Action, ...]) -> list[str]:
    missing = [e for e in line.expected if not any(matches(e, action) for action in actions)]
    extra = [a for a in actions if not isinstance(a, UNASKED) and not any(matches(e, a) for e in line.expected)]
    names = [getattr(e, "__name__", None) or repr(e) for e in missing]
    return [f"         !! missing: {name}" for name in names] + [f"         !! unasked: {a}" for a in extra]
