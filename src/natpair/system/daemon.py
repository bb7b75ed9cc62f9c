"""A running process, held by its descriptor (pidfd), because its PID may belong to another process when it is used."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from pathlib import Path

from natpair.system.files import read_small

_NAME_BYTES = 15
"""The kernel cuts process names at this length."""


class Process:
    """One process, never a later one with the same PID. `close` it when done."""

    def __init__(self, pid: int) -> None:
        """OSError if there is no such process."""
        self.pid = pid
        self.fd = os.pidfd_open(pid)

    @property
    def running(self) -> bool:
        """True if it is still running."""
        return not select.select([self.fd], [], [], 0)[0]

    def send(self, number: signal.Signals | int) -> None:
        """Send it a signal; OSError if it has ended or is not ours to signal."""
        signal.pidfd_send_signal(self.fd, number)

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.fd)


def named(pid_file: str, name: str) -> Process | None:
    """The process of `pid_file`, if it is called `name`. A file left by a crash may name any other process."""
    try:
        held = Process(int(read_small(pid_file)))
    except (OSError, ValueError, OverflowError):
        return None
    # Read after the descriptor is open, so that the name belongs to the process that gets the signal.
    if name_of(held.pid) == name[:_NAME_BYTES]:
        return held
    held.close()
    return None


def of_name(name: str, proc: Path = Path("/proc")) -> Process | None:
    """A process called `name`, for daemons that write no pid file; None if there is none."""
    for comm in proc.glob("[0-9]*/comm"):
        pid = int(comm.parent.name)
        if name_of(pid, proc) == name[:_NAME_BYTES]:
            with contextlib.suppress(OSError):
                return Process(pid)
    return None


def name_of(pid: int, proc: Path = Path("/proc")) -> str:
    """The kernel's name of process `pid`; empty if there is none."""
    try:
        return read_small(str(proc / str(pid) / "comm")).strip()
    except (OSError, UnicodeDecodeError):
        return ""
