"""Threads for everything that may wait for a disk, so that the loop that decides never waits for one.

A thread that uses a hung disk is blocked as long as the disk hangs, and no signal ends that. So each lane is a daemon
thread, which ends with the process; its jobs are few and named, and a newer job of the same name replaces one that
still waits. So the queue is bounded by the number of names.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from natpair.core import paths
from natpair.errors import NatpairError
from natpair.system.files import probe

T = TypeVar("T")
Work = Callable[[], None]

PROBE_SECONDS = 1.0
"""Seconds between two tests of the disk. A test writes one block and waits until it is on disk."""
PATIENCE_SECONDS = 1.3
"""Seconds without an answer after which a disk counts as stalled. A busy disk takes less."""
_LOOK_SECONDS = 0.25
_ASK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Stall:
    """A job that does not end: what it works on, and for how many seconds."""

    path: str
    seconds: float


class Lane:
    """One thread that does its jobs one after the other. `path` is what it works on, for messages."""

    def __init__(self, name: str, path: str) -> None:
        self.path = path
        self._name = name
        self._jobs: dict[str, Work] = {}
        self._changed = threading.Condition()
        self._running: tuple[str, float] | None = None
        self._thread: threading.Thread | None = None
        self._failed: dict[str, tuple[Work, str]] = {}

    def put(self, name: str, work: Work) -> None:
        """Queue `work`. It replaces a job of the same name that still waits. Never waits, never raises."""
        with self._changed:
            self._jobs[name] = work
            self._changed.notify()
        self._start()

    async def ask(self, name: str, work: Callable[[], T], seconds: float | None = _ASK_SECONDS) -> T:
        """The answer of `work`, or its OSError, ValueError or NatpairError.

        OSError, too, if there is no answer within `seconds` (None: no limit).
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def settle(result: T | None, error: Exception | None) -> None:
            if not answer.done():
                answer.set_result(result) if error is None else answer.set_exception(error)  # type: ignore[arg-type]

        def job() -> None:
            result: T | None = None
            failure: Exception | None = None
            try:
                result = work()
            except (OSError, ValueError, NatpairError) as error:
                failure = error
            with contextlib.suppress(RuntimeError):  # the loop ended meanwhile
                loop.call_soon_threadsafe(settle, result, failure)

        if name in self._jobs:
            raise OSError(errno.EBUSY, f"{self.path} has not answered yet")
        self.put(name, job)
        try:
            async with asyncio.timeout(seconds):
                return await answer
        except TimeoutError as error:
            raise OSError(errno.ETIMEDOUT, f"{self.path} does not answer") from error

    def stalled(self, now: float) -> Stall | None:
        """The job that has been running for longer than a disk takes; `now` on the monotonic clock."""
        running = self._running
        if running is None or now - running[1] < PATIENCE_SECONDS:
            return None
        return Stall(self.path, now - running[1])

    def failures(self) -> dict[str, str]:
        """Jobs whose last run failed, by name, with the error."""
        return {name: why for name, (_, why) in self._failed.copy().items()}

    def retry(self) -> None:
        """Retry the failed jobs, unless newer work of the same name waits."""
        for name, (work, _) in self._failed.copy().items():
            if name not in self._jobs:
                self.put(name, work)

    def flush(self, seconds: float) -> bool:
        """Wait until nothing waits and nothing runs; False if that takes longer than `seconds`."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._jobs and self._running is None, seconds)

    def _start(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            with contextlib.suppress(RuntimeError):  # no thread can be started now: the next job tries again
                thread.start()
                self._thread = thread

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._jobs))
                name = next(iter(self._jobs))
                work = self._jobs.pop(name)
                self._running = (name, time.monotonic())
            try:
                work()
                self._failed.pop(name, None)
            except OSError as error:
                self._failed[name] = (work, error.strerror or str(error))
            with self._changed:
                self._running = None
                self._changed.notify_all()


class Disks:
    """The lanes of one agent: /var, /etc and the log. If one stalls, the others continue."""

    def __init__(self, *, var: str = "", etc: str = "") -> None:
        self.var = Lane("disk-var", var or paths.VAR)
        self.etc = Lane("disk-etc", etc or paths.ETC)
        self.log = Lane("disk-log", "standard output (the log)")

    def stalled(self, now: float) -> Stall | None:
        """The longest stall of any lane."""
        found = [stall for lane in (self.var, self.etc, self.log) if (stall := lane.stalled(now)) is not None]
        return max(found, key=lambda stall: stall.seconds, default=None)

    async def watch(self, report: Callable[..., None], wake: Callable[[], None] = lambda: None) -> None:
        """Test the disk periodically. `report` gets each new kind of error once.

        `wake` is called when a stall begins or ends.
        """
        told: dict[str, str] = {}
        stalled = False
        while True:
            self.var.put("probe", lambda: probe(Path(self.var.path) / ".alive"))
            end = time.monotonic() + PROBE_SECONDS
            while time.monotonic() < end:
                await asyncio.sleep(min(_LOOK_SECONDS, PROBE_SECONDS))
                if (self.stalled(time.monotonic()) is not None) is not stalled:
                    stalled = not stalled
                    wake()
            failing = self.var.failures()
            for name in failing.keys() - told.keys():
                report("step", step=f"{name}-not-written", detail=failing[name])
            told = failing
            self.var.retry()

    def flush(self, seconds: float) -> None:
        """Wait until all queued work is on disk, for `seconds` at most."""
        end = time.monotonic() + seconds
        for lane in (self.var, self.log):
            lane.flush(max(0.0, end - time.monotonic()))
