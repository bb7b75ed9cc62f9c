"""The plan of a failover bench: what runs, and in which order. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from natpair.core.model import Profile
from natpair_lab.drill.kinds import KindName
from natpair_lab.testbed.topology import Design


class Contestant(StrEnum):
    """Who is measured: the classic architecture, and natpair in two profiles."""

    CLASSIC = "classic"
    BALANCED = "balanced"
    FAST = "fast"

    @property
    def design(self) -> Design:
        """The design of the pair in this contestant's lab."""
        return Design.CLASSIC if self is Contestant.CLASSIC else Design.NATPAIR

    @property
    def profile(self) -> Profile | None:
        """The profile of natpair's pair; None for the classic design."""
        return None if self is Contestant.CLASSIC else Profile(self.value)


class Event(StrEnum):
    """What happens to the active node."""

    POWER_CUT = "power_cut"
    PLANNED_STOP = "planned_stop"
    VLAN_LOSS = "vlan_loss"
    UPLINK_LOSS = "uplink_loss"
    SPEAKER_DEATH = "speaker_death"


DRILLS: Mapping[Event, KindName] = MappingProxyType(
    {
        Event.POWER_CUT: KindName.CRASH,
        Event.PLANNED_STOP: KindName.PLANNED,
        Event.VLAN_LOSS: KindName.VLAN,
        Event.UPLINK_LOSS: KindName.UPLINK,
        Event.SPEAKER_DEATH: KindName.SPEAKER_KILL,
    }
)
"""The drill that measures each event."""


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One event with one contestant; a bench does a number of runs of each."""

    contestant: Contestant
    event: Event


def cells(contestants: Collection[Contestant] = (), events: Collection[Event] = ()) -> tuple[Cell, ...]:
    """The chosen cells (all if nothing is chosen); contestants alternate within each event."""
    return tuple(
        Cell(contestant, event)
        for event in Event
        for contestant in Contestant
        if (not contestants or contestant in contestants) and (not events or event in events)
    )


def pending(wanted: Sequence[Cell], runs: int, done: Mapping[Cell, int]) -> Iterator[Cell]:
    """The cells still to run, once per missing run, round by round: all cells have n runs before one has n+1.

    So all contestants run under similar load, and an interrupted bench has measured all of them equally often.
    """
    for number in range(runs):
        yield from (cell for cell in wanted if done.get(cell, 0) <= number)
