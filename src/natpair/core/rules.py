"""One rule per phase: when a node leaves it, for which phase, and what is asked to be done on the way.

A rule is a pure function of (state, now). It returns the next state and the actions of one move, or
None to stay. Rules look at levels, never at the event that woke them, so a lost or doubled event
changes nothing. What several rules do is in `core/moves.py`, the planned switchover in `core/handover.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from natpair.core import handover
from natpair.core.actions import Conntrack, ConntrackJob, ProbeVlan, Speak, WakeAt
from natpair.core.ailments import ailment
from natpair.core.comparison import outdone
from natpair.core.messages import Phase, VrrpRole
from natpair.core.moves import Move, Rule, abandon, enter, lost_role, promote, raise_epoch
from natpair.core.state import HEARD_LATELY, Challenge, NodeState, lacks_too_many
from natpair.core.wire import Path

ASK_SILENT = 0.030
"""Seconds a challenge waits for a peer that has been silent on the public path, too: it is likely dead."""
ASK_ALIVE = 0.150
"""Seconds it waits for one that is heard there, whose agent may only be slow."""
REFUSALS_FORGOTTEN = 120.0
"""Seconds as an undisturbed standby after which refused claims no longer count."""
FAULT_DWELL = 0.6
"""Seconds in FAULT before a way out is looked for: the health that caused it is read anew meanwhile."""
YIELD_LIMIT = 3.0
RESYNC_PAUSE = 15.0
"""Seconds between two resyncs that the active node makes because its standby lacks flows."""


def _waiting(state: NodeState, now: float) -> Move | None:
    """BOOTING and FAULT: join when well and in sync, or when nobody else is there."""
    if state.phase is Phase.FAULT and now < state.since + FAULT_DWELL:
        return None
    alone = state.peer.silent(state.terms, now) or (
        state.phase is Phase.FAULT and state.peer.fresh(state.terms, now) is None
    )
    if state.drained and not alone:
        return enter(state, Phase.DRAINED, now, "drained by an operator")
    if alone:
        if state.health.can_forward:
            return enter(state, Phase.STANDBY, now, "the peer is silent on both paths")
        return None
    said = state.peer.fresh(state.terms, now)
    if said is None or not state.can_serve(now):
        return None
    if said.active and (not state.synced(now) or (state.damped(now) and not said.unfit)):
        return None
    return enter(state, Phase.STANDBY, now, "healthy and in sync" if said.active else "healthy, no node is active yet")


def _standby(state: NodeState, now: float) -> Move | None:
    said = state.peer.fresh(state.terms, now)
    if state.refusals and now >= state.since + REFUSALS_FORGOTTEN:
        return replace(state, refusals=0), ()
    if state.vrrp is VrrpRole.MASTER:
        if said is not None and said.ready and not state.can_serve(now):
            return None  # not eligible any more (core/desired.py): Keepalived is about to give the role to the peer
        if said is not None and not said.active:
            return promote(state, now, f"VRRP elected us and {state.terms.peer} does not claim the role")
        return _ask(state, now)
    if state.drained and not state.peer.silent(state.terms, now):
        return enter(state, Phase.DRAINED, now, "drained by an operator")
    if said is not None and said.active and said.handover:
        return handover.prepare(state, now, said.handover)
    return None


def _ask(state: NodeState, now: float) -> Move:
    """Challenge the peer before promoting: VRRP's silence may be our own deafness."""
    nonce = 2 * (state.last_nonce // 2 + 1) + state.terms.bit
    asked = replace(state, challenge=Challenge(nonce, now), last_nonce=nonce)
    moved, entered = enter(asked, Phase.CHALLENGING, now, "VRRP elected us: asking the peer first")
    return moved, (*entered, ProbeVlan(nonce), WakeAt(now + ASK_SILENT), WakeAt(now + ASK_ALIVE))


def _challenging(state: NodeState, now: float) -> Move | None:
    challenge = state.challenge
    if challenge is None or state.vrrp is not VrrpRole.MASTER:
        return enter(state, Phase.STANDBY, now, "VRRP took the election back")
    said = state.peer.said
    answered = said is not None and said.answer == challenge.nonce
    if said is None or not answered:
        return promote(state, now, _no_answer(state)) if _asked_enough(state, challenge, now) else None
    if not said.active:
        return promote(state, now, f"{state.terms.peer} answered that it is not active")
    patient = now < challenge.asked_at + ASK_ALIVE
    if patient and (said.evidence is None or challenge.evidence is None):
        return None
    ours, theirs = challenge.evidence or 0, said.evidence or 0
    # Heard there, the VLAN between us works: it is VRRP alone that is not understood, and counts differ by chance. By
    # now a heartbeat that came just before the peer's leg died has grown too old to count.
    heard = _heard_on_vlan(state, now)
    if ours > theirs and not heard:
        return promote(state, now, f"{state.terms.peer} is active but sees {theirs} clients on the VLAN, we see {ours}")
    refused = replace(state, refusals=state.refusals + 1)
    why = "is heard on the VLAN, but for VRRP" if heard else f"sees {theirs} clients, we see {ours}"
    return enter(refused, Phase.REFUSED, now, f"{state.terms.peer} is active and {why}")


def _heard_on_vlan(state: NodeState, now: float) -> bool:
    """The peer's heartbeat came over the VLAN after VRRP had fallen silent."""
    return now - state.peer.heard[Path.PRIVATE] < HEARD_LATELY * state.terms.detect


def _asked_enough(state: NodeState, challenge: Challenge, now: float) -> bool:
    """No answer will come: from the silent soon, from one who is still heard later."""
    waited = now - challenge.asked_at
    silent = state.peer.quiet(state.terms, now)
    return waited >= ASK_ALIVE or (silent and waited >= ASK_SILENT)


def _no_answer(state: NodeState) -> str:
    return f"VRRP elected us and {state.terms.peer} gives no answer on the public path"


def _refused(state: NodeState, now: float) -> Move | None:
    """Out of the election until the VLAN carries the peer's voice again, or the peer lets go."""
    said = state.peer.fresh(state.terms, now)
    if said is None:
        return enter(state, Phase.STANDBY, now, f"{state.terms.peer} fell silent")
    if not said.active:
        return enter(state, Phase.STANDBY, now, f"{state.terms.peer} gave the role up")
    # A path that works for heartbeats but not for adverts would make us claim again and again: back off.
    pause = min(2.0 ** (state.refusals - 1), 60.0)
    if now - state.peer.heard[Path.PRIVATE] <= state.terms.fresh and now >= state.since + pause:
        return enter(state, Phase.STANDBY, now, "the VLAN carries the peer's heartbeat again")
    return None


def _active(state: NodeState, now: float) -> Move | None:
    lost = lost_role(state, now)
    if lost is not None:
        return lost
    said = state.peer.fresh(state.terms, now)
    if said is not None and not said.active and said.phase is not Phase.PREPARING and said.epoch > state.epoch:
        raised, reserve = raise_epoch(state)
        # What was asked for the old epoch would never count as done for the new one.
        again = (Conntrack(ConntrackJob.COMPLETE, raised.epoch),) if raised.completing else ()
        return raised, (*again, *reserve, Speak())
    if outdone(state, now):
        return abandon(state, Phase.YIELDING, now, f"{ailment(state, now)}, and {state.terms.peer} is well")
    if state.fenced and said is not None and said.flushed_for == state.epoch:
        return replace(state, fenced=False), (Conntrack(ConntrackJob.BULK, state.epoch),)
    if state.boosted and said is not None and said.synced and said.vrrp is VrrpRole.BACKUP:
        return replace(state, boosted=False), ()
    if handover.wants_out(state, now):
        return handover.begin(state, now)
    if handover.failback_due(state, now):
        return handover.begin(state, now, f"failback to {state.terms.peer}, which is preferred")
    rested = now >= state.refresh_at - state.terms.refresh + RESYNC_PAUSE
    if not state.completing and rested and _peer_lacks(state, now):
        # What the standby asked conntrackd for did not help: the cache here may lack them, too.
        fresh = replace(state, refresh_at=now + state.terms.refresh)
        return fresh, (Conntrack(ConntrackJob.COMPLETE, state.epoch),)
    if not state.completing and now >= state.refresh_at:
        return replace(state, refresh_at=now + state.terms.refresh), (Conntrack(ConntrackJob.BULK, state.epoch),)
    return None


def _peer_lacks(state: NodeState, now: float) -> bool:
    said = state.peer.fresh(state.terms, now)
    return said is not None and lacks_too_many(said.sampled, said.lacking)


def _yielding(state: NodeState, now: float) -> Move | None:
    said = state.peer.fresh(state.terms, now)
    if said is None:
        return enter(state, Phase.STANDBY, now, f"{state.terms.peer} fell silent: back into the election")
    if state.vrrp is not VrrpRole.MASTER and said.active:
        if state.can_serve(now) and not state.damped(now):
            return enter(state, Phase.STANDBY, now, f"{state.terms.peer} has the role")
        why = "this node has been unhealthy too often" if state.can_serve(now) else ailment(state, now)
        return enter(state, Phase.FAULT, now, f"{state.terms.peer} has the role; {why}")
    if now >= state.since + YIELD_LIMIT and not said.active:
        return enter(state, Phase.STANDBY, now, f"{state.terms.peer} did not take the role: electing again")
    return None


def _drained(state: NodeState, now: float) -> Move | None:
    if not state.drained:
        return enter(state, Phase.BOOTING, now, "undrained by an operator")
    if state.vrrp is VrrpRole.MASTER and state.peer.silent(state.terms, now):
        return _ask(state, now)
    return None


RULES: Mapping[Phase, Rule] = {
    Phase.BOOTING: _waiting,
    Phase.STANDBY: _standby,
    Phase.CHALLENGING: _challenging,
    Phase.REFUSED: _refused,
    Phase.PREPARING: handover.preparing,
    Phase.ACTIVE: _active,
    Phase.HANDING_OVER: handover.handing_over,
    Phase.YIELDING: _yielding,
    Phase.FAULT: _waiting,
    Phase.DRAINED: _drained,
}
