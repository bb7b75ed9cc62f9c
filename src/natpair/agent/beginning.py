"""How an agent starts: it finds what it needs, or waits for it, and then takes its real-time priority.

At boot an address, the key file and the FIFO appear in any order. An agent that a supervisor started waits for them
and reports what it waits for, to the supervisor and to `natpair status`. One that was started by hand fails.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from natpair.core import paths
from natpair.core.model import Gateway
from natpair.errors import ConfigError, NatpairError
from natpair.render.keepalived import AGENT_RT_PRIORITY
from natpair.system.keepalived import NotifyFifo
from natpair.system.key import read_key
from natpair.system.sdnotify import Notifier
from natpair.system.wait import ticks

RETRY_SECONDS = 1.0
"""Seconds between two attempts. Less than the supervisor's watchdog time, because each attempt reports to it."""


@dataclass(frozen=True, slots=True)
class Begin:
    """What an agent needs before it can begin."""

    gateway: Gateway
    node: str
    key: bytes
    fifo: NotifyFifo


def begin(gateway: Gateway, node: str) -> Begin:
    """Find what the agent of `node` needs. ConfigError or NatpairError while part of it is missing."""
    key = read_key(gateway.heartbeat.key_file)
    try:
        fifo = NotifyFifo()
    except OSError as error:
        raise NatpairError(f"{paths.NOTIFY_FIFO} is missing", fix="run 'natpair prepare' first") from error
    return Begin(gateway, node, key, fifo)


def wait_for(
    find: Callable[[], Begin], say: Callable[[str], None], notifier: Notifier, *, waiting: Path = Path(paths.WAITING)
) -> Begin:
    """Wait until `find` succeeds. The reason for waiting goes to `say`, the supervisor and the file `waiting`.

    Without a supervisor the first error is raised.
    """
    said, turns = "", ticks(RETRY_SECONDS)
    while True:
        next(turns)
        try:
            found = find()
        except NatpairError as error:
            if not notifier.supervised:
                raise
            reason, fix = _words(error)
            if reason != said:
                say(f"waiting: {reason}")
                said = reason
                _note(waiting, f"{reason}\n{fix}\n")
                notifier.ready(f"waiting: {reason}")
            notifier.alive(f"waiting: {reason}")
        else:
            with contextlib.suppress(OSError):
                waiting.unlink(missing_ok=True)
            return found


def _words(error: NatpairError) -> tuple[str, str]:
    """What is missing and how to fix it, each in one line."""
    if not isinstance(error, ConfigError):
        return " ".join(error.message.split()), error.fix
    parts = [" ".join(filter(None, (p.key, p.value, p.message))) for p in error.problems]
    return "; ".join(parts), "; ".join(p.accepted for p in error.problems if p.accepted)


def _note(path: Path, text: str) -> None:
    with contextlib.suppress(OSError):  # no /run/natpair yet: then the supervisor alone knows
        path.write_text(text)


def raise_priority() -> str:
    """Take the agent's real-time priority, and return the reason if the kernel refuses. Child processes inherit it.

    A takeover must not wait for other programs that use the CPU. Call this after the start only: imports take a second
    or more of CPU without a pause, and on one small core that would delay the network itself.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(AGENT_RT_PRIORITY))
    except OSError as error:
        return str(error.strerror)
    return ""
