"""How a node moves from phase to phase: the table of moves, and the moves that several rules make.

`NEXT` lists every move a rule may make; `enter` refuses any other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from natpair.core.actions import Action, Conntrack, ConntrackJob, Journal, Reply, Reserve, Speak, WakeAt
from natpair.core.messages import Phase, VrrpRole
from natpair.core.state import NodeState, Takeover

DUPLICATE_WINDOW = 2.0
RESERVE_AHEAD = 1000

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


def raise_epoch(state: NodeState) -> Move:
    """The state with an epoch above all seen, and disk space reserved ahead when it runs low."""
    generation, epoch = _next_epoch(state)
    raised = replace(state, epoch=epoch, generation_seen=generation)
    if generation + RESERVE_AHEAD // 2 > state.reserved:
        ceiling = generation + RESERVE_AHEAD
        return replace(raised, reserved=ceiling), (Reserve(ceiling),)
    return raised, ()


def promote(state: NodeState, now: float, cause: str) -> Move:
    """Become active. Out of PREPARING the epoch is chosen, and a peer that is alive knows, and flushes.

    A giver that died before it was done is taken for what it is: a crashed peer, with a fence against its return.
    """
    handed = state.handover if state.phase is Phase.PREPARING else None
    raised, reserve = (state, ()) if handed else raise_epoch(state)
    duplicate_until = now + DUPLICATE_WINDOW
    planned = handed is not None and not state.peer.quiet(state.terms, now)
    moved, entered = enter(raised, Phase.ACTIVE, now, cause)
    active = replace(
        moved,
        takeover=Takeover(completing=True, fenced=not planned, boosted=not planned, duplicate_until=duplicate_until),
        refresh_at=now + state.terms.refresh,
        local_for=handed.number if handed else None,
        asks_for_role=False,
    )
    done, replies = answer_request(active, ok=True, message=f"{state.terms.me} is active, epoch {active.epoch}")
    complete = Conntrack(ConntrackJob.COMPLETE, active.epoch)
    return done, (*entered, complete, *reserve, WakeAt(duplicate_until), *replies)


def answer_request(state: NodeState, *, ok: bool, message: str, fix: str = "") -> Move:
    """The request that is open has found its end, if there is one."""
    if state.request is None:
        return state, ()
    return replace(state, request=None, asks_for_role=False), (Reply(state.request.number, ok, message, fix),)


def abandon(state: NodeState, phase: Phase, now: float, cause: str) -> Move:
    """Stop being active. The conntrackd flush follows from `flushed_for` once the peer claims the role.

    A request that is still open was for another end than this: one that came as planned is answered before.
    """
    moved, entered = enter(state, phase, now, cause)
    done, replies = answer_request(moved, ok=False, message=cause, fix="see 'natpair status' on both nodes")
    fell = phase is Phase.FAULT or not state.can_serve(now)
    lost = state.damping.lost(now) if not _as_planned(state) else state.damping
    damping = state.damping.fallen(now) if fell else lost
    resync = replace(state.resync, flushed_for=None)
    left = replace(done, takeover=Takeover(), damping=damping, resync=resync, local_for=None)
    return left, (*entered, *replies)


def _as_planned(state: NodeState) -> bool:
    return state.handover is not None and state.handover.released_at is not None


def lost_role(state: NodeState, now: float) -> Move | None:
    """The role is gone whatever we think of it: a newer active node, or Keepalived's word."""
    rival = state.peer.active(state.terms, now)
    if rival is not None and rival.unserving and state.can_serve(now) and not state.blind(now):
        rival = None  # its promotion may be the newer one, but it serves nobody
    handed = state.handover is not None and rival is not None and rival.local_for == state.handover.number
    if rival is not None and rival.epoch > state.epoch and not handed:
        return abandon(state, Phase.YIELDING, now, f"{state.terms.peer} is active with the newer epoch {rival.epoch}")
    released = state.handover is not None and state.handover.released_at is not None
    if state.vrrp is VrrpRole.FAULT and not released:
        return abandon(state, Phase.FAULT, now, "Keepalived is in FAULT")
    if state.vrrp in {VrrpRole.BACKUP, VrrpRole.INIT} and not released:
        return abandon(state, Phase.STANDBY, now, "Keepalived gave the role to the peer")
    return None
