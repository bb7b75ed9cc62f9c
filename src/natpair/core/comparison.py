"""Is the peer the better one, and has it been for longer than two nodes need to notice one and the same thing?

What both lose at once, and what both get back, each notices by its own timers. For that long one of them looks better
and is not, and a role that moved then would have moved for nothing.
"""

from __future__ import annotations

from dataclasses import replace

from natpair.core.messages import PeerMessage, Phase
from natpair.core.replies import FipReplies, Where
from natpair.core.state import NodeState

CARRIER_SPREAD = 0.1
"""Seconds between the two nodes' news that the switch of both uplinks is off; a change is told at once."""
_LONG_AGO = float("-inf")


def outdone(state: NodeState, now: float) -> bool:
    """This node is not well and its peer is, and that is no matter of who noticed first."""
    said = state.peer.fresh(state.terms, now)
    if said is None or said.suspect or not _would_take_it(state, said, now):
        return False
    if state.blind(now):
        return True  # what the peer sees on the VLAN this node does not: nothing that both could have lost
    if state.fit(now):
        return False
    if state.can_serve(now) and not state.health.unrepaired:
        return not said.unanswered and may_help(state, said)
    return now >= max(_loss_is_told(state, now), _return_is_told(state, now))


def _would_take_it(state: NodeState, said: PeerMessage, now: float) -> bool:
    """The peer is ready. After some seconds it is enough that it claims the role, or does serve, or could: that no
    packets come back took some seconds to find out.

    An active peer does not hear this node, or the two would have settled by epochs which of them stays active.
    """
    if state.helpless(now):
        return said.ready or said.able or (said.active and not said.unserving)
    claims = said.able and said.phase in {Phase.STANDBY, Phase.CHALLENGING, Phase.REFUSED}
    return said.ready or (claims and (state.unfit(now) or bool(state.health.silent)))


def may_help(state: NodeState, said: PeerMessage) -> bool:
    """Packets come back for some FIP only if the peer serves, as far as one can know before it does.

    The peer has tried for itself: from the FIP, or from its own address where the line behind the gateway is cut. Both
    announce each FIP all the time, so what the fabric sends to neither it would not send to the peer as active either.
    """
    return any(_may_help(state, said, one) for one in state.health.silent)


def _may_help(state: NodeState, said: PeerMessage, one: FipReplies) -> bool:
    if said.reached is not True or one.where is not Where.FIP:
        return said.reached is True
    not_there = any(lack.fip == one.fip and lack.node in {"", state.terms.peer} for lack in state.account.lacks)
    return not one.elsewhere and not not_there


def _only_outside(state: NodeState, now: float) -> bool:
    """All that is wrong is beyond this machine: uplink, gateway, route servers. The peer may have lost that, too."""
    repaired = replace(state.health, public_up=True, gateway=True, replies=())
    return replace(state, health=repaired, fitness=replace(state.fitness, bgp_lost_at=now)).fit(now)


def _only_servers(state: NodeState, now: float) -> bool:
    """Clients lose nothing while that is waited for: whoever keeps a session is the fabric's choice, and relays."""
    return _only_outside(state, now) and state.health.public_up and state.health.gateway


def _loss_is_told(state: NodeState, now: float) -> float:
    """From then on a peer that lost the same would have said so.

    Hold timers run out up to a third of the hold time apart (RFC 4271 section 4.4), and the later node then has its
    grace. A gateway that is not there makes the peer suspect before it makes anybody unwell: no need to wait.
    """
    if _only_servers(state, now):
        return _LONG_AGO if state.fitness.bgp_lost_at is None else state.fitness.bgp_lost_at + state.terms.hold
    if _only_outside(state, now) and not state.health.public_up and state.fitness.unfit_at is not None:
        return state.fitness.unfit_at + CARRIER_SPREAD
    return _LONG_AGO


def _return_is_told(state: NodeState, now: float) -> float:
    """From then on this node would have what its peer got back a while ago. A peer that never lost it is not new."""
    since = state.peer.ready_since
    if since is None or not _only_outside(state, now):
        return _LONG_AGO
    return since + (state.terms.hold if _only_servers(state, now) else state.terms.notice)
