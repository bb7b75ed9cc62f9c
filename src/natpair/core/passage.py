"""Decides from two packet counters whether clients' packets get through the node."""

from __future__ import annotations

from dataclasses import dataclass

TOLD_PACKETS = 8
"""Clients' packets lost in a row that are reported; nothing is done yet."""
LOST_PACKETS = 20
"""Clients' packets lost in a row from which on the node counts as blocked."""

FORGOTTEN_LOOKS = 30
"""Readings without a packet of a client after which earlier losses no longer count: a minute."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Packets that clients `offered` for the internet, and those that `passed`, as of when one last got through.

    `quiet` counts the readings since the last one that was lost.
    """

    offered: int
    passed: int
    lost: int = 0
    quiet: int = 0

    def read(self, offered: int, passed: int) -> Tally:
        """The tally after a new reading; counts that went back are those of a new table.

        After `FORGOTTEN_LOOKS` readings in which nobody sent, what was lost before says nothing about now: a node that
        is not active carries no packet of clients that could clear it.
        """
        lost = offered - self.offered
        quiet = self.quiet + 1 if lost == self.lost else 0
        if passed != self.passed or offered < self.offered or quiet >= FORGOTTEN_LOOKS:
            return Tally(offered, passed)
        return Tally(self.offered, passed, lost, quiet)

    @property
    def suspect(self) -> bool:
        """True if clients' packets may be dropped."""
        return self.lost >= TOLD_PACKETS

    @property
    def blocked(self) -> bool:
        """True if clients send and none of their packets leaves."""
        return self.lost >= LOST_PACKETS
