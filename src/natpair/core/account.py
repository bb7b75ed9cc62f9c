"""What the provider's account says about the pair, as plain values, and what follows for the role. Pure.

Times are seconds on the monotonic clock, as everywhere in core. None means unknown and counts as now.
The rule for planned work: the role leaves a node whose work begins within the lead time, once for each piece of work,
and only if the peer's own work, if any, begins later. So two nodes with work never pass the role back and forth.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar

APART = 60.0
"""Seconds by which the peer's work must begin later. A smaller difference counts as the same time."""
MOST_REPAIRS = 5
"""Repairs of shares within `REPAIR_WINDOW` seconds at most. More would be a fight with whatever removes them."""
REPAIR_WINDOW = 3600.0


@dataclass(frozen=True, slots=True)
class Lack:
    """A FIP that `node` may not announce; an empty node means neither may. `why` completes "192.0.2.221 …"."""

    code: ClassVar = "share-missing"

    fip: str
    node: str
    why: str
    repairable: bool

    @property
    def text(self) -> str:
        """In words."""
        return f"{self.fip} {self.why}"


@dataclass(frozen=True, slots=True)
class Work:
    """Work on the machine of `node` that the provider has announced. `key` identifies it as long as it is listed."""

    code: ClassVar = "maintenance-ahead"

    node: str
    key: str
    what: str
    begins_at: float | None

    @property
    def text(self) -> str:
        """In words."""
        return self.what

    @property
    def moment(self) -> float:
        """When it begins, for comparisons. An unknown time counts as the earliest."""
        return -math.inf if self.begins_at is None else self.begins_at


@dataclass(frozen=True, slots=True)
class Trouble:
    """A part of the account that could not be read or repaired. `refused`: access denied; retrying will not help."""

    code: ClassVar = "account-unreadable"
    node: ClassVar = ""

    part: str
    why: str
    fix: str = ""
    refused: bool = False

    @property
    def text(self) -> str:
        """In words, with the way to fix it."""
        return f"{self.part}: {self.why}" + (f" ({self.fix})" if self.fix else "")


Finding = Lack | Work | Trouble
"""Each has a `code`, the `node` that it is about (empty: both or neither) and a `text`."""


@dataclass(frozen=True, slots=True)
class Account:
    """What is known of the account. `seen_at`: the last time that all of it was read.

    `handed`: the work for which the role was given away. `said`: the last reason why it was not.
    """

    seen_at: float | None = None
    lacks: tuple[Lack, ...] = ()
    planned: tuple[Work, ...] = ()
    events: tuple[Work, ...] = ()
    troubles: tuple[Trouble, ...] = ()
    handed: tuple[str, ...] = ()
    said: str = ""
    repairs: tuple[float, ...] = ()
    unrepaired: Trouble | None = None

    def ahead(self, node: str) -> tuple[Work, ...]:
        """The work on `node`, soonest first."""
        works = (work for work in (*self.planned, *self.events) if work.node == node)
        return tuple(sorted(works, key=lambda work: work.moment))

    def findings(self, nodes: Iterable[str]) -> tuple[Finding, ...]:
        """All findings: missing shares first, then the work on each of `nodes`."""
        return (*self.lacks, *(work for node in nodes for work in self.ahead(node)), *self.troubles)

    def due(self, node: str, now: float, lead: float) -> tuple[Work, ...]:
        """The work on `node` that begins within `lead` seconds, has begun, or may at any moment."""
        return tuple(work for work in self.ahead(node) if work.moment <= now + lead)

    def to_leave(self, node: str, now: float, lead: float) -> Work | None:
        """The work for which `node` should give the role away and has not done so yet."""
        return next((work for work in self.due(node, now, lead) if work.key not in self.handed), None)

    def obstacle(self, mine: Work, peer: str) -> Work | None:
        """Work on `peer` that begins no later than `mine`, so that a switchover would not help."""
        theirs = next(iter(self.ahead(peer)), None)
        return theirs if theirs is not None and theirs.moment <= mine.moment + APART else None

    def left(self, node: str, now: float, lead: float) -> Account:
        """The account after `node` has given the role away for its due work."""
        keys = (work.key for work in self.due(node, now, lead))
        return replace(self, handed=tuple(dict.fromkeys((*self.handed, *keys))), said="")

    def may_repair(self, now: float) -> bool:
        """True if something can be shared again and there were not too many repairs already."""
        lately = [at for at in self.repairs if now - at < REPAIR_WINDOW]
        return len(lately) < MOST_REPAIRS and any(lack.repairable for lack in self.lacks)


def leaving(account: Account, node: str, peer: str, now: float, lead: float) -> tuple[Work, str] | None:
    """The work for which `node` should give the role to `peer`, and why it should not, empty if it should.

    None if there is no such work. An agent calls it for its own node, `natpair cloud watch` for the active one.
    """
    work = account.to_leave(node, now, lead)
    if work is None:
        return None
    theirs = account.obstacle(work, peer)
    return work, "" if theirs is None else f"{peer} has work no later: {theirs.what}"


def looked(
    known: Account,
    now: float,
    lacks: tuple[Lack, ...] | None,
    planned: tuple[Work, ...] | None,
    events: tuple[Work, ...] | None,
    troubles: tuple[Trouble, ...],
) -> Account:
    """What is known after a reading. A part that could not be read (None) keeps its old value."""
    whole = lacks is not None and planned is not None and events is not None
    seen = replace(
        known,
        seen_at=now if whole else known.seen_at,
        lacks=known.lacks if lacks is None else lacks,
        planned=known.planned if planned is None else planned,
        events=known.events if events is None else events,
        troubles=troubles,
        repairs=tuple(at for at in known.repairs if now - at < REPAIR_WINDOW),
        unrepaired=known.unrepaired if lacks is None or lacks else None,
    )
    if not whole:
        return seen
    there = {work.key for work in (*seen.planned, *seen.events)}
    return replace(seen, handed=tuple(key for key in known.handed if key in there))
