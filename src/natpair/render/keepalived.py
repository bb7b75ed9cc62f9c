"""keepalived.conf: one VRRPv3 unicast instance that owns the VIP and nothing else, no scripts.

It has a module of its own because each daemon's file has one.
"""

from __future__ import annotations

from natpair.core import paths
from natpair.render.base import Capabilities, Checker, RenderedFile, Sides, fill

RT_PRIORITY = 50
CONNTRACKD_RT_PRIORITY = 20
AGENT_RT_PRIORITY = 10
BIRD_RT_PRIORITY = 10
"""Real-time priorities. Keepalived has the highest, so that the election always runs first."""

_FIRST_NODE_PRIORITY = 240


def priority_of(sides: Sides) -> int:
    """240 for the first node, 239 for the second: never equal, and low enough for the boost (VRRP's maximum is 255)."""
    return _FIRST_NODE_PRIORITY - sides.gateway.bit_of(sides.node.name)


def keepalived_file(sides: Sides, capabilities: Capabilities) -> RenderedFile:
    """keepalived.conf of one node."""
    text = fill(
        "keepalived.conf.j2",
        sides,
        priority=priority_of(sides),
        # VRRPv3 counts in centiseconds (RFC 9568 section 5.2.7), Keepalived reads decimal seconds.
        advert_seconds=f"{sides.gateway.timing.advert_ms / 1000:.2f}",
        late_master_steps_down=capabilities.keepalived_late_master_steps_down,
    )
    return RenderedFile(paths.KEEPALIVED_CONF, text, checker=Checker.KEEPALIVED)
