"""Which interface a daemon is bound to, and when it has to be told that the name stands for another one by now.

An interface is known by its index and its MAC. A daemon binds its sockets when it starts or reloads; what happened to
the interface since then is looked at on each notice of the kernel. Pure: identities and times come in, a check
goes out.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace

DAMP_SECONDS = 3.0
"""An interface that comes and goes has its daemon told no more often than this."""
ENDS_AFTER = 2
"""A daemon that is deaf after so many reloads is ended, so that its supervisor starts it anew."""


@dataclass(frozen=True, slots=True)
class Binding:
    """What one daemon was told last. `told` is the interface it knows, None while it knows none that is of use."""

    told: Hashable | None
    due: bool = False
    at: float = float("-inf")


def looked(binding: Binding, found: Hashable | None, *, usable: bool) -> Binding:
    """After a look at the interface: `found` is its identity, `usable` that the daemon's own address is there.

    An interface that is gone makes the next one with its name another one, even if it looks the same.
    """
    if found is None:
        return replace(binding, told=None, due=False)
    return replace(binding, due=usable and found != binding.told)


def is_due(binding: Binding, now: float) -> bool:
    """Whether to tell the daemon now."""
    return binding.due and now - binding.at >= DAMP_SECONDS


def told(binding: Binding, found: Hashable, now: float) -> Binding:
    """After the daemon was told of `found`."""
    return replace(binding, told=found, due=False, at=now)


@dataclass(frozen=True, slots=True)
class Ear:
    """A look at what an election daemon hears: is it a mere backup, and how many adverts has it ever received?"""

    at: float
    backup: bool
    heard: int


def listened(before: Ear | None, now: Ear) -> Ear:
    """The look from which on nothing has changed: `before`, or `now` if something has."""
    same = before is not None and (before.backup, before.heard) == (now.backup, now.heard)
    return before if same and before is not None else now


def is_deaf(since: Ear, now: Ear, down_seconds: float) -> bool:
    """A backup that heard nothing for far longer than it takes to become master itself, and has not become it.

    Whoever else is there: one whose timer runs would have taken over. Its sockets are bound to an interface that is
    gone, or its instance is dead.
    """
    return now.backup and listened(since, now) is since and now.at - since.at > 2 * down_seconds + 1.0
