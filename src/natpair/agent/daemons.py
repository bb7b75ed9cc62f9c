"""Asks BIRD and conntrackd for their state, and kills one that has not responded for too long.

A daemon that hangs looks alive to its supervisor. After it is killed, the supervisor restarts it and it resyncs.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from natpair.apply.reload import listener_of
from natpair.core import paths
from natpair.core.announcement import Announcement
from natpair.core.events import ConntrackdStarted, Event
from natpair.errors import DaemonError
from natpair.system import bird, conntrackd, keepalived
from natpair.system.daemon import Process

BIRD_PATIENCE_SECONDS = 10.0
KEEPALIVED_PATIENCE_SECONDS = 10.0
CONNTRACKD_PATIENCE_SECONDS = 30.0
"""Seconds. During a resync of a million flows conntrackd does not answer for many seconds."""
_ANSWER_SECONDS, _LONGEST_ANSWER_SECONDS = 1.0, 4.0
"""Seconds to wait for an answer: at first, and on a machine so slow that earlier answers came too late."""
_LATE_SECONDS = 0.2
_CACHED = re.compile(r"cache internal:\s+current active connections:\s+(\d+)")


def _kill(process: Process) -> None:
    process.send(signal.SIGKILL)


@dataclass(slots=True)
class Unresponsive:
    """One daemon's silence: since when, and its process (looked up at once, because its socket's queue
    fills up later).
    """

    socket: str
    patience: float
    since: float = 0.0
    listener: Process | None = None
    find: Callable[[], Process | None] | None = None
    end: Callable[[Process], None] = _kill
    answer_seconds: float = _ANSWER_SECONDS
    """How long to wait for the next answer."""

    def heard(self) -> None:
        """Record that it answered."""
        if self.listener is not None:
            self.listener.close()
        self.since, self.listener, self.answer_seconds = 0.0, None, _ANSWER_SECONDS

    def silent(self, now: float, asked: float | None = None) -> bool:
        """Record that it did not answer the request of time `asked`. True if it was killed for that.

        Time by which the agent itself was late does not count: the machine is slow, or the agent was stopped.
        """
        if not self.since:
            self.since, self.listener = now, self.find() if self.find else _listener(self.socket)
        elif asked is not None:
            self.since += max(0.0, now - asked - self.answer_seconds - _LATE_SECONDS)
        self.answer_seconds = min(2 * self.answer_seconds, _LONGEST_ANSWER_SECONDS)
        if self.listener is None or now - self.since < self.patience:
            return False
        killed = self.listener.running
        with contextlib.suppress(ProcessLookupError):
            self.end(self.listener)
        self.heard()
        return killed


def _listener(socket: str) -> Process | None:
    """A descriptor of the listening process. Its PID alone could belong to another process half a minute later."""
    pid = listener_of(socket)
    with contextlib.suppress(OSError):
        return Process(pid) if pid is not None else None
    return None


class Daemons:
    """The last answers of the daemons. `on_announced` gets BIRD's announcement, `on_kill` the name of a
    killed daemon.
    """

    def __init__(self, on_announced: Callable[[Announcement | None], None], on_kill: Callable[[str], None]) -> None:
        self._on_announced = on_announced
        self._on_kill = on_kill
        self._incarnation = 0
        self._bird = Unresponsive(paths.BIRD_CTL, BIRD_PATIENCE_SECONDS)
        self._conntrackd = Unresponsive(paths.CONNTRACKD_CTL, CONNTRACKD_PATIENCE_SECONDS)
        self._keepalived = Unresponsive(
            paths.KEEPALIVED_PID, KEEPALIVED_PATIENCE_SECONDS, find=keepalived.running, end=keepalived.end
        )
        self.looked = asyncio.Event()
        """Set once each daemon was asked."""
        self.bgp: tuple[int, int] = (0, 0)
        """The number of Established sessions, and of all sessions."""
        self.plain_sessions: tuple[str, ...] = ()
        """Established sessions whose neighbour does not support RFC 8950."""
        self.conntrackd = False
        """True if conntrackd answers."""
        self.cached: int | None = None
        """The number of flows that conntrackd replicates. The node's own flows are not among them."""

    def keepalived_said(self, answered: bool) -> None:
        """Record whether Keepalived wrote its state when asked, and kill it if it has not for too long.

        A hung Keepalived keeps the VIP and sends no adverts: this node can neither be elected nor give the role away.
        """
        if answered:
            self._keepalived.heard()
        elif self._keepalived.silent(time.monotonic()):
            self._on_kill("keepalived")

    async def run(self, handle: Callable[[Event], None], interval: float, wake: Callable[[], None]) -> None:
        """Ask both daemons every `interval` seconds. Calls `wake` if an answer has changed."""
        while True:
            if await self.once(handle):
                wake()
            await asyncio.sleep(interval)

    async def once(self, handle: Callable[[Event], None]) -> bool:
        """Ask both daemons once, at the same time. True if an answer has changed."""
        before = (self.bgp, self.conntrackd, self.cached)
        await asyncio.gather(self._ask_bird(), self._ask_conntrackd())
        self._follow_conntrackd(handle)
        self.looked.set()
        return before != (self.bgp, self.conntrackd, self.cached)

    async def _ask_bird(self) -> None:
        announcement: Announcement | None = None
        asked = time.monotonic()
        try:
            before = self.bgp
            self.bgp, announcement = await bird.reading(seconds=self._bird.answer_seconds)
            if before != self.bgp:
                self.plain_sessions = await bird.plain_sessions()
            self._bird.heard()
        except DaemonError:
            self.bgp = (0, self.bgp[1])
            if self._bird.silent(time.monotonic(), asked):
                self._on_kill("bird")
        self._on_announced(announcement)

    async def _ask_conntrackd(self) -> None:
        asked = time.monotonic()
        try:
            answer = await conntrackd.command(conntrackd.Command.STATS, seconds=self._conntrackd.answer_seconds)
            self.conntrackd = "external inject" in answer
            self.cached = int(found[1]) if (found := _CACHED.search(answer)) else None
            self._conntrackd.heard()
        except DaemonError:
            self.conntrackd = False
            if self._conntrackd.silent(time.monotonic(), asked):
                self._on_kill("conntrackd")

    def _follow_conntrackd(self, handle: Callable[[Event], None]) -> None:
        incarnation = conntrackd.incarnation()
        if incarnation and self._incarnation and incarnation != self._incarnation:
            handle(ConntrackdStarted())
        self._incarnation = incarnation or self._incarnation
