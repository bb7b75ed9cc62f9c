"""Does what clients send get through the node? Two counts of packets, and the last time that one of them left."""

from __future__ import annotations

from dataclasses import dataclass

LOST_PACKETS = 20
"""So many packets of clients in a row, of which not one left, are no accident."""


@dataclass(frozen=True, slots=True)
class Tally:
    """Packets that clients `offered` for the internet, and those that `passed`, as of when one last got through."""

    offered: int
    passed: int
    lost: int = 0

    def read(self, offered: int, passed: int) -> Tally:
        """The tally after a new reading; counts that went back are those of a new table."""
        if passed != self.passed or offered < self.offered:
            return Tally(offered, passed)
        return Tally(self.offered, passed, offered - self.offered)

    @property
    def blocked(self) -> bool:
        """Clients send, and nothing of it leaves."""
        return self.lost >= LOST_PACKETS
