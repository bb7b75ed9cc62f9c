"""`natpair agent-stopping`: systemd runs it before all of natpair stops, such as at a reboot (ExecStop)."""

from __future__ import annotations

import click

from natpair.cli.output import talk
from natpair.core.status import Role
from natpair.system import agentsocket


@click.command(name="agent-stopping", epilog="Example: natpair agent-stopping")
def command() -> None:
    """Hand the active role to the other node if this node has it and the other is ready.

    It never delays a stop for long. systemd runs it first when the machine or all of natpair stops, but not when only
    the agent restarts.
    """
    status = agentsocket.status_or_none()
    if status is None or status.role is not Role.ACTIVE:
        return
    try:
        answer = agentsocket.order("switchover")
    except (OSError, ValueError) as error:
        talk(f"not handed over: {error}")
        return
    talk(f"{'handed over' if answer.ok else 'not handed over'}: {answer.message}")
