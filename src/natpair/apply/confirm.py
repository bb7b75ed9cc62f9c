"""An apply that rolls back unless it is confirmed: a note on disk, which survives kills and reboots.

A separate process rolls back; it outlives the terminal and the unit it was started from. If that process is killed,
the agent starts another one. The next boot and the next apply read the same note.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from natpair.apply.reload import systemd_runs
from natpair.core import paths
from natpair.errors import CommandFailed, Unsupported
from natpair.system.files import read_if_there, sync_folder, write_atomic
from natpair.system.process import detach, run
from natpair.system.wait import ticks

NOTE = Path(paths.UNCONFIRMED)
_POLL_SECONDS = 0.2
_SECONDS = 10.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Unconfirmed:
    """Roll back to generation `back_to` at `deadline` (seconds since 1970) unless the apply is confirmed.

    In the boot `boot` the deadline is `uptime` (seconds since that boot, sleep included), whatever the clock says.
    After another boot the clock decides, but the wait is at most `period` seconds.
    """

    back_to: int
    deadline: float
    boot: str = ""
    uptime: float = 0.0
    period: float = 0.0

    @classmethod
    def after(cls, seconds: float, back_to: int) -> Unconfirmed:
        """A note that is due `seconds` from now."""
        return cls(back_to, time.time() + seconds, _boot(), _uptime() + seconds, seconds)

    @property
    def left_seconds(self) -> float:
        """Seconds until it is due; zero or less if its time is over."""
        return self.uptime - _uptime() if self.boot == _boot() else self.deadline - time.time()

    @property
    def due(self) -> bool:
        """Whether its time is over."""
        return self.left_seconds <= 0

    def in_this_boot(self) -> Unconfirmed:
        """The same note with this boot's uptime, so that a clock that was set back cannot postpone it forever."""
        if self.boot == _boot():
            return self
        left = min(self.left_seconds, self.period) if self.period else self.left_seconds
        return replace(self, deadline=time.time() + left, boot=_boot(), uptime=_uptime() + left)


def _uptime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _boot() -> str:
    return (read_if_there(_BOOT_ID) or "").strip()


def read(note: Path = NOTE) -> Unconfirmed | None:
    """The note; None if there is none, or if it is damaged, because then it was never complete."""
    text = read_if_there(note)
    try:
        raw = json.loads(text or "null")
        if not raw:
            return None
        bound = str(raw.get("boot", "")), float(raw.get("uptime", 0)), float(raw.get("period", 0))
        return Unconfirmed(int(raw["back_to"]), float(raw["deadline"]), *bound)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def write(what: Unconfirmed, note: Path = NOTE) -> None:
    """Write the note to disk."""
    note.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(note, json.dumps(asdict(what)) + "\n", mode=0o600)


def clear(note: Path = NOTE) -> None:
    """Remove the note and sync its folder."""
    if note.exists():
        note.unlink(missing_ok=True)
        sync_folder(note.parent)


def start_guard() -> None:
    """Start the process that rolls back when the time is over. A second such process ends at once.

    With systemd it gets its own unit: when an ssh session, a transient unit or the agent ends, systemd kills all
    processes in their cgroup.
    """
    argv = [sys.executable, "-m", "natpair", "rollback", "--when-due"]
    if systemd_runs():
        kept = [f"--setenv={name}={os.environ[name]}" for name in ("PATH", "PYTHONPATH") if name in os.environ]
        with contextlib.suppress(CommandFailed, Unsupported):
            run(["systemd-run", "--no-block", "--collect", "--quiet", *kept, *argv], timeout=_SECONDS)
            return
    detach(argv)


def guarded(note: Path = NOTE) -> bool:
    """Whether a process is waiting for the deadline."""
    if not note.with_suffix(".lock").exists():
        return False
    with only_guard(note) as alone:
        return not alone


@contextlib.contextmanager
def only_guard(note: Path = NOTE) -> Iterator[bool]:
    """Hold the lock of the process that waits for the deadline. Yield False if another process holds it."""
    with note.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def await_due(note: Path = NOTE) -> Unconfirmed | None:
    """Wait until the note is due and return it. Return None as soon as the note is removed."""
    for _ in ticks(_POLL_SECONDS):
        found = read(note)
        if found is None or found.due:
            break
    return found
