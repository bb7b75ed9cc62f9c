"""`step()`: one event in, the next state and the actions out. No I/O, no clock, no logging.

Rule 1: every change of a node's state happens here, in `core/rules.py` or in what that builds on.
Rule 2: an event only records facts; phases change by the level-triggered rules that run after it.
Rule 3: a rule that finds nothing to do leaves the state alone, so stepping twice changes nothing.
"""

# ruff: noqa: ARG001 - all recorders share one signature, not all need all of it
from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

from natpair.core.account_rules import on_account, on_repair
from natpair.core.actions import (
    Action,
    Conntrack,
    ConntrackJob,
    ProbeVlan,
    ReassertVip,
    Reply,
    SaveDrained,
    Speak,
    WakeAt,
)
from natpair.core.announcement import Announcement, epoch_of
from natpair.core.comparison import CARRIER_SPREAD
from natpair.core.events import (
    AccountSeen,
    ArrivalSeen,
    Asked,
    ClientsSeen,
    ConntrackDone,
    ConntrackdStarted,
    Event,
    Frozen,
    HealthRead,
    PeerHeard,
    RepairEnded,
    Tick,
    TrafficSwitched,
    Verb,
    VlanProbed,
    VrrpChanged,
)
from natpair.core.health import BgpSessions, Health
from natpair.core.messages import PeerMessage, Phase, VrrpRole
from natpair.core.moves import Move, abandon
from natpair.core.replies import ReplyState, Where
from natpair.core.rules import COMPLETIONS, RULES, sees_more
from natpair.core.state import (
    DEFER_SECONDS,
    REQUEST_LIMIT,
    Answer,
    NodeState,
    Request,
    Takeover,
    flows_missing,
    lacks_too_many,
    message_of,
)
from natpair.core.wire import Path

_MOVES_PER_STEP = 8
"""More moves than any chain of rules makes: passing it means that two rules chase each other."""
_ESSENCE = attrgetter(*(PeerMessage.model_fields.keys() - {"flows", "sampled", "missing", "clients", "alarms", "sees"}))
"""What the peer should hear at once; counts change with every reading, the next beat is early enough for those."""
GAP_FADES = 0.95
"""Of the longest silence, with each message: half of it in a second or two while all is well."""
GAP_BORNE = 4.0
"""Seconds of silence that are no break at most, where there were longer ones lately."""
ANSWER_AGAIN = 0.008
"""Seconds between two answers to one question: it comes on both paths, and again and again."""
_PRESUMED = Health(
    private_up=True,
    public_up=True,
    ruleset=True,
    gateway=True,
    conntrackd=True,
    keepalived=True,
    bgp=BgpSessions(established=1, total=1),
)


@dataclass(frozen=True, slots=True)
class Step:
    """The outcome of one event."""

    state: NodeState
    actions: tuple[Action, ...]


def step(state: NodeState, event: Event, now: float) -> Step:
    """Record `event` and settle. RuntimeError if the rules do not come to rest: a bug, never an input."""
    record = RECORD[type(event)]
    current, actions = record(state, event, now)
    for _ in range(_MOVES_PER_STEP):
        move = RULES[current.phase](current, now) or _always(current, now)
        if move is None:
            break
        current, more = move
        actions = (*actions, *more)
    else:
        raise RuntimeError(f"rules do not settle in {current.phase} after {event!r}")
    if current is not state and Speak() not in actions and _news(state, current, now):
        actions = (*actions, Speak())
    return Step(current, _without_twins(actions))


def _news(before: NodeState, after: NodeState, now: float) -> bool:
    return bool(_ESSENCE(message_of(after, now)) != _ESSENCE(message_of(before, now)))


def _without_twins(actions: tuple[Action, ...]) -> tuple[Action, ...]:
    return tuple(dict.fromkeys(actions))


def adopt(state: NodeState, epoch: int, now: float, *, boosted: bool = False, fenced: bool = False) -> NodeState:
    """An agent that starts on a node which already serves takes over what it finds, and changes nothing.

    Until its first reading the node counts as well: it does serve, and a peer that is ready must not make it yield.
    """
    return replace(
        state,
        phase=Phase.ACTIVE,
        vrrp=VrrpRole.MASTER,
        health=_PRESUMED,
        since=now,
        epoch=epoch,
        generation_seen=max(state.generation_seen, epoch // 2),
        takeover=Takeover(boosted=boosted, fenced=fenced),
        translating=True,
        refresh_at=now + state.terms.refresh,
    )


def found_serving(state: NodeState, *, local: bool, announced: Announcement | None) -> int | None:
    """The epoch in which this node serves, to go by the kernel, where no earlier agent left word; None if it does not.

    It serves if Keepalived is master and the ruleset translates. The epoch is what BIRD announces; else one above all
    that the disk ever reserved, which no other promotion can have.
    """
    if state.vrrp is not VrrpRole.MASTER or not local:
        return None
    if announced is not None and announced.primary and (epoch := epoch_of(announced)) is not None:
        return epoch
    return 2 * (state.generation_seen + 1) + state.terms.bit


def _always(state: NodeState, now: float) -> Move | None:
    """What holds in every phase: the flush that a newer active peer is owed, and requests that expire."""
    rival = state.peer.active(state.terms, now)
    idle = not state.claims_active and state.phase is not Phase.PREPARING and state.health.conntrackd
    resync = state.resync
    if idle and rival is not None and rival.epoch not in {resync.flushed_for, resync.flushing}:
        flushing = replace(resync, flushing=rival.epoch)
        return replace(state, resync=flushing), (Conntrack(ConntrackJob.ABANDON, rival.epoch),)
    if idle and rival is not None and rival.epoch == resync.flushed_for and _may_pull(state, now):
        again = replace(resync, flushing=rival.epoch, pulls=resync.pulls + 1)
        return replace(state, resync=again), (Conntrack(ConntrackJob.ABANDON, rival.epoch),)
    if resync.pulls and state.synced(now):
        return replace(state, resync=replace(resync, pulls=0)), ()
    request = state.request
    if request is not None and now >= request.deadline:
        why = peer_unready(state, now) if state.claims_active else f"{state.terms.peer} did not hand over"
        text = f"no result in time{f': {why}' if why else ''}"
        reply = Reply(request.number, False, text, "see 'natpair status' on both nodes")
        return replace(state, request=None, asks_for_role=False), (reply,)
    return None


def _may_pull(state: NodeState, now: float) -> bool:
    """Out of sync, no resync is under way, and the peer was heard on the VLAN: over a cut VLAN all would be lost."""
    if state.synced(now) or now - state.peer.heard[Path.PRIVATE] > state.terms.fresh:
        return False
    return state.resync.may_repeat(now)


def _on_vrrp(state: NodeState, event: VrrpChanged, now: float) -> Move:
    return replace(state, vrrp=event.role), ()


def _on_peer(state: NodeState, event: PeerHeard, now: float) -> Move:
    said = event.message
    peer = replace(
        state.peer,
        heard={**state.peer.heard, event.path: now},
        said=said,
        mac=said.mac or state.peer.mac,
        fit_since=_unbroken(state, state.peer.fit_since, now) if _could_take_over(state, said) else None,
        ready_since=_unbroken(state, state.peer.ready_since, now) if said.ready or said.able else None,
        gap=_gap(state, now),
    )
    unanswered_at = None if _answered_again(state, said) else state.fitness.unanswered_at
    seen = max(state.generation_seen, said.epoch // 2, said.generation)
    known = replace(
        state,
        peer=peer,
        generation_seen=seen,
        fitness=replace(state.fitness, unanswered_at=unanswered_at),
    )
    known = _looked(replace(known, peer=replace(peer, idle_since=_idle_since(known, said, now))), now)
    asked = said.challenge
    if not asked and state.answer is not None:
        # The question is over. A challenger that restarts counts its nonces anew and must not find this answer to one.
        return replace(known, answer=None), ()
    if asked and (state.answer is None or state.answer.nonce != asked):
        answering = replace(known, answer=Answer(asked, told_at=now))
        # The challenger's Keepalived has just claimed the VIP by gratuitous ARP: take the clients back.
        reassert = (ReassertVip(),) if state.claims_active else ()
        return answering, (Speak(), ProbeVlan(asked), *reassert)
    if asked and state.answer is not None and now >= state.answer.told_at + ANSWER_AGAIN:
        # It asks again: the answer was lost, or is on its way.
        return replace(known, answer=replace(state.answer, told_at=now)), (Speak(),)
    return known, ()


def _gap(state: NodeState, now: float) -> float:
    """The longest silence lately; an older one counts for less with each message. One that was gone lost no packets."""
    silence = 0.0 if state.peer.silent(state.terms, now) else state.peer.age(now)
    return max(silence, GAP_FADES * state.peer.gap)


def _idle_since(state: NodeState, said: PeerMessage, now: float) -> float | None:
    """Since when it neither serves nor could take the role; None if it may. A dead VLAN link counts, too."""
    busy = said.phase in {Phase.ACTIVE, Phase.HANDING_OVER, Phase.PREPARING} and not said.unserving
    if said.ready or (busy and not sees_more(state, now)):
        return None
    return now if state.peer.idle_since is None else state.peer.idle_since


def _looked(state: NodeState, now: float) -> NodeState:
    """`state` with `blind_since` as things stand: only a peer that is not heard on the VLAN is believed.

    Once begun it outlasts a silence: most messages may be lost on the public path, too, and the last word counts.
    """
    begun = state.fitness.blind_since is not None and state.peer.age(now) < DEFER_SECONDS
    said = state.peer.said if begun else state.peer.fresh(state.terms, now)
    dark = state.health.sees == 0 and now - state.peer.heard[Path.PRIVATE] > state.terms.fresh
    blind = dark and said is not None and bool(said.sees)
    if blind == (state.fitness.blind_since is not None):
        return state
    return replace(state, fitness=replace(state.fitness, blind_since=now if blind else None))


def _could_take_over(state: NodeState, said: PeerMessage) -> bool:
    return said.ready and said.synced and not said.drained and said.config_hash == state.terms.config_hash


def _answered_again(state: NodeState, said: PeerMessage) -> bool:
    """The peer serves, and what it lacked, too, has come back: the cause was none of this node."""
    before = state.peer.said
    return before is not None and before.unanswered and before.active and said.active and not said.unanswered


def _unbroken(state: NodeState, since: float | None, now: float) -> float:
    """Since when the peer says something without a break; a silence is a break, too, unless heartbeats get lost."""
    borne = max(state.terms.fresh, min(2 * state.peer.gap, GAP_BORNE))
    return since if since is not None and state.peer.age(now) <= borne else now


def _on_health(state: NodeState, event: HealthRead, now: float) -> Move:
    had = state.health.bgp.established > 0
    has = event.health.bgp.established > 0
    known = state.fitness
    lost_at = None if has else (now if had else known.bgp_lost_at)
    whole = event.health.reaches_out and has
    whole_since = None if not whole else now if known.whole_since is None else known.whole_since
    settled = whole_since is not None and now >= whole_since + state.terms.hold + 1
    health = event.health if settled else _explained(event.health)
    fitness = replace(known, bgp_lost_at=lost_at, whole_since=whole_since)
    read = replace(state, health=health, fitness=fitness)
    unfit_at = None if read.fit(now) else now if known.unfit_at is None else known.unfit_at
    if state.claims_active and health.replies:
        fitness = replace(fitness, unanswered_at=_unanswered_at(state, health, now))
    fell_ill = state.claims_active and known.unfit_at is None and unfit_at is not None
    helpless_at = None if read.can_serve(now) else now if known.helpless_at is None else known.helpless_at
    noted = _looked(replace(read, fitness=replace(fitness, unfit_at=unfit_at, helpless_at=helpless_at)), now)
    return noted, (WakeAt(now + CARRIER_SPREAD),) if fell_ill else ()


def _explained(health: Health) -> Health:
    """`health` with no FIP called silent: while something else is wrong that is why, and for a while afterwards the
    fabric only learns again where to send replies. A peer would have no more of them.
    """
    replies = tuple(
        replace(one, state=ReplyState.ASKING, where=Where.NOWHERE)
        if one.state in {ReplyState.SILENT, ReplyState.SUSPECTED}
        else one
        for one in health.replies
    )
    return replace(health, replies=replies)


def _unanswered_at(state: NodeState, health: Health, now: float) -> float | None:
    if health.silent:
        return now
    return None if all(one.state is ReplyState.ANSWERED for one in health.replies) else state.fitness.unanswered_at


def _on_probed(state: NodeState, event: VlanProbed, now: float) -> Move:
    challenge, answer = state.challenge, state.answer
    if challenge is not None and challenge.nonce == event.nonce:
        challenge = replace(challenge, evidence=event.answers)
    if answer is not None and answer.nonce == event.nonce:
        answer = replace(answer, evidence=event.answers)
    return replace(state, challenge=challenge, answer=answer), ()


def _on_clients(state: NodeState, event: ClientsSeen, now: float) -> Move:
    return replace(state, clients=event.clients), ()


def _on_arrival(state: NodeState, event: ArrivalSeen, now: float) -> Move:
    if state.phase is not Phase.PREPARING or state.handover is None:
        return state, ()
    return replace(state, handover=replace(state.handover, opening=True)), ()


def _on_switched(state: NodeState, event: TrafficSwitched, now: float) -> Move:
    return replace(state, copying=event.local and event.duplicate, translating=event.local), ()


def _on_conntrackd_started(state: NodeState, event: ConntrackdStarted, now: float) -> Move:
    """Its start dumped the kernel into the internal cache: flush again, or, active, tell the peer all."""
    fresh = replace(state, resync=replace(state.resync, flushed_for=None, flushing=None))
    if state.claims_active:
        return fresh, (Conntrack(ConntrackJob.COMPLETE, state.epoch),)
    return fresh, ()


def _on_conntrack_done(state: NodeState, event: ConntrackDone, now: float) -> Move:
    if event.job == ConntrackJob.ABANDON and event.tag == state.resync.flushing:
        flushed = event.tag if event.ok else state.resync.flushed_for
        return replace(state, resync=replace(state.resync, flushing=None, flushed_for=flushed, pulled_at=now)), ()
    if event.job == ConntrackJob.COMPLETE and event.tag == state.epoch and state.claims_active:
        if event.ok:
            done = replace(state.takeover, completing=False, incomplete=False, completions=0)
            return replace(state, takeover=done), ()
        if not state.takeover.completing:
            return state, ()
        failed = replace(state.takeover, completions=state.takeover.completions + 1)
        again = (Conntrack(ConntrackJob.COMPLETE, state.epoch),) if failed.completions < COMPLETIONS else ()
        return replace(state, takeover=failed), again
    return state, ()


def _on_frozen(state: NodeState, event: Frozen, now: float) -> Move:
    """After a standstill nothing known is true: silence counts anew, and the role is not ours.

    Unless the peer was long gone before it: then there was nobody to take it, and one that came meanwhile tells us.
    """
    nothing_heard = replace(state.peer, heard=dict.fromkeys(Path, now), said=None, idle_since=None)
    thawed = replace(state, peer=nothing_heard, fitness=replace(state.fitness, blind_since=None))
    if not state.claims_active or state.peer.silent(state.terms, now - event.gap):
        return thawed, ()
    cause = f"this machine stood still for {event.gap:.1f} s"
    return abandon(thawed, Phase.BOOTING, now, cause)


def _on_asked(state: NodeState, event: Asked, now: float) -> Move:
    if state.request is not None:
        return state, (Reply(event.number, False, f"a {state.request.verb} is still under way", "try again shortly"),)
    if event.verb is Verb.UNDRAIN:
        text = f"{state.terms.me} may become active again"
        return replace(state, drained=False), (SaveDrained(False), Reply(event.number, True, text))
    if event.verb is Verb.DRAIN:
        return _drain(state, event, now)
    return _switchover(state, event, now)


def _drain(state: NodeState, event: Asked, now: float) -> Move:
    if not state.claims_active:
        text = f"{state.terms.me} is drained: it will not become active while {state.terms.peer} can serve"
        return replace(state, drained=True), (SaveDrained(True), Reply(event.number, True, text))
    reason = "" if event.force else peer_unready(state, now)
    if reason:
        return state, (Reply(event.number, False, f"not drained: {reason}", "repair the peer first, or use --force"),)
    request = Request(event.number, event.verb, event.force, now + REQUEST_LIMIT)
    return replace(state, drained=True, request=request), (SaveDrained(True),)


def _switchover(state: NodeState, event: Asked, now: float) -> Move:
    request = Request(event.number, event.verb, event.force, now + REQUEST_LIMIT)
    reason = _no_switchover(state, now)
    if reason and not event.force:
        return state, (Reply(event.number, False, f"no switchover: {reason}", "repair that first, or use --force"),)
    if state.claims_active:
        return replace(state, request=request), ()
    if state.phase is Phase.STANDBY and state.peer.active(state.terms, now) is not None:
        if reason:
            text = f"not from here: {reason}"
            return state, (Reply(event.number, False, text, f"force it on the active node, {state.terms.peer}"),)
        return replace(state, request=request, asks_for_role=True), ()
    text = f"no switchover: {state.terms.me} is {state.phase} and nobody claims to be active"
    return state, (Reply(event.number, False, text, "see 'natpair status' on both nodes"),)


def _no_switchover(state: NodeState, now: float) -> str:
    """Why the role must not move now, in plain words; empty if it may."""
    if state.claims_active:
        return peer_unready(state, now)
    if not state.ready(now):
        return f"{state.terms.me} is not ready ({state.phase})"
    if state.synced(now):
        return ""
    theirs = state.peer.said.flows if state.peer.said is not None else 0
    return _what_is_missing(message_of(state, now), theirs, state.terms.me)


def peer_unready(state: NodeState, now: float) -> str:
    """Why the peer could not take over now, in plain words; empty if it could."""
    peer = state.terms.peer
    said = state.peer.fresh(state.terms, now)
    if state.claims_active and not state.health.keepalived:
        return f"Keepalived does not answer on {state.terms.me}: it cannot let go of the VIP"
    if said is None:
        return f"{peer} has not been heard for {state.peer.age(now):.1f} s"
    if said.drained:
        return f"{peer} is drained"
    if said.config_hash != state.terms.config_hash:
        return f"{peer} runs another configuration"
    if not said.ready:
        return f"{peer} is not ready ({said.phase}, VRRP {said.vrrp})"
    if not state.health.conntrackd:
        return f"conntrackd does not answer on {state.terms.me}: {peer} does not get new flows"
    if said.unanswered and not state.health.silent:
        return f"no packets came back for a FIP when {peer} served"
    if not said.synced:
        return _what_is_missing(said, state.flows_to_hold, peer)
    return ""


def _what_is_missing(said: PeerMessage, flows: int, peer: str) -> str:
    missing = flows_missing(said.sampled, said.missing, flows, said.flows)
    if lacks_too_many(said.sampled, said.missing):
        return f"{peer} lacks about {missing} of {flows} flows ({said.missing} of {said.sampled} sampled)"
    return f"{peer} has not finished its resync: about {missing} of {flows} flows would be lost"


def _on_account(state: NodeState, event: AccountSeen, now: float) -> Move:
    return on_account(state, event, now, peer_unready(state, now))


def _on_tick(state: NodeState, event: Tick, now: float) -> Move:
    return state, ()


# Any: each recorder takes its own kind of event; the key says which, `step` looks it up by type.
RECORD: Mapping[type[Any], Callable[[NodeState, Any, float], Move]] = {
    VrrpChanged: _on_vrrp,
    PeerHeard: _on_peer,
    HealthRead: _on_health,
    VlanProbed: _on_probed,
    ClientsSeen: _on_clients,
    ArrivalSeen: _on_arrival,
    TrafficSwitched: _on_switched,
    ConntrackdStarted: _on_conntrackd_started,
    ConntrackDone: _on_conntrack_done,
    Frozen: _on_frozen,
    Asked: _on_asked,
    AccountSeen: _on_account,
    RepairEnded: on_repair,
    Tick: _on_tick,
}
