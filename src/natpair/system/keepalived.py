"""Keepalived: its notify FIFO reports a new role at once, and its JSON dump shows the current one on request."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import re
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from natpair.core import paths
from natpair.core.messages import VrrpRole
from natpair.errors import DaemonError
from natpair.system import daemon
from natpair.system.files import read_small, write_atomic

_LINE = re.compile(r'^INSTANCE "(?P<name>[^"]*)" (?P<state>[A-Z_]+) (?P<priority>\d+)$')
_ROLES = {
    "MASTER": VrrpRole.MASTER,
    "MASTER_RX_LOWER_PRI": VrrpRole.MASTER,
    "BACKUP": VrrpRole.BACKUP,
    "FAULT": VrrpRole.FAULT,
    "STOP": VrrpRole.INIT,
    "DELETED": VrrpRole.INIT,
}
_STATES = {0: VrrpRole.INIT, 1: VrrpRole.BACKUP, 2: VrrpRole.MASTER, 3: VrrpRole.FAULT}
# keepalived --signum=JSON: SIGRTMIN + 2 in all versions that have it (2.0.20 to 2.3).
_SIGJSON = signal.SIGRTMIN + 2
_NAME = "keepalived"
_DUMP_SECONDS = 1.0
_POLL_SECONDS = 0.005


def parse_notify(line: str) -> VrrpRole | None:
    """The role in one FIFO line; None for a line without a role."""
    match = _LINE.match(line.strip())
    return _ROLES.get(match["state"]) if match else None


class NotifyFifo:
    """The FIFO's reading end. Keepalived keeps its own end open, so reading never sees an end of file."""

    def __init__(self, path: str = paths.NOTIFY_FIFO) -> None:
        # Read-write, so that the FIFO stays open while Keepalived restarts.
        self.fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._rest = b""
        self.lines = 0
        """The number of lines with a role so far."""

    def listen(self, on_role: Callable[[VrrpRole], None]) -> None:
        """Have the running loop call `on_role` for each role from now on. Older lines in the FIFO are discarded."""
        self.roles()
        asyncio.get_running_loop().add_reader(self.fd, self._read, on_role)

    def _read(self, on_role: Callable[[VrrpRole], None]) -> None:
        for role in self.roles():
            self.lines += 1
            on_role(role)

    def roles(self) -> list[VrrpRole]:
        """All roles since the last call, oldest first."""
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self.fd, 65536):
                self._rest += chunk
        *lines, self._rest = self._rest.split(b"\n")
        found = (parse_notify(line.decode(errors="replace")) for line in lines)
        return [role for role in found if role is not None]

    def close(self) -> None:
        """Close the FIFO."""
        os.close(self.fd)


@dataclass(frozen=True, slots=True)
class VrrpDump:
    """One instance in Keepalived's JSON: its role, and how many adverts it has sent and received since its start."""

    role: VrrpRole
    adverts_sent: int
    adverts_received: int = 0


async def dump(pid_file: str = paths.KEEPALIVED_PID, json_file: str = paths.KEEPALIVED_JSON) -> VrrpDump:
    """Ask Keepalived for its state and wait until it has written it; DaemonError after a second."""
    path = Path(json_file)
    before = _version(path)
    try:
        _ask_for_dump(pid_file)
        async with asyncio.timeout(_DUMP_SECONDS):
            while True:
                # Keepalived renames the file into place before it is complete. A new file may be empty or cut off.
                if _version(path) != before:
                    with contextlib.suppress(ValueError, FileNotFoundError):
                        return parse_dump(path.read_text())
                await asyncio.sleep(_POLL_SECONDS)
    except (OSError, TimeoutError) as error:
        raise DaemonError("Keepalived gives no state", fix="see the log of natpair-keepalived") from error


def _version(path: Path) -> tuple[int, int]:
    """The identity of the file at `path`, which changes with each dump."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0, 0
    return found.st_ino, found.st_mtime_ns


def _ask_for_dump(pid_file: str) -> None:
    # Check the name, too: the signal kills other programs, and a killed Keepalived leaves its pid file.
    running = daemon.named(pid_file, _NAME)
    if running is None:
        raise ProcessLookupError(errno.ESRCH, "Keepalived is not running")
    try:
        running.send(_SIGJSON)
    finally:
        running.close()


def running() -> daemon.Process | None:
    """Keepalived's main process; None while it does not run."""
    return daemon.named(paths.KEEPALIVED_PID, _NAME)


def end(main: daemon.Process) -> None:
    """Send SIGKILL to Keepalived's main process and its children. Either may hang, and neither may
    outlive the other.
    """
    children: list[int] = []
    with contextlib.suppress(OSError, ValueError):
        children = [int(pid) for pid in Path(f"/proc/{main.pid}/task/{main.pid}/children").read_text().split()]
    main.send(signal.SIGKILL)
    for pid in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def parse_dump(text: str) -> VrrpDump:
    """The first VRRP instance of a JSON dump; ValueError if there is none."""
    document = json.loads(text)
    try:
        first = (document["vrrp"] if isinstance(document, dict) else document)[0]
        counted = first["stats"]
        role = _STATES[int(first["data"]["state"])]
        return VrrpDump(role, int(counted["advert_sent"]), int(counted["advert_rcvd"]))
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError("no VRRP instance in the dump") from error


def write_track(path: str, value: int) -> bool:
    """Set a track file by rename, which Keepalived's inotify sees at once. False if it had that value already."""
    text = f"{value}\n"
    with contextlib.suppress(FileNotFoundError, UnicodeDecodeError):
        if read_small(path) == text:
            return False
    write_atomic(Path(path), text, sync=False)
    return True
