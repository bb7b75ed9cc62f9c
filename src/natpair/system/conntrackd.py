"""conntrackd by its control socket: one native integer in, text out until it closes (conntrackd 1.4.7, local.c)."""

from __future__ import annotations

import asyncio
import os
import struct
import time
from enum import IntEnum
from pathlib import Path

from natpair.core import paths
from natpair.core.actions import ConntrackJob
from natpair.errors import DaemonError


class Command(IntEnum):
    """The numbers behind the options of conntrackd(8), seen on the wire of version 1.4.7."""

    SEND_BULK = 22  # -B
    REQUEST_DUMP = 23  # -n
    STATS = 21  # -s
    FLUSH_INTERNAL = 33  # -f internal
    RESYNC_KERNEL = 44  # -R


JOBS: dict[ConntrackJob, tuple[Command, ...]] = {
    ConntrackJob.COMPLETE: (Command.RESYNC_KERNEL, Command.SEND_BULK),
    ConntrackJob.BULK: (Command.SEND_BULK,),
    ConntrackJob.ABANDON: (Command.FLUSH_INTERNAL, Command.REQUEST_DUMP),
}


async def command(what: Command, *, socket: str = paths.CONNTRACKD_CTL, seconds: float = 10.0) -> str:
    """conntrackd's answer to `what`; DaemonError if it does not respond for `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_unix_connection(socket)
            try:
                writer.write(struct.pack("=i", what))
                await writer.drain()
                return (await reader.read()).decode(errors="replace")
            finally:
                writer.close()
    except (OSError, TimeoutError) as error:
        fix = "see the log of natpair-conntrackd"
        raise DaemonError(f"conntrackd does not answer {what.name} on {socket}", fix=fix) from error


async def job(which: ConntrackJob) -> None:
    """Run the commands of `which` in order; DaemonError at the first that fails."""
    for what in JOBS[which]:
        await command(what)


def started_within(seconds: float, socket: str = paths.CONNTRACKD_CTL) -> bool:
    """True if conntrackd was started within that time, from the age of its control socket."""
    try:
        return time.time() - Path(socket).stat().st_ctime < seconds
    except OSError:
        return False


def incarnation(socket: str = paths.CONNTRACKD_CTL) -> int:
    """A number that changes when conntrackd is restarted; 0 while it is not running."""
    try:
        status = os.stat(socket)  # noqa: PTH116 - twice a second: pathlib costs more than the call
    except OSError:
        return 0
    return hash((status.st_ino, status.st_ctime_ns))
