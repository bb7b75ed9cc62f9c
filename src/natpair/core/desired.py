"""The desired state of the machine: one value, computed from the node's state, which the agent puts in force.

Applying it twice changes nothing. It is compared with what is observed, never with what was applied before.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from natpair.core.announcement import Announcement
from natpair.core.messages import Phase
from natpair.core.state import NodeState

DRAIN_RELAY = 10.0
"""Seconds for which a drained node still relays late packets before it closes."""
LEAD = 4
"""VRRP priority added while a node is active. More than the nodes' difference: a standby that claims the role because
adverts get lost is asked first, and must not take the VIP away meanwhile by its priority."""
BOOST = 10
"""Added instead after an unclean takeover: more than the difference and the lead of the peer that was active before."""
BOOST_MAX = 14
"""One more for each loss of the role in a row: a peer whose agent is away may be boosted, too, and would take the VIP
back again and again. 254 is the highest priority there is."""


class Traffic(StrEnum):
    """What a node does with client traffic and with packets for a FIP."""

    LOCAL = "local"
    RELAY = "relay"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Desired:
    """The whole of it: traffic, the dup window, the sync fence, BGP, Keepalived's two track files, the peer's MAC.

    `peer_mac` is empty only while the peer has not told its own yet. It stays while the peer is away: without it
    anybody on the VLAN could speak in its name just when there is no second node. `peer_gone`: it may come back with
    another, so ARP may say where its address is; VRRP is heard from a new one when a sealed heartbeat has told it.
    """

    traffic: Traffic
    duplicate: bool
    fence: bool
    announcement: Announcement
    eligible: bool
    boost: int
    peer_mac: str = ""
    peer_gone: bool = False


def desired(state: NodeState, now: float) -> Desired:
    """What should be true of the node in `state` at `now`."""
    return Desired(
        traffic=_traffic(state, now),
        duplicate=_duplicate(state, now),
        fence=state.takeover.fenced,
        announcement=state.announcement(),
        eligible=_eligible(state, now),
        boost=_boost(state, now),
        peer_mac=state.peer.mac,
        peer_gone=state.peer.silent(state.terms, now),
    )


def _boost(state: NodeState, now: float) -> int:
    if state.takeover.boosted:
        return min(BOOST + state.damping.losses_in_a_row(now), BOOST_MAX)
    return LEAD if state.claims_active else 0


def _traffic(state: NodeState, now: float) -> Traffic:
    match state.phase:
        case Phase.ACTIVE | Phase.HANDING_OVER:
            return Traffic.LOCAL
        case Phase.BOOTING | Phase.FAULT:
            return Traffic.CLOSED
        case Phase.DRAINED:
            return Traffic.RELAY if now < state.since + DRAIN_RELAY else Traffic.CLOSED
        case Phase.PREPARING:
            # Open before the VIP comes: not one packet of a client may meet a node that does not translate yet.
            return Traffic.LOCAL if state.handover is not None and state.handover.opening else Traffic.RELAY
        case _:
            return Traffic.RELAY


def _duplicate(state: NodeState, now: float) -> bool:
    if state.phase is Phase.HANDING_OVER:
        return True
    if state.phase is Phase.PREPARING:
        return state.handover is not None and state.handover.opening
    return state.phase is Phase.ACTIVE and state.takeover.duplicates(now)


def _eligible(state: NodeState, now: float) -> bool:
    match state.phase:
        case Phase.ACTIVE | Phase.CHALLENGING | Phase.PREPARING:
            return True
        case Phase.STANDBY:
            # A node that cannot serve is worse than a peer that does or could, and better than none.
            if state.damping.tossed(now) and state.peer_serves(now):
                return False
            return not _somebody_better(state, now)
        case Phase.HANDING_OVER:
            handover = state.handover
            return handover is None or handover.released_at is None or handover.reclaimed_at is not None
        case Phase.DRAINED:
            return state.peer.silent(state.terms, now) or (state.able(now) and state.peer_idle(now))
        case _:
            return False


def _somebody_better(state: NodeState, now: float) -> bool:
    """The peer does serve or could, and this node could not, or not as well; or the peer may do so unheard."""
    said = state.peer.fresh(state.terms, now)
    if said is None:
        return state.deferring(now)
    if not state.can_serve(now) or state.blind(now):
        return said.active or said.ready or said.able
    well = said.ready or said.able or (said.active and not (said.unfit or said.unserving))
    return well and not state.fit(now)
