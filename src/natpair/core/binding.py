"""Decides when a daemon must be reloaded because its interface was replaced by a new one with the same name.

An interface is known by its index and its MAC. A daemon binds its sockets when it starts or reloads; what happened to
the interface since then is checked on each kernel notice. Pure: identities and times come in, a decision
goes out.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace

DAMP_SECONDS = 3.0
"""Seconds between two reloads at least, for an interface that comes and goes."""
ENDS_AFTER = 2
"""A daemon that still receives nothing after so many reloads is killed, so that its supervisor restarts it."""


@dataclass(frozen=True, slots=True)
class Binding:
    """What one daemon uses. `told`: the interface that it is bound to, None if that is gone."""

    told: Hashable | None
    due: bool = False
    at: float = float("-inf")


def looked(binding: Binding, found: Hashable | None, *, usable: bool) -> Binding:
    """The binding after a check of the interface. `found`: its identity. `usable`: the daemon's own address is there.

    After an interface was gone, the next one with its name counts as new, even if it looks the same.
    """
    if found is None:
        return replace(binding, told=None, due=False)
    return replace(binding, due=usable and found != binding.told)


def is_due(binding: Binding, now: float) -> bool:
    """Whether to reload the daemon now."""
    return binding.due and now - binding.at >= DAMP_SECONDS


def told(binding: Binding, found: Hashable, now: float) -> Binding:
    """The binding after the daemon was reloaded for `found`."""
    return replace(binding, told=found, due=False, at=now)


@dataclass(frozen=True, slots=True)
class Ear:
    """One check of Keepalived: whether it is BACKUP, and how many adverts it has received so far."""

    at: float
    backup: bool
    heard: int


def listened(before: Ear | None, now: Ear) -> Ear:
    """The check since which nothing has changed: `before`, or `now` if something has."""
    same = before is not None and (before.backup, before.heard) == (now.backup, now.heard)
    return before if same and before is not None else now


def is_deaf(since: Ear, now: Ear, down_seconds: float) -> bool:
    """True if a BACKUP received no advert for far longer than it takes to become MASTER, and did not become MASTER.

    A working one would have taken over, whatever its peer does. Its sockets are bound to an interface that is
    gone, or its instance hangs.
    """
    return now.backup and listened(since, now) is since and now.at - since.at > 2 * down_seconds + 1.0
