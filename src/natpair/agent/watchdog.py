"""Tells the supervisor that the agent is up, and again and again that it is alive."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from natpair.agent.beginning import raise_priority
from natpair.agent.cell import StateCell
from natpair.system.sdnotify import Notifier

_ALIVE_SECONDS = 1.0


class Watchdog:
    """`record` writes the event log."""

    def __init__(self, notifier: Notifier, cell: StateCell, record: Callable[..., None]) -> None:
        self._notifier = notifier
        self._cell = cell
        self._record = record

    async def run(self) -> None:
        """Report until cancelled, from the loop that decides: if that hangs, the supervisor hears nothing."""
        self._notifier.ready("started")
        if reason := raise_priority():
            self._record("step", step="no-real-time-priority", detail=reason)
        while True:
            state = self._cell.get()
            self._notifier.alive(f"{state.phase.value}, epoch {state.epoch}, VRRP {state.vrrp.value}")
            await asyncio.sleep(_ALIVE_SECONDS)
