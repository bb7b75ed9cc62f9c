"""`natpair switchover | failback | drain | undrain`: asks the agent, waits for the end, says what happened."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict

import click

from natpair.cli import client
from natpair.cli.output import emit_json, say, symbols, talk
from natpair.errors import NotReady
from natpair.system.agentsocket import Answer
from natpair.system.wait import ticks

_RETRY_SECONDS = 1.0

_force = click.option("--force", is_flag=True, help="Even if the other node is not ready; flows may break.")
_wait = click.option("--wait", is_flag=True, help="While it is refused, ask again until it works.")
_timeout = click.option(
    "--timeout",
    type=click.FloatRange(0, 86_400),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long --wait goes on.",
)
_json = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")


@click.command(name="switchover", epilog="Example: natpair switchover --wait --timeout 30")
@_force
@_wait
@_timeout
@_json
def switchover(force: bool, wait: bool, timeout: float, as_json: bool) -> None:
    """Move the active role to the other node, losing no packet. Works from either node; ends when it is done.

    Refused (exit code 75) while the other node is not ready: not in sync, unhealthy, drained or silent. It says what
    going on with --force would lose.
    """
    _ask("switchover", force=force, until=_until(wait, timeout), as_json=as_json)


@click.command(name="failback", epilog="Example: natpair failback")
@_wait
@_timeout
@_json
def failback(wait: bool, timeout: float, as_json: bool) -> None:
    """Give the active role to the node that `pair.prefer` names; nothing happens if it has it already.

    A switchover like any other: refused while that node is not ready, and it loses no packet. By itself the role
    goes back only if `pair.failback_seconds` is set.
    """
    status = client.status()
    preferred = status.preferred
    if not preferred:
        raise NotReady("no node is preferred", cure='set pair.prefer = "NAME" in gateway.toml and apply it')
    if status.active_node == preferred:
        message = f"{preferred} is active already"
        if as_json:
            emit_json({"schema": "natpair/failback/v1", "ok": True, "message": message, "cure": ""})
        else:
            say(f"{symbols().good} {message}")
        return
    _ask("switchover", shown="failback", force=False, until=_until(wait, timeout), as_json=as_json)


@click.command(name="drain", epilog="Example: natpair drain")
@_force
@_wait
@_timeout
@_json
def drain(force: bool, wait: bool, timeout: float, as_json: bool) -> None:
    """Take this node out of service: an active one hands over first. Survives a reboot, until `undrain`.

    If the other node dies meanwhile, a drained node still serves rather than nobody.
    """
    _ask("drain", force=force, until=_until(wait, timeout), as_json=as_json)
    if not as_json:
        _say_who_carries()


@click.command(name="undrain", epilog="Example: natpair undrain")
@_json
def undrain(as_json: bool) -> None:
    """Let this node become active again when it is its turn. It does not take the role by itself."""
    _ask("undrain", force=False, until=0.0, as_json=as_json)


def _until(wait: bool, timeout: float) -> float:
    return time.monotonic() + timeout if wait else 0.0


def _ask(verb: str, *, force: bool, until: float, as_json: bool, shown: str = "") -> None:
    answer = _answer(verb, force, until)
    if as_json:
        emit_json({"schema": f"natpair/{shown or verb}/v1", **asdict(answer)})
    if not answer.ok:
        _say_what_is_lost()
        raise NotReady(answer.message or "refused", cure=answer.cure)
    if not as_json:
        say(f"{symbols().good} {answer.message}")


def _answer(verb: str, force: bool, until: float) -> Answer:
    told, turns = "", ticks(_RETRY_SECONDS)
    while True:
        next(turns)
        answer = client.order(verb, force=force)
        if answer.ok or time.monotonic() >= until:
            return answer
        if answer.message != told:
            told = answer.message
            talk(f"{symbols(sys.stderr).bullet} waiting: {told}")


def _say_what_is_lost() -> None:
    """What going on by force would cost, if this node can tell."""
    sync = client.status().sync
    if sync.flows_missing is not None:
        sign = symbols(sys.stderr).warning
        talk(f"{sign} by force, up to {sync.flows_missing} of {sync.flows} flows would break")


def _say_who_carries() -> None:
    status = client.status()
    if status.active_node == status.peer:
        say(f"{symbols().good} {status.peer} carries the traffic; {status.node} stays out until `natpair undrain`")
    else:
        talk(f"{symbols(sys.stderr).warning} {status.peer} does not carry the traffic (yet): see natpair status")
