"""The decision loop: an event comes in, `core.machine.step` is asked, its actions are handed on.

Everything here is synchronous, so a step is never interrupted by another; what takes time is given to a
task (`Reconciler`, `Chores`), which comes back with an event of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from functools import singledispatchmethod
from typing import Protocol

from natpair.agent import journal
from natpair.core.actions import (
    Action,
    Conntrack,
    Journal,
    Note,
    ProbeVlan,
    ReassertVip,
    RepairShares,
    Reply,
    Reserve,
    SaveDrained,
    Speak,
    WakeAt,
)
from natpair.core.conditions import alarms
from natpair.core.desired import Desired, desired
from natpair.core.events import Asked, Event, HealthRead, Tick
from natpair.core.history import TOLD, Transition
from natpair.core.machine import step
from natpair.core.messages import PeerMessage
from natpair.core.state import NodeState, message_of


class Effects(Protocol):
    """What the loop hands things on to."""

    def want(self, wish: Desired) -> None:
        """Make `wish` true."""

    def send(self, message: PeerMessage) -> None:
        """Tell the peer."""

    def probe_vlan(self, nonce: int) -> None:
        """Ask the known clients."""

    def claim_vip(self) -> None:
        """Gratuitous ARP."""

    def conntrack(self, job: Conntrack) -> None:
        """Queue a conntrackd job."""

    def reserve(self, ceiling: int) -> None:
        """Reserve generations in the background."""

    def save_drained(self, drained: bool) -> None:
        """Write the operator's wish to the disk, in the background."""

    def repair_shares(self) -> None:
        """Share again what the last look at the account found missing."""


class DecisionLoop:
    """Holds the one `NodeState` of the process."""

    def __init__(self, state: NodeState, effects: Effects, events: journal.Events) -> None:
        self.state = state
        self._effects = effects
        self._events = events
        self._replies: dict[int, Callable[[Reply], None]] = {}
        self._log = journal.event_log()
        self._rival = 0
        self.last_transition: Transition | None = None

    def handle(self, event: Event) -> None:
        """One event, to its end."""
        now = time.monotonic()
        before = self.state
        if isinstance(event, Asked):
            self._events.record("asked", verb=event.verb.value, force=event.force)
        outcome = step(before, event, now)
        self.state = outcome.state
        if isinstance(event, HealthRead):
            # Of this very reading: the peer hears of it with the next heartbeat.
            health = replace(self.state.health, alarms=alarms(self.state, now))
            self.state = replace(self.state, health=health)
        # First what the failover waits for, then what tells about it.
        self._effects.want(desired(self.state, now))
        for action in outcome.actions:
            self._act(action)
        if _durable(before) != _durable(self.state):
            self._remember()
        self._note_rival()

    def _note_rival(self) -> None:
        """The first word of a promotion of the peer: with its epoch both nodes call the change by one name."""
        said = self.state.peer.said
        if said is not None and said.active and said.epoch > max(self._rival, self.state.epoch):
            self._rival = said.epoch
            self._events.record("peer-active", peer=self.state.terms.peer, epoch=said.epoch)

    def _remember(self) -> None:
        """Write state.json, which lies in memory; when that is full it is news and no reason to stop deciding."""
        try:
            journal.remember(_durable(self.state))
        except OSError as error:
            self._events.record("step", step="state-not-written", detail=str(error))
            self._log.error("not written", file="state", reason=str(error))

    def expect_reply(self, number: int, callback: Callable[[Reply], None]) -> None:
        """Call `callback` when request `number` has its answer."""
        self._replies[number] = callback

    def message(self) -> PeerMessage:
        """What the peer may know now."""
        return message_of(self.state, time.monotonic())

    @singledispatchmethod
    def _act(self, action: Action) -> None:
        raise TypeError(f"no handler for {action!r}")

    @_act.register
    def _(self, _action: Speak) -> None:
        self._effects.send(self.message())

    @_act.register
    def _(self, action: ProbeVlan) -> None:
        self._effects.probe_vlan(action.nonce)

    @_act.register
    def _(self, _action: ReassertVip) -> None:
        self._effects.claim_vip()

    @_act.register
    def _(self, action: Conntrack) -> None:
        self._effects.conntrack(action)

    @_act.register
    def _(self, action: Reserve) -> None:
        self._effects.reserve(action.ceiling)

    @_act.register
    def _(self, action: SaveDrained) -> None:
        self._effects.save_drained(action.drained)

    @_act.register
    def _(self, action: WakeAt) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(max(0.0, action.at - time.monotonic()) + 0.001, self.handle, Tick())

    @_act.register
    def _(self, action: Reply) -> None:
        if (callback := self._replies.pop(action.number, None)) is not None:
            callback(action)

    @_act.register
    def _(self, _action: RepairShares) -> None:
        self._effects.repair_shares()

    @_act.register
    def _(self, action: Note) -> None:
        self._events.record("note", text=action.text)
        self._log.warning("note", text=action.text)

    @_act.register
    def _(self, action: Journal) -> None:
        said = self.state.peer.said
        self._events.transition = transition_id(node=self.state.terms.me, epoch=action.epoch)
        moved = {"before": action.before, "after": action.after, "cause": action.cause, "epoch": action.epoch}
        self._events.record("transition", **moved, peer_epoch=said.epoch if said is not None else 0)
        self._log.info("transition", **moved)
        if action.after.value in TOLD:
            self.last_transition = Transition(
                action.before.value, action.after.value, action.cause, action.epoch, time.time()
            )


def transition_id(*, node: str, epoch: int) -> str:
    """A name for one move of one node, by which the steps that follow are told to be its own."""
    return f"{node}-{epoch}-{int(time.time() * 1000):x}"


def _durable(state: NodeState) -> journal.Remembered:
    handed = state.account.handed
    return journal.Remembered(state.claims_active, state.epoch, state.boosted, state.fenced, handed, state.peer_mac)
