"""The lock of this machine's apply: one at a time, and others can see whether one is at work.

It lies in /run and belongs to the process that holds it: an apply that was killed holds nothing any more.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from natpair.core import paths
from natpair.errors import NotReady
from natpair.system.wait import poll

_LOCK = Path(paths.APPLY_LOCK)
_PATIENCE_SECONDS = 0.5
"""Who only looks holds the lock for some microseconds: an apply tries again for so long."""
_POLL_SECONDS = 0.02


@contextmanager
def alone(lock: Path = _LOCK) -> Iterator[None]:
    """Hold the lock; NotReady if another process has it."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as stream:

        def taken() -> bool:
            return _taken(stream.fileno(), fcntl.LOCK_EX)

        if not poll(taken, deadline_seconds=_PATIENCE_SECONDS, poll_seconds=_POLL_SECONDS):
            raise NotReady("another natpair apply is at work", cure="wait until it has ended")
        yield


def under_way(lock: Path | None = None) -> bool:
    """Whether an apply is at work now. It reads no disk."""
    try:
        with (lock or _LOCK).open() as stream:
            return not _taken(stream.fileno(), fcntl.LOCK_SH)
    except OSError:
        return False


def _taken(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
