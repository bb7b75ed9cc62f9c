"""An apply that rolls back by itself unless it is confirmed: a note on disk, that no kill and no reboot forgets.

Who carries it out is a process of its own that outlives the terminal; where it was killed, the next start of the agent,
the next boot or the next apply does it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event

from natpair.core import paths
from natpair.system.files import read_if_there, sync_folder, write_atomic
from natpair.system.process import detach

NOTE = Path(paths.UNCONFIRMED)
_POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Unconfirmed:
    """Go back to generation `back_to` at `deadline` (seconds since 1970) unless somebody confirms."""

    back_to: int
    deadline: float

    def due(self, now: float) -> bool:
        """Whether its time is over."""
        return now >= self.deadline


def read(note: Path = NOTE) -> Unconfirmed | None:
    """The note, None if there is none. A damaged one counts as none: it was never complete."""
    text = read_if_there(note)
    try:
        raw = json.loads(text or "null")
        return Unconfirmed(int(raw["back_to"]), float(raw["deadline"])) if raw else None
    except (ValueError, KeyError, TypeError):
        return None


def write(what: Unconfirmed, note: Path = NOTE) -> None:
    """Put the note on disk."""
    note.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(note, json.dumps(asdict(what)) + "\n", mode=0o600)


def clear(note: Path = NOTE) -> None:
    """Take the note away, also from the disk."""
    if note.exists():
        note.unlink(missing_ok=True)
        sync_folder(note.parent)


def start_guard() -> None:
    """Start the process that goes back when the time is over; a second one beside it ends at once."""
    detach([sys.executable, "-m", "natpair", "rollback", "--when-due"])


@contextlib.contextmanager
def only_guard(note: Path = NOTE) -> Iterator[bool]:
    """Whether this process is the only one that waits for the deadline, for as long as it is."""
    with note.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def await_due(note: Path = NOTE) -> Unconfirmed | None:
    """Wait until the note is due, and return it; None as soon as there is no note any more."""
    pause = Event()
    while (found := read(note)) is not None:
        if found.due(time.time()):
            return found
        pause.wait(_POLL_SECONDS)
    return None
