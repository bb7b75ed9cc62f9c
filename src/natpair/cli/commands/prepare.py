"""`natpair prepare`: what has to stand before a daemon of the pair starts. systemd runs it; so may you."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import click

from natpair.cli.node import resume_apply
from natpair.cli.output import talk
from natpair.core import paths

_FOLDERS = (
    (paths.VAR, 0o750),
    (paths.RUN, 0o755),
    (paths.TRACK, 0o755),
    (paths.BIRD_RUN, 0o755),
    (paths.KEEPALIVED_TMP, 0o700),
)


@click.command(name="prepare", epilog="Example: natpair prepare")
def command() -> None:
    """Load kernel settings, the closed ruleset, the egress guard and the blackhole routes, then forward; make /run.

    Running it again on a node that serves changes neither its role nor its traffic.
    """
    from natpair.system.reload import Step, perform

    _make_run()
    resume_apply()
    for step in (Step.MODULES, Step.SYSCTL, Step.RULESET, Step.GUARD, Step.ROUTES, Step.FORWARDING):
        talk(f"{step.value}")
        perform(step)


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
