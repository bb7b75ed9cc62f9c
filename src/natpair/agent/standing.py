"""Records when each condition began and ended, and how long it lasted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from natpair.agent.cell import StateCell
from natpair.core.condition import Condition
from natpair.core.conditions import conditions

LOOK_SECONDS = 1.0

Record = Callable[..., None]


def own_conditions(cell: StateCell) -> list[Condition]:
    """The conditions of this node. Those that only the peer sees are in the peer's event log."""
    state = cell.get()
    return [one for one in conditions(state, time.monotonic()) if one.node == state.terms.me]


class Standing:
    """The conditions that hold. One that is gone at the next check is not recorded, because transitions cause some
    briefly.
    """

    def __init__(self, check: Callable[[], Sequence[Condition]], record: Record) -> None:
        self._check = check
        self._record = record
        self._seen: dict[str, float] = {}
        self._told: set[str] = set()

    async def run(self) -> None:
        """Check every second."""
        while True:
            self.look(time.monotonic())
            await asyncio.sleep(LOOK_SECONDS)

    def look(self, now: float) -> None:
        """Compare with the last check."""
        found = {condition.code: condition for condition in self._check()}
        for code in [code for code in self._seen if code not in found]:
            since = self._seen.pop(code)
            if code in self._told:
                self._told.discard(code)
                self._record("condition", code=code, what="ended", seconds=round(now - since, 1))
        for code, condition in found.items():
            if self._seen.setdefault(code, now) < now and code not in self._told:
                self._told.add(code)
                words = {"severity": condition.severity.value, "text": condition.text}
                seconds = round(now - self._seen[code], 1)
                self._record("condition", code=code, what="began", seconds=seconds, **words)
