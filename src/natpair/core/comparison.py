"""Decides whether an unhealthy active node should yield to its peer.

If both nodes lose the same thing, or get it back, each notices by its own timers. Until the later one has noticed, one
of them looks healthier and is not. A role that moved then would have moved for nothing, so such differences have to
last longer than the nodes' timers can be apart.
"""

from __future__ import annotations

from dataclasses import replace

from natpair.core.messages import PeerMessage, Phase
from natpair.core.replies import FipReplies, Where
from natpair.core.state import NodeState

CARRIER_SPREAD = 0.1
"""Seconds by which the two nodes' reports can be apart if the switch of both uplinks fails. Changes are sent at
once."""
_LONG_AGO = float("-inf")


def outdone(state: NodeState, now: float) -> bool:
    """True if this node is unhealthy, its peer is healthy, and the difference is not just who noticed first."""
    said = state.peer.fresh(state.terms, now)
    if said is None or said.suspect or not _would_take_it(state, said, now):
        return False
    if state.blind(now):
        return True  # the peer sees clients on the VLAN, so the fault is not one that both nodes share
    if state.fit(now):
        return False
    if state.can_serve(now) and not state.health.unrepaired:
        return not said.unanswered and may_help(state, said) and now >= _answers_are_told(state)
    return now >= max(_loss_is_told(state, now), _return_is_told(state, now))


def _would_take_it(state: NodeState, said: PeerMessage, now: float) -> bool:
    """True if the peer would take the role: it is ready. Once this node has been unhealthy for some seconds, it is
    enough that the peer claims the role, serves, or could serve. The same holds if no replies come back for a FIP.

    If the peer is active, it does not hear this node. Otherwise the epochs would have decided which of them stays
    active.
    """
    if state.helpless(now):
        return said.ready or said.able or (said.active and not said.unserving)
    claims = said.able and said.phase in {Phase.STANDBY, Phase.CHALLENGING, Phase.REFUSED}
    return said.ready or (claims and (state.unfit(now) or bool(state.health.silent)))


def may_help(state: NodeState, said: PeerMessage) -> bool:
    """True if, for some FIP that gets no replies here, replies would probably come back if the peer were active.

    The peer has probed for itself: from the FIP, or from its own address if the line behind the gateway is cut. Both
    nodes announce each FIP all the time. So if the fabric sends packets to neither, a switchover would not change that.
    """
    return any(_may_help(state, said, one) for one in state.health.silent)


def _may_help(state: NodeState, said: PeerMessage, one: FipReplies) -> bool:
    if said.reached is not True or one.where is not Where.FIP:
        return said.reached is True
    not_there = any(lack.fip == one.fip and lack.node in {"", state.terms.peer} for lack in state.account.lacks)
    return not one.elsewhere and not not_there


def _answers_are_told(state: NodeState) -> float:
    """From then on this node would have the answers that its peer gets, if both had missed them."""
    since = state.peer.reaches_since
    return float("inf") if since is None else since + state.terms.notice


def _only_outside(state: NodeState, now: float) -> bool:
    """True if every fault is outside this machine: uplink, gateway, route servers. The peer may have the same fault."""
    repaired = replace(state.health, public_up=True, gateway=True, replies=())
    return replace(state, health=repaired, fitness=replace(state.fitness, bgp_lost_at=now)).fit(now)


def _only_servers(state: NodeState, now: float) -> bool:
    """True if only the BGP sessions are gone. Waiting costs clients nothing: the fabric sends to the node that still
    has a session, and that node relays.
    """
    return _only_outside(state, now) and state.health.public_up and state.health.gateway


def _loss_is_told(state: NodeState, now: float) -> float:
    """The time by which a peer with the same loss would have reported it.

    Hold timers expire up to a third of the hold time apart (RFC 4271 section 4.4), and then the later node has its
    grace time. A missing gateway needs no wait: the peer reports a suspected gateway before any node becomes unhealthy.
    """
    if _only_servers(state, now):
        return _LONG_AGO if state.fitness.bgp_lost_at is None else state.fitness.bgp_lost_at + state.terms.hold
    if _only_outside(state, now) and not state.health.public_up and state.fitness.unfit_at is not None:
        return state.fitness.unfit_at + CARRIER_SPREAD
    return _LONG_AGO


def _return_is_told(state: NodeState, now: float) -> float:
    """The time by which this node would have recovered, too, from a fault that its peer has recovered from. In the past
    if the peer never had the fault.
    """
    since = state.peer.ready_since
    if since is None or not _only_outside(state, now):
        return _LONG_AGO
    return since + (state.terms.hold if _only_servers(state, now) else state.terms.notice)
