"""Decides from the kernel's counters whether the flow table has room and new flows find a port.

The kernel counts failed insertions and packets dropped for lack of room. A race between two packets of one flow
counts there, too, so a few failures are normal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

PORTS = 64_512
"""1024 to 65535: the ports that one FIP has for flows to one destination and port."""
CROWDED = 0.8
"""Used fraction of the ports or of the flow table from which on it is reported."""
_FAILURES = 5
"""Failures in a window that are more than races."""
_WINDOW_SECONDS = 1.4
"""Two readings, which are a second apart."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """A FIP and a destination that share many flows; `about`: how many."""

    fip: str
    protocol: int
    target: str
    port: int
    about: int

    def __str__(self) -> str:
        """For messages; rounded to thousands, because a sample is no more precise."""
        name = {6: "TCP", 17: "UDP"}.get(self.protocol, f"protocol {self.protocol}")
        many = f"about {round(self.about, -3):,} flows" if self.about >= 1000 else f"{self.about} flows"
        return f"{self.fip} has {many} to {self.target} port {self.port} ({name})"


@dataclass(frozen=True, slots=True)
class Capacity:
    """One node's counters: `failed` insertions, `dropped` packets, and their recent growth."""

    failed: int | None = None
    dropped: int = 0
    grown: tuple[tuple[float, int, int], ...] = ()
    crowd: Crowd | None = None

    def read(self, failed: int, dropped: int, now: float) -> Capacity:
        """The counters after a reading. Counters that went back belong to a new kernel."""
        if self.failed is None or failed < self.failed or dropped < self.dropped:
            return replace(self, failed=failed, dropped=dropped, grown=())
        latest = (now, failed - self.failed, dropped - self.dropped)
        recent = tuple(one for one in (*self.grown, latest) if now - one[0] < _WINDOW_SECONDS)
        return replace(self, failed=failed, dropped=dropped, grown=recent)

    @property
    def refusing(self) -> bool:
        """True if new flows find no port."""
        return sum(failed for _, failed, _ in self.grown) >= _FAILURES

    @property
    def overflowing(self) -> bool:
        """True if packets are dropped because the table is full."""
        return not self.refusing and sum(dropped for _, _, dropped in self.grown) >= _FAILURES


def crowd_of(sample: Iterable[tuple[str, int, str, int]], flows: int) -> Crowd | None:
    """The largest crowd in a sample of (FIP, protocol, destination, port), of `flows` in all; None without a sample."""
    counted = Counter(sample)
    if not counted:
        return None
    (key, share), size = counted.most_common(1)[0], counted.total()
    return Crowd(*key, about=round(flows * share / size))
