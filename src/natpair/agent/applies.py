"""Makes sure that an apply ends: an unconfirmed one is rolled back in time, and so is one that was killed.

A separate process does that (`natpair rollback --when-due`), because a rollback restarts the agent. Usually it runs
already. If it was killed with the session or the unit that started it, the agent starts another one.
Level-triggered: it reads the note and the journal on disk, and remembers nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from natpair.agent.disk import Lane
from natpair.apply import confirm, lock
from natpair.apply.confirm import Unconfirmed
from natpair.core import paths
from natpair.core.status import UnconfirmedApply

LOOK_SECONDS = 2.0
GRACE_SECONDS = 3.0
"""Seconds after the deadline by which the waiting process should have begun."""
_AGAIN_SECONDS = 10.0
_DISK_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What is on disk: the note of an unconfirmed apply, and the journal of an apply that does not run any more."""

    note: Unconfirmed | None = None
    cut_off: bool = False
    guarded: bool = False

    @property
    def reason(self) -> str:
        """Why a rollback has to be started now; empty if there is no reason, or one is about to begin."""
        if self.guarded:
            return ""
        if self.note is not None and self.note.left_seconds < -GRACE_SECONDS:
            return "an apply was not confirmed in time"
        return "an apply was cut off" if self.cut_off else ""


def look() -> Seen:
    """Read the note and the journal."""
    note = confirm.read()
    cut_off = Path(paths.APPLY_JOURNAL).exists() and not lock.under_way()
    return Seen(note, cut_off, confirm.guarded() if note is not None or cut_off else False)


class Applies:
    """Checks every few seconds. `lane` may wait for the disk; `record` writes the event log."""

    def __init__(self, lane: Lane, record: Callable[..., None]) -> None:
        self._lane = lane
        self._record = record
        self._seen = Seen()

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            await asyncio.sleep(_AGAIN_SECONDS if await self.once() else LOOK_SECONDS)

    async def once(self) -> bool:
        """Check once. True if a rollback was started. A reason counts only if two checks in a row find it."""
        before = self._seen
        try:
            self._seen = await self._lane.ask("applies", look, _DISK_SECONDS)
            if not (self._seen.reason and self._seen.reason == before.reason):
                return False
            self._record("step", step="going-back", detail=self._seen.reason)
            await self._lane.ask("going back", confirm.start_guard, None)
        except OSError:
            return False
        self._seen = Seen(self._seen.note)
        return True

    def status(self) -> UnconfirmedApply | None:
        """The apply that is not confirmed yet; None if there is none."""
        note = self._seen.note
        return None if note is None else UnconfirmedApply(note.back_to, round(note.left_seconds, 1))
