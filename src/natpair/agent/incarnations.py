"""Records when Keepalived, BIRD or conntrackd ends and comes back, before anything follows from it.

A process descriptor (pidfd) reports the end of its process at once, and costs nothing until then.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from natpair.core import paths
from natpair.system import daemon
from natpair.system.daemon import Process

_LOOK_SECONDS = 0.5
"""Seconds between two searches for a daemon that is not running."""
_ORDER_SECONDS = 3.0
"""Seconds. If the agent killed a daemon within them, that is why it ended."""

Record = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Kind:
    """A daemon: its name for messages, how its process is found, and the file that it deletes when it is stopped
    normally.
    """

    name: str
    find: Callable[[], Process | None]
    mark: str


KINDS = (
    Kind("Keepalived", partial(daemon.named, paths.KEEPALIVED_PID, "keepalived"), paths.KEEPALIVED_PID),
    Kind("BIRD", partial(daemon.named, paths.BIRD_PID, "bird"), paths.BIRD_PID),
    Kind("conntrackd", partial(daemon.of_name, "conntrackd"), paths.CONNTRACKD_LOCK),
)


class Incarnations:
    """Follows each kind from one process to the next. `record` writes the event log."""

    def __init__(self, record: Record, kinds: tuple[Kind, ...] = KINDS) -> None:
        self._record = record
        self._kinds = kinds
        self._running: dict[str, Process] = {}
        self._ended: dict[str, float] = {}
        self._killed: dict[str, tuple[float, str]] = {}
        self._away = asyncio.Event()

    def killed(self, name: str) -> None:
        """Record that the agent has killed `name` because it did not respond."""
        self._killed[name.lower()] = (time.monotonic(), "did not respond, and was killed by natpair")
        self._record("step", step=f"{name}-killed-for-silence", took_ms=0.0)

    async def run(self) -> None:
        """Follow all daemons until cancelled."""
        try:
            while True:
                for kind in self._kinds:
                    if kind.name not in self._running:
                        self._look_for(kind)
                if len(self._running) == len(self._kinds):
                    self._away.clear()
                    await self._away.wait()
                await asyncio.sleep(_LOOK_SECONDS)
        finally:
            for name in tuple(self._running):
                self._let_go(name)

    def _look_for(self, kind: Kind) -> None:
        found = kind.find()
        if found is None:
            return
        self._running[kind.name] = found
        asyncio.get_running_loop().add_reader(found.fd, self._has_ended, kind)
        ended = self._ended.pop(kind.name, None)
        if ended is not None:
            away = round(time.monotonic() - ended, 2)
            self._record("daemon", name=kind.name, what="started", pid=found.pid, seconds=away)

    def _has_ended(self, kind: Kind) -> None:
        pid = self._running[kind.name].pid
        self._let_go(kind.name)
        now = self._ended[kind.name] = time.monotonic()
        ordered_at, why = self._killed.pop(kind.name.lower(), (float("-inf"), ""))
        # A daemon deletes its file when it is stopped, and cannot when it is killed.
        how = why if now - ordered_at < _ORDER_SECONDS else "killed" if Path(kind.mark).exists() else "stopped"
        self._record("daemon", name=kind.name, what="ended", pid=pid, how=how)
        self._away.set()

    def _let_go(self, name: str) -> None:
        process = self._running.pop(name)
        asyncio.get_running_loop().remove_reader(process.fd)
        process.close()
