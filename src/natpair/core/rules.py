"""One rule per phase: when a node leaves the phase, where it goes, and which actions that needs.

A rule is a pure function of (state, now). It returns the next state and the actions of one move, or None to stay.
Rules look at the state, never at the event that woke them, so a lost or repeated event does no harm. Moves that several
rules share are in `core/moves.py`; the planned switchover is in `core/handover.py`.
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
"""Seconds a challenge waits for a peer that is silent on the public path, too, and therefore is probably dead."""
ASK_ALIVE = 0.150
"""Seconds a challenge waits at least for a peer that is heard on the public path: its agent may only be slow. Also the
limit for the evidence of a peer that answered."""
ASK_BEATS = 2.5
"""Heartbeat intervals a challenge waits at least for that peer. A live one is heard again meanwhile, even if one
datagram is lost."""
ASK_AGAIN_FIRST = 0.010
ASK_AGAIN = 0.030
"""Seconds after which the challenge is repeated, so that one lost datagram decides nothing. In the first `ASK_SILENT`
seconds it is repeated every `ASK_AGAIN_FIRST`."""
ASK_LOSSY = 1.0
"""Seconds a challenge waits at most for a silent peer whose heartbeats had gaps recently: the peer may be alive and its
packets lost."""
GAPS = 0.25
"""Seconds. A longer gap between heartbeats means lost packets; a busy machine does not explain it."""
INSIST = 0.05
"""Seconds between two messages to a peer that has to learn that this node is active: its last message had an older
claim of the role, or it has not been heard since this agent started. Also used while this node yields and the peer does
not claim the role yet."""
DAMPED_ALWAYS = 5.0
"""Seconds for which a node that lost the role repeatedly stays out even if the peer cannot serve."""
REFUSED_SILENCE = 4.0
"""Seconds of silence after which a refused node joins the election again, however many heartbeats were lost before."""
REFUSED_PAUSE_MAX = 8.0
"""Seconds of the longest pause before a refused node claims the role again with better evidence."""
COMPLETIONS = 10
"""Attempts at the resync after a promotion. Each takes at least a second if conntrackd is dead."""
REFUSALS_FORGOTTEN = 120.0
"""Seconds as a standby after which refused claims no longer count."""
FAULT_DWELL = 0.6
"""Seconds a node stays in FAULT at least. In that time the health that caused it is read again."""
SYNC_PATIENCE = 5.0
"""Seconds for which a joining node waits for the flows of an active peer that is unhealthy. After that it joins without
them."""
YIELD_LIMIT = 3.0
RESYNC_PAUSE = 15.0
"""Seconds between two resyncs that the active node starts because its standby has too few flows."""


def _waiting(state: NodeState, now: float) -> Move | None:
    """BOOTING and FAULT: join the election when healthy and in sync, or when the peer is silent."""
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
        return None  # otherwise two nodes that each fail when active would swap the role every few seconds
    return enter(state, Phase.STANDBY, now, _why_joining(state, said, now))


def _why_joining(state: NodeState, said: PeerMessage, now: float) -> str:
    if not said.active:
        return "healthy, no node is active yet"
    return "healthy and in sync" if state.synced(now) else f"healthy, {state.terms.peer} is not; without its flows"


def _standby(state: NodeState, now: float) -> Move | None:
    said = state.peer.fresh(state.terms, now)
    if state.refusals and now >= state.since + REFUSALS_FORGOTTEN:
        return replace(state, refusals=0), ()
    if state.vrrp is VrrpRole.MASTER:
        if said is not None and (said.ready or said.able) and (not state.can_serve(now) or state.blind(now)):
            return None  # no longer eligible (core/desired.py): Keepalived is about to give the role to the peer
        if said is not None and not said.active:
            return promote(state, now, f"VRRP elected this node, and {state.terms.peer} does not claim the role")
        return _ask(state, now)
    if state.drained and not (state.peer.silent(state.terms, now) or state.peer_idle(now)):
        return enter(state, Phase.DRAINED, now, "drained by an operator")
    if said is not None and said.active and said.handover:
        return handover.prepare(state, now, said.handover)
    return None


def _ask(state: NodeState, now: float) -> Move:
    """Challenge the peer before promoting: it may still send adverts that do not arrive here."""
    nonce = 2 * (state.last_nonce // 2 + 1) + state.terms.bit
    asked = replace(state, challenge=Challenge(nonce, now, repeated_at=now), last_nonce=nonce)
    moved, entered = enter(asked, Phase.CHALLENGING, now, "VRRP elected this node, which asks the peer first")
    ends = (WakeAt(now + ASK_SILENT), WakeAt(now + ASK_ALIVE), WakeAt(now + ask_alive(state)))
    return moved, (*entered, ProbeVlan(nonce), WakeAt(now + ASK_AGAIN_FIRST), *ends)


def ask_alive(state: NodeState) -> float:
    """Seconds a challenge waits for a peer that is heard and does not answer."""
    return max(ASK_ALIVE, ASK_BEATS * state.terms.beat)


def _challenging(state: NodeState, now: float) -> Move | None:
    challenge = state.challenge
    if challenge is None or state.vrrp is not VrrpRole.MASTER:
        return enter(state, Phase.STANDBY, now, "VRRP elected the peer again")
    said = state.peer.said
    answered = said is not None and said.answer == challenge.nonce
    if said is None or not answered:
        if not _asked_enough(state, challenge, now):
            return _repeated(state, challenge, now)
        # The challenge or its answers were lost. A heartbeat that arrived since then counts as an answer.
        if said is None or max(state.peer.heard.values()) < challenge.asked_at:
            return promote(state, now, _no_answer(state))
    if not said.active:
        return promote(state, now, f"{state.terms.peer} answered that it is not active")
    if said.unserving and state.can_serve(now):
        return promote(state, now, f"{state.terms.peer} is active and says that it cannot serve")
    patient = answered and now < challenge.asked_at + ASK_ALIVE
    if patient and (said.evidence is None or challenge.evidence is None):
        return _repeated(state, challenge, now)
    # The evidence may be lost, too. The count in each heartbeat is older, but better than none.
    told = said.evidence if answered and said.evidence is not None else said.sees
    ours, theirs = challenge.evidence or 0, told or 0
    # If the peer is heard on the VLAN, the VLAN works, only VRRP does not, and the two counts differ by chance. A
    # heartbeat that came just before the peer's link died is too old by now to count.
    heard = _heard_on_vlan(state, now)
    # A peer that serves some clients is better than this node if it recently got no replies.
    useless = theirs > 0 and state.unanswered(now) and not said.unanswered
    if ours > theirs and not heard and not useless:
        return promote(state, now, f"{state.terms.peer} is active but sees {theirs} clients on the VLAN; here {ours}")
    refused = replace(state, refusals=state.refusals + 1)
    why = "is heard on the VLAN, except its VRRP" if heard else f"sees {theirs} clients; here {ours}"
    return enter(refused, Phase.REFUSED, now, f"{state.terms.peer} is active and {why}")


def _repeated(state: NodeState, challenge: Challenge, now: float) -> Move | None:
    early = now < challenge.asked_at + ASK_SILENT
    pause = ASK_AGAIN_FIRST if early else ASK_AGAIN
    if now < challenge.repeated_at + pause:
        return None
    asked = replace(state, challenge=replace(challenge, repeated_at=now))
    return asked, (Speak(), WakeAt(now + pause))


def _heard_on_vlan(state: NodeState, now: float) -> bool:
    """True if a heartbeat of the peer arrived over the VLAN after its VRRP adverts stopped."""
    return now - state.peer.heard[Path.PRIVATE] < HEARD_LATELY * state.terms.detect


def _asked_enough(state: NodeState, challenge: Challenge, now: float) -> bool:
    """True if no answer is expected any more: soon for a silent peer, later for one that is still heard."""
    waited = now - challenge.asked_at
    silent = state.peer.quiet(state.terms, now)
    return waited >= max(ask_alive(state), _ask_silent(state)) or (silent and waited >= _ask_silent(state))


def _ask_silent(state: NodeState) -> float:
    """Longer where its silence proves little: heartbeats were lost lately, or VRRP has been wrong about it before."""
    if _gaps(state):
        return min(2 * state.peer.gap, ASK_LOSSY)
    return ask_alive(state) if state.refusals else ASK_SILENT


def _gaps(state: NodeState) -> bool:
    """True if heartbeats were lost recently: the peer was silent for longer than it takes to detect a dead one."""
    return state.peer.gap > max(HEARD_LATELY * state.terms.detect, GAPS)


def _no_answer(state: NodeState) -> str:
    return f"VRRP elected this node, and {state.terms.peer} does not answer on the public path"


def _refused(state: NodeState, now: float) -> Move | None:
    """REFUSED: stay out of the election until the peer is heard on the VLAN, stops being active or cannot serve, falls
    silent, or only this node sees clients.
    """
    said = state.peer.fresh(state.terms, now)
    if said is None:
        # If heartbeats are being lost, a late one does not count as silence.
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
        cause = f"this node sees clients on the VLAN and {state.terms.peer} sees none: claiming again"
        return enter(state, Phase.STANDBY, now, cause)
    # Back off: on a VLAN that passes heartbeats but not adverts this node would claim the role repeatedly.
    pause = min(2.0 ** (state.refusals - 1), 60.0)
    if now - state.peer.heard[Path.PRIVATE] <= state.terms.fresh and now >= state.since + pause:
        return enter(state, Phase.STANDBY, now, "the peer's heartbeats arrive on the VLAN again")
    return None


def sees_more(state: NodeState, now: float) -> bool:
    """True if this node sees clients on the VLAN, and the peer sees none and is not heard there: its link is dead."""
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
        # A resync that was started for the old epoch would never count as done for the new one.
        again = (Conntrack(ConntrackJob.COMPLETE, raised.epoch),) if raised.takeover.completing else ()
        return raised, (*again, *reserve, Speak())
    if outdone(state, now):
        return abandon(state, Phase.YIELDING, now, f"{ailment(state, now)}, and {state.terms.peer} is healthy")
    if state.helpless(now) and state.deferring(now) and state.peer.silent(state.terms, now):
        cause = f"{ailment(state, now)}, and {state.terms.peer} may be active without being heard"
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
        # The standby's own resync did not help. The cache of this node may not have the entries either.
        fresh = replace(state, refresh_at=now + state.terms.refresh)
        return fresh, (Conntrack(ConntrackJob.COMPLETE, state.epoch),)
    if not takeover.completing and now >= state.refresh_at:
        # A resync that was given up is tried again at each refresh.
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
    """True if the last repeated message to the peer is at least `INSIST` seconds old."""
    return state.insisted_at is None or now >= state.insisted_at + INSIST


def _outranks_for_nothing(said: PeerMessage) -> bool:
    """True if the peer is not active, or active and unable to serve. Its epoch must not beat that of a serving node."""
    return said.unserving if said.active else said.phase is not Phase.PREPARING


def _peer_lacks(state: NodeState, now: float) -> bool:
    said = state.peer.fresh(state.terms, now)
    return said is not None and lacks_too_many(said.sampled, said.missing)


def _yielding(state: NodeState, now: float) -> Move | None:
    said = state.peer.fresh(state.terms, now)
    if said is None:
        return enter(state, Phase.STANDBY, now, f"{state.terms.peer} fell silent: joining the election again")
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
    """What is wrong with this node, the most useful first; "unhealthy" if no known fault applies."""
    health, me = state.health, state.terms.me
    chains = [thing.removeprefix("table ") for thing in health.unrepaired if thing.startswith("table ")]
    others = [thing for thing in health.unrepaired if not thing.startswith("table ")]
    named = (
        (not health.private_up, "the private link is down"),
        (state.blind(now), "the VLAN link is dead: only the peer sees clients"),
        (not health.public_up, "the public link is down"),
        (not health.gateway, "the public gateway does not answer ARP"),
        (not health.ruleset, "the ruleset is not as rendered"),
        (bool(chains), f"{me}'s client traffic is dropped by {', '.join(chains)}"),
        (bool(others), f"{', '.join(others)} cannot be repaired"),
        (bool(health.silent), f"no replies come back for {', '.join(one.fip for one in health.silent)}"),
        (not health.bgp.established and not state.can_serve(now), "no BGP session is Established"),
    )
    return "; ".join(words for holds, words in named if holds) or "unhealthy"
