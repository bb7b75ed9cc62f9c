"""What a node announces for the FIPs in BGP: community and MED, a pure function of role and epoch.

The newest promotion carries the lowest MED and so beats any stale route in the standard decision
process (RFC 4271 section 9.1.2.2 c). The standby's MED is one below the maximum, which some
routers read as infinity. ADR 0003 has the measurements.
"""

from __future__ import annotations

from dataclasses import dataclass

from natpair.core.model import BgpPolicy

STANDBY_MED = 4294967294
_NEWEST_BASE = 2**31


@dataclass(frozen=True, slots=True)
class Announcement:
    """A role as BGP attributes. `med` is None under the policy that sends none."""

    primary: bool
    med: int | None

    @property
    def community(self) -> tuple[int, int]:
        """65000:1 asks the fabric for traffic, 65000:2 offers to take it if no other node does."""
        return (65000, 1) if self.primary else (65000, 2)


def epoch_of(announced: Announcement) -> int | None:
    """The epoch of an active node's announcement; None if it has none."""
    epoch = _NEWEST_BASE - announced.med if announced.primary and announced.med is not None else 0
    return epoch if epoch > 0 else None


def announcement_for(*, active: bool, epoch: int, policy: BgpPolicy) -> Announcement:
    """The announcement of a node that is active in `epoch`, or standby."""
    if policy is BgpPolicy.PRIMARY_SECONDARY:
        return Announcement(primary=active, med=None)
    return Announcement(primary=active, med=_NEWEST_BASE - epoch if active else STANDBY_MED)
