"""`natpair agent-stopping`: runs before natpair as a whole is stopped, such as at a reboot (ExecStop)."""

from __future__ import annotations

import click

from natpair.cli.output import talk
from natpair.core.status import Role
from natpair.system import agentsocket


@click.command(name="agent-stopping", epilog="Example: natpair agent-stopping")
def command() -> None:
    """Give the role to the other node, if this one has it and the other is ready. It never holds up the stop for long.

    systemd runs it first when the machine or all of natpair is stopped; a restart of the agent alone is no reason.
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
