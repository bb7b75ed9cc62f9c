"""Limits how often natpair repairs the same thing.

A repair that is undone again and again is probably undone on purpose. After `LIMIT` repairs of one thing within
`WINDOW_SECONDS` repairs pause, each time twice as long, and the node counts as unfit, so that a better peer takes over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

LIMIT = 5
WINDOW_SECONDS = 60.0
FIRST_PAUSE_SECONDS = 4.0
LONGEST_PAUSE_SECONDS = 30.0
"""Seconds of a pause at most. A node without a peer must not stay wrong for minutes after the other program has
stopped."""
CALM_SECONDS = 120.0
"""Seconds without a repair after which the count of a thing starts again."""


@dataclass(frozen=True, slots=True)
class Wrong:
    """One thing that is wrong: its name, what was found, and what is expected."""

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
        """The names of things that are changed after each repair: from the first pause until no repair was undone for a
        window.
        """
        return tuple(
            sorted(
                thing
                for thing, feud in self.feuds.items()
                if feud.pauses and now - feud.repaired_at[-1] < max(WINDOW_SECONDS, feud.paused_until - now)
            )
        )
