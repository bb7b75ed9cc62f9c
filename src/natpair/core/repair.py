"""How often the same thing may be repaired before natpair stops fighting over it.

Somebody who undoes a repair again and again means it: after `LIMIT` repairs of one thing within `WINDOW_SECONDS` it is
left alone for a while, each time twice as long, and the node counts as unfit, so that a peer that is better takes over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

LIMIT = 5
WINDOW_SECONDS = 60.0
FIRST_PAUSE_SECONDS = 4.0
LONGEST_PAUSE_SECONDS = 30.0
"""Not longer: a node that has no peer must not stay wrong for minutes after the other has stopped."""
CALM_SECONDS = 120.0
"""A thing that nobody has touched for so long starts anew."""


@dataclass(frozen=True, slots=True)
class Wrong:
    """One thing that is not as it should be: its name, what was found, what belongs there."""

    thing: str
    found: str
    wanted: str


@dataclass(frozen=True, slots=True)
class Feud:
    """The repairs of one thing so far. `paused_until` lies ahead while it is left alone."""

    repaired_at: tuple[float, ...] = ()
    pauses: int = 0
    paused_until: float = 0.0


@dataclass(frozen=True, slots=True)
class Ledger:
    """All repairs that still count, by thing."""

    feuds: Mapping[str, Feud] = field(default_factory=lambda: MappingProxyType({}))

    def may_repair(self, thing: str, now: float) -> bool:
        """Whether `thing` may be repaired at `now`."""
        return now >= self.feuds.get(thing, Feud()).paused_until

    def repaired(self, thing: str, now: float) -> Ledger:
        """The ledger after `thing` was repaired at `now`; one repair too many starts a pause."""
        feud = self.feuds.get(thing, Feud())
        if feud.repaired_at and now - feud.repaired_at[-1] > CALM_SECONDS:
            feud = Feud()
        recent = (*(at for at in feud.repaired_at if now - at < WINDOW_SECONDS), now)
        feud = replace(feud, repaired_at=recent[-LIMIT:])
        if len(recent) >= LIMIT:
            pause = min(FIRST_PAUSE_SECONDS * 2**feud.pauses, LONGEST_PAUSE_SECONDS)
            feud = Feud(feud.repaired_at, feud.pauses + 1, now + pause)
        return Ledger({**self.feuds, thing: feud})

    def gave_up(self, now: float) -> tuple[str, ...]:
        """What is being fought over, by name: from the first pause until nobody has undone a repair for a window."""
        return tuple(
            sorted(
                thing
                for thing, feud in self.feuds.items()
                if feud.pauses and now - feud.repaired_at[-1] < max(WINDOW_SECONDS, feud.paused_until - now)
            )
        )
