"""Theory of operation: how one node decides. `step()` takes a state and an event, and returns a state and actions.

There is no I/O here, no clock and no logging. The agent reads the clock, turns what it observes into events, calls
`step()`, and executes the actions. All decisions of a node are made here and in the modules that this one calls.

**Events** (`core/events.py`; `RECORD` below maps each to the function that records it). Keepalived changed its role
(`VrrpChanged`), a heartbeat of the peer arrived (`PeerHeard`), the node's health was read (`HealthRead`), clients were
counted on the VLAN (`VlanProbed`), packets for a FIP arrived during a switchover (`ArrivalSeen`), the ruleset was
loaded (`TrafficSwitched`), conntrackd started or finished a job (`ConntrackdStarted`, `ConntrackDone`), the machine
stood still (`Frozen`), an operator made a request (`Asked`), the provider's account was read (`AccountSeen`), or time
passed (`Tick`).

**Order of one step.**

1. The event's recorder stores facts. It changes the phase in one case only: after a standstill (`Frozen`).
2. The rule of the current phase runs (`RULES` in `core/rules.py`). If it has nothing to do, `_always` runs.
3. Step 2 is repeated until neither has anything to do, at most `_MOVES_PER_STEP` times.
4. If a field that the peer must know at once has changed, `Speak` is added: the agent sends a heartbeat immediately.

Rules look at the state and not at the event that woke them. So a lost or repeated event does no harm, and a second step
with the same facts changes nothing.

**What gives a node the role.** Keepalived elects it. Before it serves it asks the peer (`CHALLENGING`), unless the peer
has just said that it is not active. It becomes `ACTIVE` if no answer comes, if the peer is not active or cannot serve,
or if this node sees more clients on the VLAN than the peer does. Otherwise it leaves the election (`REFUSED`). In a
planned switchover (`core/handover.py`) the active node goes to `HANDING_OVER` and the standby to `PREPARING`.

**What takes the role away.** The peer is active with a newer epoch; Keepalived leaves MASTER; this node is unhealthy
and the peer is healthy (`core/comparison.py`); the machine stood still; or a planned switchover.

**What bounds it.** Every promotion has a new epoch, higher than any that the node has seen. Of two active nodes the one
with the older epoch yields as soon as it hears of the other. Every wait has a limit in seconds (`ASK_ALIVE`,
`YIELD_LIMIT`, `RELEASE_LIMIT`, `REQUEST_LIMIT`). A node that loses the role repeatedly stays out for 2, 4, 8, ... up
to 60 s while the peer serves (`Damping` in `core/state.py`).
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
"""Upper bound of moves in one step. More means that two rules undo each other."""
_ESSENCE = attrgetter(*(PeerMessage.model_fields.keys() - {"flows", "sampled", "missing", "clients", "alarms", "sees"}))
"""Fields whose change is sent immediately. Counters change with every reading and can wait for the next heartbeat."""
GAP_FADES = 0.95
"""Each message multiplies the longest recent silence by this. A healthy pair halves it in one to two seconds."""
GAP_BORNE = 4.0
"""Seconds. A silence up to this long can pass as no break if there were silences as long recently."""
ANSWER_AGAIN = 0.008
"""Seconds between two answers to one challenge, which arrives on both paths and is repeated."""
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
    """Record `event`, then run the rules until none applies. RuntimeError if they never stop, which is a bug."""
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
    """The state of an agent that starts on a node which already serves. It changes nothing on the node.

    Until the first health reading the node counts as healthy. It does serve, so a ready peer must not make it yield.
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
    """The epoch in which this node serves, read from the kernel and the daemons; None if it does not serve.

    This is for a start without a record of an earlier agent. The node serves if Keepalived is master and the ruleset
    translates. The epoch is the one that BIRD announces, or else one above all that were ever reserved on disk: no
    other promotion can have that one.
    """
    if state.vrrp is not VrrpRole.MASTER or not local:
        return None
    if announced is not None and announced.primary and (epoch := epoch_of(announced)) is not None:
        return epoch
    return 2 * (state.generation_seen + 1) + state.terms.bit


def _always(state: NodeState, now: float) -> Move | None:
    """The rule for every phase: flush and resync when the peer became active, and end requests that expired."""
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
        text = f"timed out{f': {why}' if why else ''}"
        reply = Reply(request.number, False, text, "see 'natpair status' on both nodes")
        return replace(state, request=None, asks_for_role=False), (reply,)
    return None


def _may_pull(state: NodeState, now: float) -> bool:
    """True if this node is out of sync, may ask for a resync again, and has just heard the peer on the VLAN.

    A resync starts with a flush. Over a cut VLAN it would lose every entry.
    """
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
        reaches_since=_unbroken(state, state.peer.reaches_since, now) if said.reached else None,
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
        # The challenge is over. A challenger that restarts uses its nonces again and must not find an old answer.
        return replace(known, answer=None), ()
    if asked and (state.answer is None or state.answer.nonce != asked):
        answering = replace(known, answer=Answer(asked, told_at=now))
        # The challenger's Keepalived has just claimed the VIP by gratuitous ARP. Send ours to get the clients back.
        reassert = (ReassertVip(),) if state.claims_active else ()
        return answering, (Speak(), ProbeVlan(asked), *reassert)
    if asked and state.answer is not None and now >= state.answer.told_at + ANSWER_AGAIN:
        # The peer asks again: our answer was lost, or has not arrived yet.
        return replace(known, answer=replace(state.answer, told_at=now)), (Speak(),)
    return known, ()


def _gap(state: NodeState, now: float) -> float:
    """The longest recent silence, fading with each message. The silence of a peer that was down does not count."""
    silence = 0.0 if state.peer.silent(state.terms, now) else state.peer.age(now)
    return max(silence, GAP_FADES * state.peer.gap)


def _idle_since(state: NodeState, said: PeerMessage, now: float) -> float | None:
    """Since when the peer neither serves nor could take the role; None if it does or could.

    A peer whose VLAN link is dead does not count as serving.
    """
    busy = said.phase in {Phase.ACTIVE, Phase.HANDING_OVER, Phase.PREPARING} and not said.unserving
    if said.ready or (busy and not sees_more(state, now)):
        return None
    return now if state.peer.idle_since is None else state.peer.idle_since


def _looked(state: NodeState, now: float) -> NodeState:
    """`state` with `blind_since` updated: the peer sees clients on the VLAN, and this node sees neither them nor it.

    Once it has begun, the peer's last message counts for `DEFER_SECONDS`, because messages may be lost on the public
    path, too.
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
    """True if the peer is active and replies have come back for it: the cause was not in this node."""
    before = state.peer.said
    return before is not None and before.unanswered and before.active and said.active and not said.unanswered


def _unbroken(state: NodeState, since: float | None, now: float) -> float:
    """Since when the peer has said something without a break. A silence is a break unless heartbeats are being lost."""
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
    """`health` with no FIP called silent, for use while another fault of this node explains missing replies.

    After such a fault the fabric needs some time to learn again where to send replies. The peer would not get more.
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
    """A conntrackd that starts reads the kernel's table into its internal cache. So a standby flushes again, and an
    active node sends everything to the peer.
    """
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
    """After a standstill, forget what the peer said, count its silence from now, and give up the role.

    If the peer was down long before the standstill, this node stays active: nobody could take over. A peer that came up
    meanwhile says so in its next heartbeat.
    """
    nothing_heard = replace(state.peer, heard=dict.fromkeys(Path, now), said=None, idle_since=None)
    thawed = replace(state, peer=nothing_heard, fitness=replace(state.fitness, blind_since=None))
    if not state.claims_active or state.peer.silent(state.terms, now - event.gap):
        return thawed, ()
    cause = f"this machine stood still for {event.gap:.1f} s"
    return abandon(thawed, Phase.BOOTING, now, cause)


def _on_asked(state: NodeState, event: Asked, now: float) -> Move:
    if state.request is not None:
        return state, (Reply(event.number, False, f"a {state.request.verb} is still running", "try again shortly"),)
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
        return state, (Reply(event.number, False, f"not drained: {reason}", "fix the peer first, or use --force"),)
    request = Request(event.number, event.verb, event.force, now + REQUEST_LIMIT)
    return replace(state, drained=True, request=request), (SaveDrained(True),)


def _switchover(state: NodeState, event: Asked, now: float) -> Move:
    request = Request(event.number, event.verb, event.force, now + REQUEST_LIMIT)
    reason = _no_switchover(state, now)
    if reason and not event.force:
        return state, (Reply(event.number, False, f"no switchover: {reason}", "fix that first, or use --force"),)
    if state.claims_active:
        return replace(state, request=request), ()
    if state.phase is Phase.STANDBY and state.peer.active(state.terms, now) is not None:
        if reason:
            text = f"--force does not work on the standby: {reason}"
            return state, (Reply(event.number, False, text, f"run it on the active node, {state.terms.peer}"),)
        return replace(state, request=request, asks_for_role=True), ()
    text = f"no switchover: {state.terms.me} is {state.phase} and no node is active"
    return state, (Reply(event.number, False, text, "see 'natpair status' on both nodes"),)


def _no_switchover(state: NodeState, now: float) -> str:
    """Why a switchover must not start now, for the operator; empty if it may."""
    if state.claims_active:
        return peer_unready(state, now)
    if not state.ready(now):
        return f"{state.terms.me} is not ready ({state.phase})"
    if state.synced(now):
        return ""
    theirs = state.peer.said.flows if state.peer.said is not None else 0
    return _what_is_missing(message_of(state, now), theirs, state.terms.me)


def peer_unready(state: NodeState, now: float) -> str:
    """Why the peer could not take over now, for the operator; empty if it could."""
    peer = state.terms.peer
    said = state.peer.fresh(state.terms, now)
    if state.claims_active and not state.health.keepalived:
        return f"Keepalived does not respond on {state.terms.me}, so it cannot release the VIP"
    if said is None:
        return f"{peer} has not been heard for {state.peer.age(now):.1f} s"
    if said.drained:
        return f"{peer} is drained"
    if said.config_hash != state.terms.config_hash:
        return f"{peer} runs another configuration"
    if not said.ready:
        return f"{peer} is not ready ({said.phase}, VRRP {said.vrrp})"
    if not state.health.conntrackd:
        return f"conntrackd does not respond on {state.terms.me}, so {peer} does not get new flows"
    if said.unanswered and not state.health.silent:
        return f"no replies came back for a FIP when {peer} was active"
    if not said.synced:
        return _what_is_missing(said, state.flows_to_hold, peer)
    return ""


def _what_is_missing(said: PeerMessage, flows: int, peer: str) -> str:
    missing = flows_missing(said.sampled, said.missing, flows, said.flows)
    if lacks_too_many(said.sampled, said.missing):
        return f"{peer} is missing about {missing} of {flows} flows ({said.missing} of {said.sampled} sampled)"
    return f"{peer} has not finished its resync: about {missing} of {flows} flows would be lost"


def _on_account(state: NodeState, event: AccountSeen, now: float) -> Move:
    return on_account(state, event, now, peer_unready(state, now))


def _on_tick(state: NodeState, event: Tick, now: float) -> Move:
    return state, ()


# Any: each recorder takes one type of event, its key here. `step` looks it up by the event's type.
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
