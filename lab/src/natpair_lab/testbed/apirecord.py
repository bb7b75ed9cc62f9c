"""The record of the process that serves a lab's emulated account: `natpair lab down` ends it, `status` names it."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from natpair.errors import LabError
from natpair.system.files import write_atomic
from natpair_lab.testbed.host import InitRef, end
from natpair_lab.testbed.spawn import start_time
from natpair_lab.testbed.wait import wait_until

FILE = "api.json"
LOG = "api.log"
"""The output of a server in the background, beside its record."""
_END_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class ApiRecord:
    """One serving process. `url` is for this machine, `inside` for the lab's hosts once there are any."""

    process: InitRef
    url: str
    inside: str

    @property
    def alive(self) -> bool:
        """Whether the process still serves."""
        return self.process.alive()


def write(folder: Path, url: str, inside: str) -> None:
    """Put this process on record in the lab's folder."""
    pid = os.getpid()
    document = {"pid": pid, "started": start_time(pid), "url": url, "inside": inside}
    write_atomic(folder / FILE, json.dumps(document) + "\n", sync=False)


def read(folder: Path) -> ApiRecord | None:
    """The record in `folder`, also of a process that has ended; None if there never was one."""
    try:
        raw = json.loads((folder / FILE).read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return ApiRecord(InitRef(raw["pid"], raw["started"]), raw["url"], raw["inside"])


def forget(folder: Path) -> None:
    """Remove the record."""
    (folder / FILE).unlink(missing_ok=True)


def stop(folder: Path) -> None:
    """End the process on record: in an orderly way first, then by force. It removes the lab if it made it."""
    record = read(folder)
    if record is None or not record.alive or record.process.pid == os.getpid():
        return
    try:
        descriptor = os.pidfd_open(record.process.pid)
    except ProcessLookupError:
        return
    try:
        if record.alive:  # checked after opening: from now on the PID cannot become another process
            signal.pidfd_send_signal(descriptor, signal.SIGTERM)
    finally:
        os.close(descriptor)
    try:
        wait_until(lambda: not record.alive, deadline_seconds=_END_SECONDS, what="the end of the emulated API")
    except LabError:
        end(record.process)
