"""How a node moves from phase to phase: the table of allowed moves, and the moves that several rules share.

`NEXT` lists every move that a rule may make. `enter` refuses any other.
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
    """The state with an epoch above all that were seen. Orders a new reservation on disk when few epochs are left."""
    generation, epoch = _next_epoch(state)
    raised = replace(state, epoch=epoch, generation_seen=generation)
    if generation + RESERVE_AHEAD // 2 > state.reserved:
        ceiling = generation + RESERVE_AHEAD
        return replace(raised, reserved=ceiling), (Reserve(ceiling),)
    return raised, ()


def promote(state: NodeState, now: float, cause: str) -> Move:
    """Become active, with a new epoch. After PREPARING the node has one already.

    In a planned switchover a live peer knows of it and flushes its cache. A giver that died before the end is treated
    as a crashed peer: its flow entries are fenced off until it has flushed.
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
    """Answer the open request, if there is one."""
    if state.request is None:
        return state, ()
    return replace(state, request=None, asks_for_role=False), (Reply(state.request.number, ok, message, fix),)


def abandon(state: NodeState, phase: Phase, now: float, cause: str) -> Move:
    """Stop being active. conntrackd is flushed once the peer claims the role, because `flushed_for` is reset here.

    A request that is still open has failed. One that succeeded was answered before.
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
    """The move if the active role was lost: the peer is active with a newer epoch, or Keepalived left MASTER."""
    rival = state.peer.active(state.terms, now)
    if rival is not None and rival.unserving and state.can_serve(now) and not state.blind(now):
        rival = None  # its epoch may be newer, but it cannot serve
    handed = state.handover is not None and rival is not None and rival.local_for == state.handover.number
    if rival is not None and rival.epoch > state.epoch and not handed:
        return abandon(state, Phase.YIELDING, now, f"{state.terms.peer} is active with the newer epoch {rival.epoch}")
    released = state.handover is not None and state.handover.released_at is not None
    if state.vrrp is VrrpRole.FAULT and not released:
        return abandon(state, Phase.FAULT, now, "Keepalived is in FAULT")
    if state.vrrp in {VrrpRole.BACKUP, VrrpRole.INIT} and not released:
        return abandon(state, Phase.STANDBY, now, "Keepalived gave the role to the peer")
    return None
