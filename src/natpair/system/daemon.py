"""A running process, held by its descriptor: a number may be another process's by the time it is used."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from pathlib import Path

from natpair.system.files import read_small

_NAME_BYTES = 15
"""The kernel cuts names there."""


class Process:
    """One process, and never another one that got its number later. `close` it when done."""

    def __init__(self, pid: int) -> None:
        """OSError if there is no such process."""
        self.pid = pid
        self.fd = os.pidfd_open(pid)

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return not select.select([self.fd], [], [], 0)[0]

    def send(self, number: signal.Signals | int) -> None:
        """Send it a signal; OSError if it has ended or is not ours to signal."""
        signal.pidfd_send_signal(self.fd, number)

    def close(self) -> None:
        """Let go of it."""
        os.close(self.fd)


def named(pid_file: str, name: str) -> Process | None:
    """The process whose number stands in `pid_file`, if it is called `name`: a file that a crash left names anybody."""
    try:
        held = Process(int(read_small(pid_file)))
    except (OSError, ValueError, OverflowError):
        return None
    # Looked at after it is held: the name is that of the process that gets the signal.
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
    """What the kernel calls process `pid`; empty if there is none."""
    try:
        return read_small(str(proc / str(pid) / "comm")).strip()
    except (OSError, UnicodeDecodeError):
        return ""
