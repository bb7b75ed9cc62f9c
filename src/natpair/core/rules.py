"""One rule per phase: when a node leaves it, for which phase, and what is asked to be done on the way.

A rule is a pure function of (state, now). It returns the next state and the actions of one move, or
None to stay. Rules look at levels, never at the event that woke them, so a lost or doubled event
changes nothing. `NEXT` lists every move a rule may make; `enter` refuses any other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from natpair.core.actions import Action, Conntrack, ConntrackJob, Journal, ProbeVlan, Reply, Reserve, Speak, WakeAt
from natpair.core.messages import Phase, VrrpRole
from natpair.core.state import Challenge, Handover, NodeState, lacks_too_many
from natpair.core.wire import Path

ASK_SILENT = 0.030
"""Seconds a challenge waits for a peer that has been silent on the public path, too: it is likely dead."""
ASK_ALIVE = 0.150
"""Seconds it waits for one that is heard there, whose agent may only be slow."""
HEARD_LATELY = 0.6
"""Parts of the detection time: a peer heard later than that before is not silent."""
DUPLICATE_WINDOW = 2.0
PREPARE_LIMIT = 2.0
ARRIVAL_LIMIT = 1.0
"""Seconds the taker waits for replies to arrive: a slow fabric, or no traffic at all, must not hold it up for ever."""
OPEN_LIMIT = 3.0
REFUSALS_FORGOTTEN = 120.0
"""Seconds as an undisturbed standby after which refused claims no longer count."""
FAULT_DWELL = 0.6
"""Seconds in FAULT before a way out is looked for: the health that caused it is read anew meanwhile."""
RELEASE_LIMIT = 3.0
ARP_GRACE = 0.150
"""Seconds the old active forwards on after the new one does: clients learn the new MAC meanwhile."""
YIELD_LIMIT = 3.0
PREPARING_LIMIT = 10.0
RESERVE_AHEAD = 1000
RESYNC_PAUSE = 15.0
"""Seconds between two resyncs that the active node makes because its standby lacks flows."""

Move = tuple[NodeState, tuple[Action, ...]]
Rule = Callable[[NodeState, float], Move | None]

NEXT: Mapping[Phase, frozenset[Phase]] = {
    Phase.BOOTING: frozenset({Phase.STANDBY, Phase.DRAINED, Phase.ACTIVE}),
    Phase.STANDBY: frozenset({Phase.CHALLENGING, Phase.ACTIVE, Phase.PREPARING, Phase.DRAINED}),
    Phase.CHALLENGING: frozenset({Phase.ACTIVE, Phase.REFUSED, Phase.STANDBY}),
    Phase.REFUSED: frozenset({Phase.STANDBY}),
    Phase.PREPARING: frozenset({Phase.ACTIVE, Phase.STANDBY}),
    Phase.ACTIVE: frozenset({Phase.HANDING_OVER, Phase.YIELDING, Phase.STANDBY, Phase.FAULT, Phase.BOOTING}),
    Phase.HANDING_OVER: frozenset({Phase.ACTIVE, Phase.STANDBY, Phase.FAULT, Phase.YIELDING, Phase.BOOTING}),
    Phase.YIELDING: frozenset({Phase.STANDBY, Phase.FAULT}),
    Phase.FAULT: frozenset({Phase.STANDBY, Phase.DRAINED}),
    Phase.DRAINED: frozenset({Phase.CHALLENGING, Phase.BOOTING}),
}


def enter(state: NodeState, phase: Phase, now: float, cause: str) -> Move:
    """Move to `phase`; ValueError for a move that `NEXT` does not list."""
    if phase not in NEXT[state.phase]:
        raise ValueError(f"{state.phase} may not become {phase}")
    journal = Journal(before=state.phase, after=phase, cause=cause, epoch=state.epoch)
    keep_handover = phase in {Phase.PREPARING, Phase.HANDING_OVER}
    moved = replace(
        state,
        phase=phase,
        since=now,
        handover=state.handover if keep_handover else None,
        challenge=state.challenge if phase is Phase.CHALLENGING else None,
    )
    return moved, (journal, Speak())


def _next_epoch(state: NodeState) -> tuple[int, int]:
    generation = state.generation_seen + 1
    return generation, 2 * generation + state.terms.bit


def _raised(state: NodeState) -> Move:
    """The state with an epoch above all seen, and disk space reserved ahead when it runs low."""
    generation, epoch = _next_epoch(state)
    raised = replace(state, epoch=epoch, generation_seen=generation)
    if generation + RESERVE_AHEAD // 2 > state.reserved:
        ceiling = generation + RESERVE_AHEAD
        return replace(raised, reserved=ceiling), (Reserve(ceiling),)
    return raised, ()


def promote(state: NodeState, now: float, cause: str) -> Move:
    """Become active. Out of PREPARING it is planned: the epoch is chosen, the peer knows and flushes."""
    planned = state.phase is Phase.PREPARING and state.handover is not None
    raised, reserve = (state, ()) if planned else _raised(state)
    number = state.handover.number if planned and state.handover else 0
    moved, entered = enter(raised, Phase.ACTIVE, now, cause)
    active = replace(
        moved,
        completing=True,
        fenced=not planned,
        boosted=not planned,
        duplicate_until=now + DUPLICATE_WINDOW,
        refresh_at=now + state.terms.refresh,
        local_for=number,
        wish=False,
    )
    done, replies = _answer_request(active, ok=True, message=f"{state.terms.me} is active, epoch {active.epoch}")
    complete = Conntrack(ConntrackJob.COMPLETE, active.epoch)
    return done, (*entered, complete, *reserve, WakeAt(active.duplicate_until), *replies)


def _answer_request(state: NodeState, *, ok: bool, message: str, cure: str = "") -> Move:
    if state.request is None:
        return state, ()
    return replace(state, request=None, wish=False), (Reply(state.request.number, ok, message, cure),)


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
    if said.active and not state.synced(now):
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
        return _prepare(state, now, said.handover)
    return None


def _prepare(state: NodeState, now: float, number: int) -> Move:
    raised, reserve = _raised(replace(state, handover=Handover(number, now)))
    moved, entered = enter(raised, Phase.PREPARING, now, f"{state.terms.peer} hands the role over")
    return moved, (*entered, *reserve, WakeAt(now + ARRIVAL_LIMIT), WakeAt(now + PREPARING_LIMIT))


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
    if ours > theirs:
        return promote(state, now, f"{state.terms.peer} is active but sees {theirs} clients on the VLAN, we see {ours}")
    refused = replace(state, refusals=state.refusals + 1)
    return enter(refused, Phase.REFUSED, now, f"{state.terms.peer} is active and sees {theirs} clients, we see {ours}")


def _asked_enough(state: NodeState, challenge: Challenge, now: float) -> bool:
    """No answer will come: from the silent soon, from one who is still heard later."""
    waited = now - challenge.asked_at
    silent = state.peer.age(now) >= HEARD_LATELY * state.terms.detect
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


def _preparing(state: NodeState, now: float) -> Move | None:
    if state.vrrp is VrrpRole.MASTER:
        return promote(state, now, f"{state.terms.peer} handed the role over")
    said = state.peer.fresh(state.terms, now)
    cancelled = said is not None and (state.handover is None or said.handover != state.handover.number)
    if cancelled or now >= state.since + PREPARING_LIMIT:
        # Packets may have passed through us: what conntrackd took for ours has to be forgotten again.
        return enter(replace(state, flushed_for=0), Phase.STANDBY, now, "the handover was called off")
    if state.handover is not None and not state.handover.opening and now >= state.since + ARRIVAL_LIMIT:
        return replace(state, handover=replace(state.handover, opening=True)), ()
    return None


def _active(state: NodeState, now: float) -> Move | None:
    lost = _lost(state, now)
    if lost is not None:
        return lost
    said = state.peer.fresh(state.terms, now)
    if said is not None and not said.active and said.phase is not Phase.PREPARING and said.epoch > state.epoch:
        raised, reserve = _raised(state)
        # What was asked for the old epoch would never count as done for the new one.
        again = (Conntrack(ConntrackJob.COMPLETE, raised.epoch),) if raised.completing else ()
        return raised, (*again, *reserve, Speak())
    if not state.fit(now) and said is not None and said.ready:
        return abandon(state, Phase.YIELDING, now, f"unhealthy, and {state.terms.peer} is well")
    if state.fenced and said is not None and said.flushed_for == state.epoch:
        return replace(state, fenced=False), (Conntrack(ConntrackJob.BULK, state.epoch),)
    if state.boosted and said is not None and said.synced and said.vrrp is VrrpRole.BACKUP:
        return replace(state, boosted=False), ()
    if _wants_out(state, now):
        return _begin_handover(state, now)
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


def _lost(state: NodeState, now: float) -> Move | None:
    """The role is gone whatever we think of it: a newer active node, or Keepalived's word."""
    rival = state.peer.active(state.terms, now)
    handed = state.handover is not None and rival is not None and rival.local_for == state.handover.number
    if rival is not None and rival.epoch > state.epoch and not handed:
        return abandon(state, Phase.YIELDING, now, f"{state.terms.peer} is active with the newer epoch {rival.epoch}")
    released = state.handover is not None and state.handover.released_at is not None
    if state.vrrp is VrrpRole.FAULT and not released:
        return abandon(state, Phase.FAULT, now, "Keepalived is in FAULT")
    if state.vrrp in {VrrpRole.BACKUP, VrrpRole.INIT} and not released:
        return abandon(state, Phase.STANDBY, now, "Keepalived gave the role to the peer")
    return None


def abandon(state: NodeState, phase: Phase, now: float, cause: str) -> Move:
    """Stop being active. The conntrackd flush follows from `flushed_for` once the peer claims the role.

    A request that is still open was for another end than this: one that came as planned is answered before.
    """
    moved, entered = enter(state, phase, now, cause)
    done, replies = _answer_request(moved, ok=False, message=cause, cure="see 'natpair status' on both nodes")
    left = replace(done, completing=False, fenced=False, boosted=False, duplicate_until=0.0, local_for=0, flushed_for=0)
    return left, (*entered, *replies)


def _wants_out(state: NodeState, now: float) -> bool:
    if state.completing:
        return False
    said = state.peer.fresh(state.terms, now)
    if said is None:
        return False
    if said.ready and said.synced and state.health.conntrackd:
        return state.request is not None or said.wish or state.drained
    return state.request is not None and state.request.force and said.phase is Phase.STANDBY


def _begin_handover(state: NodeState, now: float) -> Move:
    planned = replace(state, handover=Handover(state.epoch, now), local_for=0)
    moved, entered = enter(planned, Phase.HANDING_OVER, now, f"planned switchover to {state.terms.peer}")
    return moved, (*entered, WakeAt(now + PREPARE_LIMIT))


def _handing_over(state: NodeState, now: float) -> Move | None:
    lost = _lost(state, now)
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
        return _call_off(state, now, f"{state.terms.peer} did not open for clients")
    if state.copying and said.opened and said.prepared_for == handover.number:
        released = replace(handover, released_at=now)
        return replace(state, handover=released), (WakeAt(now + RELEASE_LIMIT),)
    return None


def _released(state: NodeState, handover: Handover, now: float) -> Move | None:
    said = state.peer.fresh(state.terms, now)
    if handover.local_at is None:
        if said is not None and said.local_for == handover.number:
            return replace(state, handover=replace(handover, local_at=now)), (WakeAt(now + ARP_GRACE),)
        if handover.released_at is not None and now >= handover.released_at + RELEASE_LIMIT:
            return abandon(state, Phase.STANDBY, now, f"{state.terms.peer} did not take the role: electing again")
        return None
    if now >= handover.local_at + ARP_GRACE:
        done, replies = _answer_request(state, ok=True, message=f"{state.terms.peer} is active")
        moved, entered = abandon(done, Phase.STANDBY, now, f"{state.terms.peer} took the role over as planned")
        return moved, (*entered, *replies)
    return None


def _call_off(state: NodeState, now: float, why: str) -> Move:
    moved, entered = enter(state, Phase.ACTIVE, now, f"switchover called off: {why}")
    cure = f"look at 'natpair status' on {state.terms.peer}"
    done, replies = _answer_request(moved, ok=False, message=why, cure=cure)
    return done, (*entered, *replies)


def _yielding(state: NodeState, now: float) -> Move | None:
    said = state.peer.fresh(state.terms, now)
    if said is None:
        return enter(state, Phase.STANDBY, now, f"{state.terms.peer} fell silent: back into the election")
    if state.vrrp is not VrrpRole.MASTER and said.active:
        if state.can_serve(now):
            return enter(state, Phase.STANDBY, now, f"{state.terms.peer} has the role")
        return enter(state, Phase.FAULT, now, f"{state.terms.peer} has the role, this node is unhealthy")
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
    Phase.PREPARING: _preparing,
    Phase.ACTIVE: _active,
    Phase.HANDING_OVER: _handing_over,
    Phase.YIELDING: _yielding,
    Phase.FAULT: _waiting,
    Phase.DRAINED: _drained,
}
