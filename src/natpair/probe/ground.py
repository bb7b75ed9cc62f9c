"""The ground on which everything is measured: the site with a hand on each machine and an eye outside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from natpair.probe.hands import Eye, NodeHand
from natpair.probe.site import Pace, Site

Progress = Callable[[str], None]


@dataclass(slots=True)
class Ground:
    """Two hands and an eye. `settle_seconds` grows with the slowest rerouting seen."""

    site: Site
    pace: Pace
    hands: tuple[NodeHand, NodeHand]
    eye: Eye
    progress: Progress
    settle_seconds: float = field(default=0.0)

    @classmethod
    def at(cls, site: Site, pace: Pace, eye_folder: str, progress: Progress) -> Ground:
        """The ground of a site; nothing is done yet."""
        first, second = (NodeHand(site.gateway, n.name, site.node(n.name), pace) for n in site.gateway.node)
        eye = Eye(site.vantage, str(site.gateway.pair.fips[0]), pace, eye_folder)
        return cls(site, pace, (first, second), eye, progress, pace.settle_seconds)

    def learn(self, reroute_ms: float) -> None:
        """A rerouting took so long: wait three times that before taking a choice as final."""
        self.settle_seconds = max(self.settle_seconds, 3 * reroute_ms / 1000)

    def renew(self, name: str) -> NodeHand:
        """A new hand on a machine that was away."""
        hand = NodeHand(self.site.gateway, name, self.site.node(name), self.pace)
        self.hands = (hand, self.hands[1]) if hand.index == 0 else (self.hands[0], hand)
        return hand
