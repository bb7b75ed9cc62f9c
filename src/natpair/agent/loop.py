"""The decision loop: takes an event, calls `core.machine.step`, and has its decisions carried out.

Everything here is synchronous, so one step never interrupts another. Slow work is done by a task of the
`Reconciler` or the `Executor`, which reports the result as an event.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace

from natpair.agent.cell import StateCell
from natpair.agent.journal import Events
from natpair.core.actions import Action
from natpair.core.conditions import alarms
from natpair.core.desired import Desired, desired
from natpair.core.events import Asked, Event, HealthRead, VrrpChanged
from natpair.core.machine import step
from natpair.core.messages import VrrpRole

Want = Callable[[Desired], None]
Execute = Callable[[Iterable[Action]], None]


class DecisionLoop:
    """Created before the parts that send it events. `connect` names the two that carry out its decisions."""

    def __init__(self, cell: StateCell, events: Events) -> None:
        self._cell = cell
        self._events = events
        self._want: Want | None = None
        self._execute: Execute | None = None

    def connect(self, want: Want, execute: Execute) -> None:
        """From now on `want` gets what should be true of this machine, `execute` what is to be done once."""
        self._want, self._execute = want, execute

    def on_notify(self, role: VrrpRole) -> None:
        """Handle a line from Keepalived's FIFO."""
        self._events.record("fifo", role=role.value)
        self.handle(VrrpChanged(role))

    def handle(self, event: Event) -> None:
        """Handle one event completely."""
        if self._want is None or self._execute is None:
            raise RuntimeError("an event came before the agent was wired")
        now = time.monotonic()
        before = self._cell.get()
        if isinstance(event, Asked):
            self._events.record("asked", verb=event.verb.value, force=event.force)
        outcome = step(before, event, now)
        state = outcome.state
        if isinstance(event, HealthRead):
            # Computed from this reading, so that the next heartbeat carries it.
            state = replace(state, health=replace(state.health, alarms=alarms(state, now)))
        self._cell.put(state)
        # First what a failover waits for, then what is recorded about it.
        self._want(desired(state, now))
        self._execute(outcome.actions)
        self._cell.publish(before)
