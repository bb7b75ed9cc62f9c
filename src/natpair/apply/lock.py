"""The lock of this machine's apply: only one runs at a time, and others can see whether one is running.

The lock file is in /run. The kernel releases the lock when the process ends, also if it is killed.
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
"""`under_way` holds the lock for some microseconds, so an apply retries for this long."""
_POLL_SECONDS = 0.02


@contextmanager
def alone(lock: Path = _LOCK) -> Iterator[None]:
    """Hold the lock. Raise NotReady if another process has it."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as stream:

        def taken() -> bool:
            return _taken(stream.fileno(), fcntl.LOCK_EX)

        if not poll(taken, deadline_seconds=_PATIENCE_SECONDS, poll_seconds=_POLL_SECONDS):
            raise NotReady("another natpair apply is running", fix="wait until it has ended")
        yield


def under_way(lock: Path | None = None) -> bool:
    """Whether an apply is running now. This does not read the disk."""
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
