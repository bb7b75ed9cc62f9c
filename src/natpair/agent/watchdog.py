"""Reports to the supervisor that the agent is ready, once every part has checked once, and then that it is alive."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from natpair.agent.beginning import raise_priority
from natpair.agent.cell import StateCell
from natpair.system.sdnotify import Notifier

READY_SECONDS = 10.0
"""Seconds a part may take for its first check. If one hangs, the agent reports that it is ready all the same."""
_ALIVE_SECONDS = 1.0


class Watchdog:
    """`looked` has an event for each part whose first look the supervisor waits for; a look that finds nothing counts.

    `read_health` reads the node's health anew, so that the core knows what those looks have found. `record` writes the
    event log.
    """

    def __init__(
        self,
        notifier: Notifier,
        cell: StateCell,
        looked: Mapping[str, asyncio.Event],
        read_health: Callable[[], Awaitable[None]],
        record: Callable[..., None],
    ) -> None:
        self._notifier = notifier
        self._cell = cell
        self._looked = looked
        self._read_health = read_health
        self._record = record

    async def run(self) -> None:
        """Report until cancelled, in the loop that decides. If that loop hangs, the supervisor gets no report."""
        if reason := raise_priority():
            self._record("step", step="no-real-time-priority", detail=reason)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._report_ready())
            while True:
                state = self._cell.get()
                self._notifier.alive(f"{state.phase.value}, epoch {state.epoch}, VRRP {state.vrrp.value}")
                await asyncio.sleep(_ALIVE_SECONDS)

    async def _report_ready(self) -> None:
        status = "started"
        try:
            async with asyncio.timeout(READY_SECONDS):
                for looked in self._looked.values():
                    await looked.wait()
                await self._read_health()
        except TimeoutError:
            missing = ", ".join(name for name, looked in self._looked.items() if not looked.is_set()) or "health"
            status = f"started; the first look has not ended after {READY_SECONDS:g} s: {missing}"
            self._record("step", step="first-look-not-ended", detail=missing)
        self._notifier.ready(status)
