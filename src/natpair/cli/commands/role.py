"""`natpair switchover | drain | undrain`: asks the agent, waits for the end, says what happened."""

from __future__ import annotations

import click

from natpair.cli.client import request
from natpair.cli.output import emit_json, say, symbols
from natpair.errors import NotReady

_WAIT_SECONDS = 25.0
_OK = 200


def _ask(verb: str, *, force: bool, as_json: bool) -> None:
    code, answer = request("POST", f"/v1/{verb}", {"force": force}, timeout=_WAIT_SECONDS)
    if as_json:
        emit_json({"schema": f"natpair/{verb}/v1", **answer})
    if code != _OK:
        raise NotReady(str(answer.get("message", "refused")), cure=str(answer.get("cure", "")))
    if not as_json:
        say(f"{symbols().good} {answer['message']}")


_force = click.option("--force", is_flag=True, help="Even if the other node is not ready; flows may break.")
_json = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")


@click.command(name="switchover", epilog="Example: natpair switchover")
@_force
@_json
def switchover(force: bool, as_json: bool) -> None:
    """Move the active role to the other node, losing no packet. Works from either node; ends when it is done.

    Refused (exit code 75) while the other node is not ready: not in sync, unhealthy, drained or silent.
    """
    _ask("switchover", force=force, as_json=as_json)


@click.command(name="drain", epilog="Example: natpair drain")
@_force
@_json
def drain(force: bool, as_json: bool) -> None:
    """Take this node out of service: an active one hands over first. Survives a reboot, until `undrain`.

    If the other node dies meanwhile, a drained node still serves rather than nobody.
    """
    _ask("drain", force=force, as_json=as_json)


@click.command(name="undrain", epilog="Example: natpair undrain")
@_json
def undrain(as_json: bool) -> None:
    """Let this node become active again when it is its turn. It does not take the role by itself."""
    _ask("undrain", force=False, as_json=as_json)
