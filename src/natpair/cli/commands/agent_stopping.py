"""`natpair agent-stopping`: runs before natpair as a whole is stopped, such as at a reboot (ExecStop)."""

from __future__ import annotations

import click

from natpair.cli.client import request
from natpair.cli.node import HTTP_OK, status_or_none
from natpair.cli.output import talk
from natpair.errors import AgentUnreachable

_ANSWER_SECONDS = 25.0


@click.command(name="agent-stopping", epilog="Example: natpair agent-stopping")
def command() -> None:
    """Give the role to the other node, if this one has it and the other is ready. It never holds up the stop for long.

    systemd runs it first when the machine or all of natpair is stopped; a restart of the agent alone is no reason.
    """
    status = status_or_none()
    if status is None or status["role"] != "active":
        return
    try:
        code, answer = request("POST", "/v1/switchover", {}, timeout=_ANSWER_SECONDS)
    except AgentUnreachable as error:
        talk(f"not handed over: {error.message}")
        return
    said = answer.get("message", "")
    talk(f"handed over: {said}" if code == HTTP_OK else f"not handed over: {said}")
