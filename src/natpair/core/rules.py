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
from natpair.core.comparison import outdone
from natpair.core.messages import PeerMessage, Phase, VrrpRole
from natpair.core.moves import Move, Rule, abandon, enter, lost_role, promote, raise_epoch
from natpair.core.state import HEARD_LATELY, Challenge, NodeState, lacks_too_many
from natpair.core.wire import Path

ASK_SILENT = 0.030
"""Seconds a challenge waits for a peer that has been silent on the public path, too: it is likely dead."""
ASK_ALIVE = 0.150
"""Seconds it waits at least for one that is heard there, whose agent may only be slow, and for the evidence of one that
answered."""
ASK_BEATS = 2.5
"""Beats it waits for that one at least: one that lives is heard once more meanwhile, though a datagram is lost."""
ASK_AGAIN_FIRST = 0.010
ASK_AGAIN = 0.030
"""Seconds after which the question is repeated: one lost datagram decides nothing. Sooner in the first `ASK_SILENT`."""
ASK_LOSSY = 1.0
"""Seconds it waits at most for a silent peer whose heartbeats came with gaps lately: packets are lost, it may live."""
GAPS = 0.25
"""Seconds of a gap between heartbeats that a busy machine does not explain."""
INSIST = 0.05
"""Seconds between two messages to a peer whose last word was an older claim of the role, or that was not heard yet
since this agent started: it has to hear of our claim. The same while this node yields and its peer does not claim the
role yet."""
DAMPED_ALWAYS = 5.0
"""Seconds for which a node that lost the role again and again stays out although the peer cannot serve."""
REFUSED_SILENCE = 4.0
"""Seconds of silence after which a refused node leaves at the latest, however many heartbeats were lost before."""
REFUSED_PAUSE_MAX = 8.0
"""Seconds of the longest pause before a refused node that has better evidence by now claims again."""
COMPLETIONS = 10
"""Tries of the resync after a promotion: each takes a second at least when conntrackd is dead."""
REFUSALS_FORGOTTEN = 120.0
"""Seconds as an undisturbed standby after which refused claims no longer count."""
FAULT_DWELL = 0.6
"""Seconds in FAULT before a way out is looked for: the health that caused it is read anew meanwhile."""
SYNC_PATIENCE = 5.0
"""Seconds for which a node that joins waits for the flows of an active peer that is not fit. A standby that lost them
later would not be asked for them either."""
YIELD_LIMIT = 3.0
RESYNC_PAUSE = 15.0
"""Seconds between two resyncs that the active node makes because its standby lacks flows."""


def _waiting(state: NodeState, now: float) -> Move | None:
    """BOOTING and FAULT: join when well and in sync, or when nobody else is there."""
    if state.phase is Phase.FAULT and now < state.since + FAULT_DWELL:
        return None
    unheard = state.peer.fresh(state.terms, now) is None and not (state.damping.tossed(now) and state.peer_serves(now))
    alone = state.peer.silent(state.terms, now) or (state.phase is Phase.FAULT and unheard)
    if state.drained and not alone:
        return enter(state, Phase.DRAINED, now, "drained by an operator")
    if alone:
        if state.health.can_forward and not state.deferring(now):
            return enter(state, Phase.STANDBY, now, "the peer is silent on both paths")
        return None
    said = state.peer.fresh(state.terms, now)
    if said is None or not state.can_serve(now):
        return None
    waited = state.synced(now) or (said.unfit and now >= state.since + SYNC_PATIENCE)
    if said.active and not said.unserving and (not waited or (state.damped(now) and not said.unfit)):
        return None
    if said.unserving and state.damped(now) and state.damping.lately(now, DAMPED_ALWAYS):
        return None  # else two that both fail as soon as they are active would take turns every few seconds
    return enter(state, Phase.STANDBY, now, _why_joining(state, said, now))


def _why_joining(state: NodeState, said: PeerMessage, now: float) -> str:
    if not said.active:
        return "healthy, no node is active yet"
    return "healthy and in sync" if state.synced(now) else f"healthy, and {state.terms.peer} is not: without its flows"


def _standby(state: NodeState, now: float) -> Move | None:
    said = state.peer.fresh(state.terms, now)
    if state.refusals and now >= state.since + REFUSALS_FORGOTTEN:
        return replace(state, refusals=0), ()
    if state.vrrp is VrrpRole.MASTER:
        if said is not None and (said.ready or said.able) and (not state.can_serve(now) or state.blind(now)):
            return None  # not eligible any more (core/desired.py): Keepalived is about to give the role to the peer
        if said is not None and not said.active:
            return promote(state, now, f"VRRP elected us and {state.terms.peer} does not claim the role")
        return _ask(state, now)
    if state.drained and not (state.peer.silent(state.terms, now) or state.peer_idle(now)):
        return enter(state, Phase.DRAINED, now, "drained by an operator")
    if said is not None and said.active and said.handover:
        return handover.prepare(state, now, said.handover)
    return None


def _ask(state: NodeState, now: float) -> Move:
    """Challenge the peer before promoting: VRRP's silence may be our own deafness."""
    nonce = 2 * (state.last_nonce // 2 + 1) + state.terms.bit
    asked = replace(state, challenge=Challenge(nonce, now, repeated_at=now), last_nonce=nonce)
    moved, entered = enter(asked, Phase.CHALLENGING, now, "VRRP elected us: asking the peer first")
    ends = (WakeAt(now + ASK_SILENT), WakeAt(now + ASK_ALIVE), WakeAt(now + ask_alive(state)))
    return moved, (*entered, ProbeVlan(nonce), WakeAt(now + ASK_AGAIN_FIRST), *ends)


def ask_alive(state: NodeState) -> float:
    """Seconds a challenge waits for a peer that is heard and does not answer."""
    return max(ASK_ALIVE, ASK_BEATS * state.terms.beat)


def _challenging(state: NodeState, now: float) -> Move | None:
    challenge = state.challenge
    if challenge is None or state.vrrp is not VrrpRole.MASTER:
        return enter(state, Phase.STANDBY, now, "VRRP took the election back")
    said = state.peer.said
    answered = said is not None and said.answer == challenge.nonce
    if said is None or not answered:
        if not _asked_enough(state, challenge, now):
            return _repeated(state, challenge, now)
        # The question or its answers were lost; what it says all the same is an answer, too.
        if said is None or max(state.peer.heard.values()) < challenge.asked_at:
            return promote(state, now, _no_answer(state))
    if not said.active:
        return promote(state, now, f"{state.terms.peer} answered that it is not active")
    if said.unserving and state.can_serve(now):
        return promote(state, now, f"{state.terms.peer} is active and says that it cannot serve")
    patient = answered and now < challenge.asked_at + ASK_ALIVE
    if patient and (said.evidence is None or challenge.evidence is None):
        return _repeated(state, challenge, now)
    # Evidence may be lost on its way, too. The count in each heartbeat is older, and better than none.
    told = said.evidence if answered and said.evidence is not None else said.sees
    ours, theirs = challenge.evidence or 0, told or 0
    # Heard there, the VLAN between us works: it is VRRP alone that is not understood, and counts differ by chance. By
    # now a heartbeat that came just before the peer's link died has grown too old to count.
    heard = _heard_on_vlan(state, now)
    # A peer that serves some clients is better than a node that lately served none.
    useless = theirs > 0 and state.unanswered(now) and not said.unanswered
    if ours > theirs and not heard and not useless:
        return promote(state, now, f"{state.terms.peer} is active but sees {theirs} clients on the VLAN, we see {ours}")
    refused = replace(state, refusals=state.refusals + 1)
    why = "is heard on the VLAN, but for VRRP" if heard else f"sees {theirs} clients, we see {ours}"
    return enter(refused, Phase.REFUSED, now, f"{state.terms.peer} is active and {why}")


def _repeated(state: NodeState, challenge: Challenge, now: float) -> Move | None:
    early = now < challenge.asked_at + ASK_SILENT
    pause = ASK_AGAIN_FIRST if early else ASK_AGAIN
    if now < challenge.repeated_at + pause:
        return None
    asked = replace(state, challenge=replace(challenge, repeated_at=now))
    return asked, (Speak(), WakeAt(now + pause))


def _heard_on_vlan(state: NodeState, now: float) -> bool:
    """The peer's heartbeat came over the VLAN after VRRP had fallen silent."""
    return now - state.peer.heard[Path.PRIVATE] < HEARD_LATELY * state.terms.detect


def _asked_enough(state: NodeState, challenge: Challenge, now: float) -> bool:
    """No answer will come: from the silent soon, from one who is still heard later."""
    waited = now - challenge.asked_at
    silent = state.peer.quiet(state.terms, now)
    return waited >= max(ask_alive(state), _ask_silent(state)) or (silent and waited >= _ask_silent(state))


def _ask_silent(state: NodeState) -> float:
    return min(2 * state.peer.gap, ASK_LOSSY) if _gaps(state) else ASK_SILENT


def _gaps(state: NodeState) -> bool:
    """Heartbeats have been lost lately: the peer was silent for longer than a dead one needs to be noticed."""
    return state.peer.gap > max(HEARD_LATELY * state.terms.detect, GAPS)


def _no_answer(state: NodeState) -> str:
    return f"VRRP elected us and {state.terms.peer} gives no answer on the public path"


def _refused(state: NodeState, now: float) -> Move | None:
    """Out of the election until the VLAN carries the peer's voice again, the peer lets go, or evidence is better."""
    said = state.peer.fresh(state.terms, now)
    if said is None:
        # Where heartbeats are lost, one that comes late is no silence.
        patience = min(3 * state.peer.gap, REFUSED_SILENCE) if _gaps(state) else 0.0
        if state.peer.age(now) < patience:
            return None
        return enter(state, Phase.STANDBY, now, f"{state.terms.peer} fell silent")
    if not said.active:
        return enter(state, Phase.STANDBY, now, f"{state.terms.peer} gave the role up")
    if said.unserving and state.can_serve(now):
        return enter(state, Phase.STANDBY, now, f"{state.terms.peer} says that it cannot serve")
    waited = now - state.since
    if sees_more(state, now) and waited >= min(2.0 ** (state.refusals - 1), REFUSED_PAUSE_MAX):
        cause = f"clients are heard here on the VLAN, and none by {state.terms.peer}: claiming again"
        return enter(state, Phase.STANDBY, now, cause)
    # A path that works for heartbeats but not for adverts would make us claim again and again: back off.
    pause = min(2.0 ** (state.refusals - 1), 60.0)
    if now - state.peer.heard[Path.PRIVATE] <= state.terms.fresh and now >= state.since + pause:
        return enter(state, Phase.STANDBY, now, "the VLAN carries the peer's heartbeat again")
    return None


def sees_more(state: NodeState, now: float) -> bool:
    """Clients are heard here and not by the peer, which is not heard on the VLAN: its link is the dead one."""
    said = state.peer.fresh(state.terms, now)
    if said is None or said.sees != 0 or not state.health.sees:
        return False
    return now - state.peer.heard[Path.PRIVATE] > state.terms.fresh


def _active(state: NodeState, now: float) -> Move | None:
    lost = lost_role(state, now)
    if lost is not None:
        return lost
    said = state.peer.fresh(state.terms, now)
    if said is not None and said.epoch > state.epoch and _outranks_for_nothing(said):
        raised, reserve = raise_epoch(state)
        # What was asked for the old epoch would never count as done for the new one.
        again = (Conntrack(ConntrackJob.COMPLETE, raised.epoch),) if raised.takeover.completing else ()
        return raised, (*again, *reserve, Speak())
    if outdone(state, now):
        return abandon(state, Phase.YIELDING, now, f"{ailment(state, now)}, and {state.terms.peer} is well")
    if state.helpless(now) and state.deferring(now) and state.peer.silent(state.terms, now):
        cause = f"{ailment(state, now)}, and {state.terms.peer} may serve unheard"
        return abandon(state, Phase.FAULT, now, cause)
    takeover = state.takeover
    if takeover.fenced and said is not None and said.flushed_for == state.epoch:
        unfenced = replace(takeover, fenced=False)
        return replace(state, takeover=unfenced), (Conntrack(ConntrackJob.BULK, state.epoch),)
    if takeover.boosted and said is not None and said.synced and said.vrrp is VrrpRole.BACKUP:
        return replace(state, takeover=replace(takeover, boosted=False)), ()
    if handover.wants_out(state, now):
        return handover.begin(state, now)
    if handover.failback_due(state, now):
        return handover.begin(state, now, f"failback to {state.terms.peer}, which is preferred")
    rested = now >= state.refresh_at - state.terms.refresh + RESYNC_PAUSE
    if not takeover.completing and rested and _peer_lacks(state, now):
        # What the standby asked conntrackd for did not help: the cache here may lack them, too.
        fresh = replace(state, refresh_at=now + state.terms.refresh)
        return fresh, (Conntrack(ConntrackJob.COMPLETE, state.epoch),)
    if not takeover.completing and now >= state.refresh_at:
        # A resync that was given up is tried again at the pace of refreshes.
        job = ConntrackJob.COMPLETE if takeover.incomplete else ConntrackJob.BULK
        return replace(state, refresh_at=now + state.terms.refresh), (Conntrack(job, state.epoch),)
    last = state.peer.said
    unaware = last is None or (last.phase is Phase.ACTIVE and last.epoch < state.epoch)
    if unaware and not state.peer.silent(state.terms, now) and _may_insist(state, now):
        return replace(state, insisted_at=now), (Speak(), WakeAt(now + INSIST))
    if takeover.completing and takeover.completions >= COMPLETIONS:
        return replace(state, takeover=replace(takeover, completing=False, incomplete=True)), ()
    return None


def _may_insist(state: NodeState, now: float) -> bool:
    """The peer was not told again just now."""
    return state.insisted_at is None or now >= state.insisted_at + INSIST


def _outranks_for_nothing(said: PeerMessage) -> bool:
    """It is not active, or not able to serve as such: its epoch must not beat the one of a node that serves."""
    return said.unserving if said.active else said.phase is not Phase.PREPARING


def _peer_lacks(state: NodeState, now: float) -> bool:
    said = state.peer.fresh(state.terms, now)
    return said is not None and lacks_too_many(said.sampled, said.missing)


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
    if not said.active and _may_insist(state, now):
        return replace(state, insisted_at=now), (Speak(), WakeAt(now + INSIST))
    return None


def _drained(state: NodeState, now: float) -> Move | None:
    if not state.drained:
        return enter(state, Phase.BOOTING, now, "undrained by an operator")
    if state.vrrp is VrrpRole.MASTER and (state.peer.silent(state.terms, now) or state.peer_idle(now)):
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


def ailment(state: NodeState, now: float) -> str:
    """What is wrong with the node itself, most telling first; "unhealthy" if nothing has a name."""
    health, me = state.health, state.terms.me
    chains = [thing.removeprefix("table ") for thing in health.unrepaired if thing.startswith("table ")]
    others = [thing for thing in health.unrepaired if not thing.startswith("table ")]
    named = (
        (not health.private_up, "the private link is down"),
        (state.blind(now), "hears no client on the VLAN, unlike its peer"),
        (not health.public_up, "the public link is down"),
        (not health.gateway, "the public gateway does not answer ARP"),
        (not health.ruleset, "the ruleset is not as rendered"),
        (bool(chains), f"{me}'s client traffic is dropped by {', '.join(chains)}"),
        (bool(others), f"{', '.join(others)} cannot be repaired"),
        (bool(health.silent), f"no packets come back for {', '.join(one.fip for one in health.silent)}"),
        (not health.bgp.established and not state.can_serve(now), "no BGP session is Established"),
    )
    return "; ".join(words for holds, words in named if holds) or "unhealthy"
