"""`natpair prepare`: what has to stand before a daemon of the pair starts. systemd runs it; so may you."""

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
"""A machine may be slow while it boots. What is refused is refused at once; what takes too long is tried again."""
_NO_SUCH_INTERFACE = "Cannot find device"


@click.command(name="prepare", epilog="Example: natpair prepare")
def command() -> None:
    """Load kernel settings, the closed ruleset, the egress guard and the blackhole routes, then forward; make /run.

    Running it again on a node that serves changes neither its role nor its traffic. What is for an interface that is
    not there yet is left to the agent, which does it when the interface comes.
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
                talk(f"{step.value}: its interface is not there yet; the agent does this when it comes")
                return
            if error.rc is not None or time.monotonic() >= end:
                raise
            talk(f"{step.value}: {error.message.splitlines()[0]}; once more")
        else:
            return


def _make_run() -> None:
    for folder, mode in _FOLDERS:
        Path(folder).mkdir(mode=mode, parents=True, exist_ok=True)
    fifo = Path(paths.NOTIFY_FIFO)
    # Ours from the start: a FIFO that Keepalived makes itself is unlinked at every reload.
    if not fifo.exists() or not stat.S_ISFIFO(fifo.stat().st_mode):
        fifo.unlink(missing_ok=True)
        os.mkfifo(fifo, 0o600)
    boost = Path(paths.TRACK_BOOST)
    if not boost.exists():
        boost.write_text("0\n")
    if not Path(paths.BIRD_ROLE).exists():
        Path(paths.BIRD_ROLE).write_bytes(Path(paths.BIRD_ROLE_STANDBY).read_bytes())
