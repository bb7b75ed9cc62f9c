"""bird.conf, which never changes with the role, and the small file it includes, which is all that does.

The platform probe says other things over the very same sessions; what it says is written out in its file.
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
    """bird.conf of one node: a session to each route server, for as long as the node is up."""
    text = fill(
        "bird.conf.j2",
        sides,
        route_servers=route_servers(sides.gateway),
        uses_med=sides.gateway.bgp.policy is BgpPolicy.NEWEST_WINS,
        startup_hold_seconds=_STARTUP_HOLD_SECONDS,
    )
    return RenderedFile(paths.BIRD_CONF, text, checker=Checker.BIRD)


def standby_file() -> RenderedFile:
    """What the role file says before an agent has spoken: a BIRD that (re)starts comes up as standby."""
    return RenderedFile(paths.BIRD_ROLE_STANDBY, role_file(Announcement(primary=False, med=STANDBY_MED)))


def role_file(announcement: Announcement) -> str:
    """Text of the role file: community and MED, 0 and unused under the policy that sends none.

    To be put in place by rename before `configure`; `configure soft` would not re-export. MED is defined in any
    case, so that the file fits a bird.conf of either policy while the policy is being changed.
    """
    asn, value = announcement.community
    return f"define COMM = ({asn},{value});\ndefine MED = {announcement.med or 0};\n"


class Origin(StrEnum):
    """The ORIGIN attribute as BIRD writes it; a standard fabric prefers the first (RFC 4271 section 9.1.2.2 b)."""

    IGP = "ORIGIN_IGP"
    INCOMPLETE = "ORIGIN_INCOMPLETE"


@dataclass(frozen=True, slots=True)
class Word:
    """One thing to say of the FIPs: a community by its second half, a MED or none, an ORIGIN."""

    primary: bool = True
    med: int | None = None
    origin: Origin = Origin.INCOMPLETE

    @property
    def community(self) -> tuple[int, int]:
        """As `Announcement.community`."""
        return Announcement(primary=self.primary, med=self.med).community


def probe_text(sides: Sides, said: Word | None, folder: str) -> str:
    """A bird.conf for the platform probe that keeps its log in `folder`; `said` None announces nothing."""
    return fill(
        "bird-probe.conf.j2",
        sides,
        route_servers=route_servers(sides.gateway),
        startup_hold_seconds=_STARTUP_HOLD_SECONDS,
        said=said,
        folder=folder,
    )
