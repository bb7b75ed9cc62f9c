"""`natpair prepare`: set up the kernel and /run before the pair's daemons start. systemd runs it; so may you."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from natpair.cli.node import resume_apply
from natpair.cli.output import talk
from natpair.core import paths
from natpair.errors import CommandFailed

if TYPE_CHECKING:
    from natpair.apply.reload import Step

_FOLDERS = (
    (paths.VAR, 0o750),
    (paths.RUN, 0o755),
    (paths.TRACK, 0o755),
    (paths.BIRD_RUN, 0o755),
    (paths.KEEPALIVED_TMP, 0o700),
)
_PATIENCE_SECONDS = 300.0
"""A machine may be slow while it boots. A step that times out is retried this long; a refused step fails at once."""
_NO_SUCH_INTERFACE = "Cannot find device"


@click.command(name="prepare", epilog="Example: natpair prepare")
def command() -> None:
    """Create /run, load kernel settings, closed ruleset, egress guard and blackhole routes, then enable forwarding.

    On a node in service it changes neither role nor traffic. If an interface does not exist yet, the agent does that
    interface's part when the interface appears.
    """
    from natpair.apply.reload import Step

    _make_run()
    resume_apply()
    for step in (Step.MODULES, Step.SYSCTL, Step.RULESET, Step.GUARD, Step.ROUTES, Step.FORWARDING):
        talk(f"{step.value}")
        _perform(step)


def _perform(step: Step) -> None:
    from natpair.apply.reload import perform

    end = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            perform(step)
        except CommandFailed as error:
            if _NO_SUCH_INTERFACE in error.message:
                talk(f"{step.value}: the interface does not exist yet; the agent does this when it appears")
                return
            if error.rc is not None or time.monotonic() >= end:
                raise
            talk(f"{step.value}: {error.message.splitlines()[0]}; trying again")
        else:
            return


def _make_run() -> None:
    for folder, mode in _FOLDERS:
        Path(folder).mkdir(mode=mode, parents=True, exist_ok=True)
    fifo = Path(paths.NOTIFY_FIFO)
    # We create the FIFO: Keepalived unlinks one that it made itself at every reload.
    if not fifo.exists() or not stat.S_ISFIFO(fifo.stat().st_mode):
        fifo.unlink(missing_ok=True)
        os.mkfifo(fifo, 0o600)
    boost = Path(paths.TRACK_BOOST)
    if not boost.exists():
        boost.write_text("0\n")
    if not Path(paths.BIRD_ROLE).exists():
        Path(paths.BIRD_ROLE).write_bytes(Path(paths.BIRD_ROLE_STANDBY).read_bytes())
