"""The rules of a planned switchover: the giver in HANDING_OVER, the taker in PREPARING.

Make before break: the taker announces and translates before the VIP moves, and the giver keeps forwarding until the
taker serves. The two coordinate through fields of their heartbeats. The giver's epoch numbers the handover.
"""

from __future__ import annotations

from dataclasses import replace

from natpair.core.actions import Speak, WakeAt
from natpair.core.messages import Phase, VrrpRole
from natpair.core.moves import Move, abandon, answer_request, enter, lost_role, promote, raise_epoch
from natpair.core.state import Handover, NodeState

PREPARE_LIMIT = 2.0
ARRIVAL_LIMIT = 1.0
"""Seconds the taker waits for replies to arrive. There may be no traffic, or the fabric may be slow."""
OPEN_LIMIT = 3.0
RELEASE_LIMIT = 3.0
ARP_GRACE = 0.150
"""Seconds the old active node keeps forwarding after the new one serves. Clients learn the new MAC meanwhile."""
PREPARING_LIMIT = 10.0
DRAIN_PAUSE = 10.0
"""Seconds before a drained node tries to hand over again after a cancelled handover, or after it became active."""


def prepare(state: NodeState, now: float, number: int) -> Move:
    """Start as the taker: announce the FIPs first, so that traffic comes here."""
    raised, reserve = raise_epoch(replace(state, handover=Handover(number, now)))
    moved, entered = enter(raised, Phase.PREPARING, now, f"{state.terms.peer} hands the role over")
    return moved, (*entered, *reserve, WakeAt(now + ARRIVAL_LIMIT), WakeAt(now + PREPARING_LIMIT))


def preparing(state: NodeState, now: float) -> Move | None:
    """The taker's rule: wait for replies to arrive, open, and serve when the VIP comes."""
    if state.vrrp is VrrpRole.MASTER:
        return promote(state, now, f"{state.terms.peer} handed the role over")
    said = state.peer.fresh(state.terms, now)
    cancelled = said is not None and (state.handover is None or said.handover != state.handover.number)
    if cancelled or now >= state.since + PREPARING_LIMIT:
        # Packets may have passed through this node. conntrackd must forget the entries that it made for them.
        forgetting = replace(state, resync=replace(state.resync, flushed_for=None))
        return enter(forgetting, Phase.STANDBY, now, "the handover was cancelled")
    if state.handover is not None and not state.handover.opening and now >= state.since + ARRIVAL_LIMIT:
        return replace(state, handover=replace(state.handover, opening=True)), ()
    return None


def wants_out(state: NodeState, now: float) -> bool:
    """True if a switchover was requested and the peer may take over now."""
    forced = state.request is not None and state.request.force
    if state.takeover.completing and not forced:
        return False
    said = state.peer.fresh(state.terms, now)
    if said is None:
        return False
    if said.ready and said.synced and state.health.conntrackd:
        # A drain stays in force when its handover was cancelled, and is tried again after a pause.
        return state.request is not None or said.asks_for_role or (state.drained and now >= state.since + DRAIN_PAUSE)
    return forced and said.phase is Phase.STANDBY


def failback_due(state: NodeState, now: float) -> bool:
    """True if the role should go back to the preferred peer: it has been fit, and this node undisturbed, for
    `pair.failback_seconds`. Without that key never.
    """
    terms, fit = state.terms, state.peer.fit_since
    if terms.failback is None or terms.prefer != terms.peer or fit is None or state.takeover.completing:
        return False
    if state.account.ahead(terms.peer):
        return False  # the provider is about to work on that machine
    return state.peer.fresh(terms, now) is not None and now >= max(fit, state.since) + terms.failback


def begin(state: NodeState, now: float, cause: str = "") -> Move:
    """Start as the giver: ask the taker to get ready. Without a `cause` an operator or planned maintenance asked for
    it.
    """
    planned = replace(state, handover=Handover(state.epoch, now), local_for=None)
    why = state.request.why if state.request is not None else ""
    asked = f"planned switchover to {state.terms.peer}{why and ': '}{why}"
    moved, entered = enter(planned, Phase.HANDING_OVER, now, cause or asked)
    return moved, (*entered, WakeAt(now + PREPARE_LIMIT))


def handing_over(state: NodeState, now: float) -> Move | None:
    """The giver's rule: release the VIP once the taker translates, and stop forwarding once the taker serves."""
    lost = lost_role(state, now)
    handover = state.handover
    if lost is not None or handover is None:
        return lost
    said = state.peer.fresh(state.terms, now)
    if handover.released_at is not None:
        return _released(state, handover, now)
    if handover.prepared_at is None:
        if said is not None and said.prepared_for == handover.number:
            prepared = replace(handover, prepared_at=now)
            return replace(state, handover=prepared), (WakeAt(now + OPEN_LIMIT),)
        if now >= handover.started_at + PREPARE_LIMIT:
            return _call_off(state, now, f"{state.terms.peer} did not get ready to take over")
        return None
    if said is None:
        return _call_off(state, now, f"{state.terms.peer} fell silent before the VIP moved")
    if now >= handover.prepared_at + OPEN_LIMIT:
        return _call_off(state, now, f"{state.terms.peer} did not start to translate")
    if state.copying and said.opened and said.prepared_for == handover.number:
        released = replace(handover, released_at=now)
        return replace(state, handover=released), (WakeAt(now + RELEASE_LIMIT),)
    return None


def _released(state: NodeState, handover: Handover, now: float) -> Move | None:
    said = state.peer.fresh(state.terms, now)
    if handover.local_at is None:
        if said is not None and said.local_for == handover.number:
            took = replace(handover, local_at=now, reclaimed_at=None)
            return replace(state, handover=took), (WakeAt(now + ARP_GRACE),)
        if handover.reclaimed_at is not None:
            return _reclaiming(state, handover.reclaimed_at, now)
        if state.peer.quiet(state.terms, now):
            # This node keeps forwarding meanwhile. The taker has announced already, and only a newer epoch beats that.
            raised, reserve = raise_epoch(replace(state, handover=replace(handover, reclaimed_at=now)))
            return raised, (*reserve, Speak(), WakeAt(now + RELEASE_LIMIT))
        if handover.released_at is not None and now >= handover.released_at + RELEASE_LIMIT:
            return abandon(state, Phase.STANDBY, now, f"{state.terms.peer} did not take the role: electing again")
        return None
    if now >= handover.local_at + ARP_GRACE:
        done, replies = answer_request(state, ok=True, message=f"{state.terms.peer} is active")
        lead = state.terms.watch.maintenance_lead_seconds
        done = replace(done, account=state.account.left(state.terms.me, now, lead))
        moved, entered = abandon(done, Phase.STANDBY, now, f"{state.terms.peer} took over as planned")
        return moved, (*entered, *replies)
    return None


def _reclaiming(state: NodeState, since: float, now: float) -> Move | None:
    peer = state.terms.peer
    if state.vrrp is VrrpRole.MASTER:
        return _call_off(state, now, f"{peer} fell silent after the VIP had moved")
    if now >= since + RELEASE_LIMIT:
        return abandon(state, Phase.STANDBY, now, f"{peer} fell silent, the VIP does not come back: electing again")
    return None


def _call_off(state: NodeState, now: float, why: str) -> Move:
    # A taker that died leaves an announcement newer than ours. The fabric keeps it for the hold time.
    raised, reserve = raise_epoch(state) if state.generation_seen > state.epoch // 2 else (state, ())
    moved, entered = enter(raised, Phase.ACTIVE, now, f"switchover cancelled: {why}")
    again = "; the drain is tried again until you run 'natpair undrain'" if state.drained else ""
    fix = f"see 'natpair status' on {state.terms.peer}{again}"
    done, replies = answer_request(moved, ok=False, message=why, fix=fix)
    return done, (*entered, *reserve, *replies)
