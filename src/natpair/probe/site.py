"""Where the probe measures: two machines on one VLAN, an outside view, and what only the platform can do to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from natpair.core.model import Gateway
from natpair.probe.channel import Channel


@dataclass(frozen=True, slots=True)
class Pace:
    """How often and how long. The defaults suit the real platform, whose pace nobody has published."""

    repeats: int = 2
    timings: int = 4
    """Runs of each rerouting, the machines in turn."""
    power_cuts: int = 2
    rate: int = 100
    sources: int = 16
    gap_seconds: float = 1.0
    """Between two announcements of which one must be the older, and after a withdrawal."""
    settle_seconds: float = 2.0
    """So long, or three times the slowest rerouting, until the fabric is taken to have made up its mind."""
    window_seconds: float = 1.0
    reroute_seconds: float = 30.0
    before_share_seconds: float = 30.0
    session_seconds: float = 300.0
    """Establishing all sessions was once seen to take three and a half minutes."""
    vlan_seconds: float = 5.0


LAB_PACE = Pace(
    repeats=1,
    timings=2,
    power_cuts=1,
    rate=200,
    gap_seconds=0.1,
    settle_seconds=0.3,
    window_seconds=0.25,
    before_share_seconds=1.5,
    session_seconds=30.0,
    vlan_seconds=1.0,
)
"""For a lab, whose pace is known."""


class Reach(Protocol):
    """How machines that the account made are reached, and how their power is cut: by ssh, or in a lab directly."""

    @property
    def vantage(self) -> Channel:
        """A machine outside."""

    @property
    def eye_folder(self) -> str:
        """A folder there for the probe's program."""

    @property
    def public_key(self) -> str:
        """The ssh key that the machines must take; empty if none is needed."""

    def channel(self, name: str, address: str) -> Channel:
        """The way to the machine with this public address."""

    async def ready(self) -> None:
        """Both machines can be reached from now on."""

    async def cut(self, name: str) -> None:
        """Take its power away."""

    async def restore(self, name: str) -> bool:
        """Bring it back if that is this one's business; False leaves it to the platform."""

    async def close(self) -> None:
        """Forget connections and keys."""


class Site(Protocol):
    """Two machines and an outside view."""

    @property
    def gateway(self) -> Gateway:
        """Names, addresses and the FIP, as in the machines' probe.toml."""

    @property
    def vantage(self) -> Channel:
        """A machine outside the provider's region."""

    def node(self, name: str) -> Channel:
        """The way to a machine; after a power cut a new one may be needed, so ask again."""

    async def share(self) -> None:
        """Share the FIP to both."""

    async def cut_power(self, name: str) -> None:
        """Take a machine away without a closing word to anybody."""

    async def restore_power(self, name: str) -> None:
        """Bring it back; returns when it can be reached."""

    async def same_host(self) -> bool | None:
        """Whether both run on one physical machine; None if nobody can tell."""
