"""bird.conf, which does not change with the role, and the small included file, which does.

The platform probe uses the same sessions with other announcements, which are written into its own file.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from natpair.core import paths
from natpair.core.announcement import STANDBY_MED, Announcement
from natpair.core.model import BgpPolicy
from natpair.core.regions import route_servers
from natpair.render.base import Checker, RenderedFile, Sides, fill

_STARTUP_HOLD_SECONDS = 15


def bird_file(sides: Sides) -> RenderedFile:
    """bird.conf of one node: a session to each route server, up whenever the node is up."""
    text = fill(
        "bird.conf.j2",
        sides,
        route_servers=route_servers(sides.gateway),
        uses_med=sides.gateway.bgp.policy is BgpPolicy.NEWEST_WINS,
        startup_hold_seconds=_STARTUP_HOLD_SECONDS,
    )
    return RenderedFile(paths.BIRD_CONF, text, checker=Checker.BIRD)


def standby_file() -> RenderedFile:
    """The role file before the agent has written one: BIRD (re)starts as standby."""
    return RenderedFile(paths.BIRD_ROLE_STANDBY, role_file(Announcement(primary=False, med=STANDBY_MED)))


def role_file(announcement: Announcement) -> str:
    """Text of the role file: community and MED. MED is 0 and unused with the policy that sends none.

    Install it by rename before `configure`; `configure soft` would not re-export. MED is always defined, so that the
    file fits a bird.conf of either policy while the policy changes.
    """
    asn, value = announcement.community
    return f"define COMM = ({asn},{value});\ndefine MED = {announcement.med or 0};\n"


class Origin(StrEnum):
    """The ORIGIN attribute in BIRD's notation. BGP prefers IGP to INCOMPLETE (RFC 4271 section 9.1.2.2 b)."""

    IGP = "ORIGIN_IGP"
    INCOMPLETE = "ORIGIN_INCOMPLETE"


@dataclass(frozen=True, slots=True)
class Word:
    """One announcement of the FIPs: primary or secondary community, a MED or none, an ORIGIN."""

    primary: bool = True
    med: int | None = None
    origin: Origin = Origin.INCOMPLETE

    @property
    def community(self) -> tuple[int, int]:
        """As `Announcement.community`."""
        return Announcement(primary=self.primary, med=self.med).community


def probe_text(sides: Sides, said: Word | None, folder: str) -> str:
    """A bird.conf for the platform probe, with its log in `folder`. With `said` None it announces nothing."""
    return fill(
        "bird-probe.conf.j2",
        sides,
        route_servers=route_servers(sides.gateway),
        startup_hold_seconds=_STARTUP_HOLD_SECONDS,
        said=said,
        folder=folder,
    )
