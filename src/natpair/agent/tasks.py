"""The agent's tasks and their boundary: a part that fails is restarted, and the failure is shown as a condition."""

from __future__ import annotations

import asyncio
import time
import traceback
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from natpair.errors import NatpairError

FAILED_PAUSE_SECONDS = 1.0
_FAILURES_BEARABLE = 10
_FAILURES_SECONDS = 60.0
"""Seconds for which a failed part is reported. A vital part that fails too often within them ends the agent."""


def _ignore(_why: str) -> None:
    pass


@dataclass(frozen=True)
class Task:
    """One long-running part of the agent. `on_failure` gets the error of each failure, in one line."""

    name: str
    run: Callable[[], Coroutine[object, object, None]]
    vital: bool = True
    """True if the agent cannot work without it."""
    pause_seconds: float | None = None
    """Seconds until it is restarted; None for the default of one second."""
    on_failure: Callable[[str], None] = _ignore


class TaskFailed(NatpairError):
    """A vital part of the agent fails repeatedly."""


class TaskBoundary:
    """Keeps tasks running. `record` writes the event log."""

    def __init__(self, record: Callable[..., None]) -> None:
        self._record = record
        self._failures: dict[str, tuple[float, str]] = {}
        """Parts of the agent that failed: when last, and with which error."""

    async def keep_running(self, task: Task) -> None:
        """Run `task`, and start it again when it fails.

        TaskFailed for a vital part that fails repeatedly, so that the supervisor starts a new agent.
        """
        recent: deque[float] = deque(maxlen=_FAILURES_BEARABLE)
        while True:
            try:
                await task.run()
                return
            except Exception as error:  # noqa: BLE001 - the task boundary: no part takes the others with it
                why = _described(error)
            now = self._note(task.name, why)
            task.on_failure(why)
            again = len(recent) == recent.maxlen and now - recent[0] < _FAILURES_SECONDS
            if task.vital and again:
                raise TaskFailed(f"the agent's part '{task.name}' fails again and again: {why}")
            recent.append(now)
            await asyncio.sleep(FAILED_PAUSE_SECONDS if task.pause_seconds is None else task.pause_seconds)

    def on_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Record that a callback failed. That is a bug, but asyncio continues."""
        error = context.get("exception")
        why = _described(error) if isinstance(error, Exception) else str(context.get("message"))
        self._note("a callback", why)
        loop.default_exception_handler(context)

    def failed(self) -> tuple[str, ...]:
        """The parts that failed recently, each with its last error."""
        now = time.monotonic()
        return tuple(f"{name}: {why}" for name, (at, why) in self._failures.items() if now - at < _FAILURES_SECONDS)

    def _note(self, name: str, why: str) -> float:
        now = time.monotonic()
        self._failures[name] = (now, why)
        self._record("task-failed", task=name, why=why)
        return now


def _described(error: Exception) -> str:
    """An error in one line, with the place it comes from."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
