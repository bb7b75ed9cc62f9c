"""`natpair switchover | failback | drain | undrain`: ask the agent, wait until it is done, print the result."""

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

_force = click.option("--force", is_flag=True, help="Do it even if the other node is not ready; flows may break.")
_wait = click.option("--wait", is_flag=True, help="If it is refused, retry until it works or --timeout.")
_timeout = click.option(
    "--timeout",
    type=click.FloatRange(0, 86_400),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long --wait retries.",
)
_json = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")


@click.command(name="switchover", epilog="Example: natpair switchover --wait --timeout 30")
@_force
@_wait
@_timeout
@_json
def switchover(force: bool, wait: bool, timeout: float, as_json: bool) -> None:
    """Move the active role to the other node without losing a packet. Works on either node; returns when it is done.

    It is refused (exit code 75) while the other node is not ready: not in sync, unhealthy, drained or not responding.
    It then says how many flows --force would break.
    """
    _ask("switchover", force=force, until=_until(wait, timeout), as_json=as_json)


@click.command(name="failback", epilog="Example: natpair failback")
@_wait
@_timeout
@_json
def failback(wait: bool, timeout: float, as_json: bool) -> None:
    """Give the active role to the node that `pair.prefer` names; do nothing if it has the role already.

    This is an ordinary switchover: it loses no packet, and it is refused while that node is not ready. The role
    returns automatically only if `pair.failback_seconds` is set.
    """
    status = client.status()
    preferred = status.preferred
    if not preferred:
        raise NotReady("pair.prefer is not set", fix='set pair.prefer = "NAME" in gateway.toml and apply it')
    if status.active_node == preferred:
        message = f"{preferred} is active already"
        if as_json:
            emit_json({"schema": "natpair/failback/v1", "ok": True, "message": message, "fix": ""})
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
    """Take this node out of service until `natpair undrain`, also after a reboot. An active node hands over first.

    If the other node dies, a drained node still takes over, because otherwise there would be no gateway.
    """
    _ask("drain", force=force, until=_until(wait, timeout), as_json=as_json)
    if not as_json:
        _say_who_carries()


@click.command(name="undrain", epilog="Example: natpair undrain")
@_json
def undrain(as_json: bool) -> None:
    """End the drain: this node may become active again. The active role does not move now."""
    _ask("undrain", force=False, until=0.0, as_json=as_json)


def _until(wait: bool, timeout: float) -> float:
    return time.monotonic() + timeout if wait else 0.0


def _ask(verb: str, *, force: bool, until: float, as_json: bool, shown: str = "") -> None:
    answer = _answer(verb, force, until)
    if as_json:
        emit_json({"schema": f"natpair/{shown or verb}/v1", **asdict(answer)})
    if not answer.ok:
        _say_what_is_lost()
        raise NotReady(answer.message or "refused", fix=answer.fix)
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
    """Print how many flows --force would break, if this node knows."""
    sync = client.status().sync
    if sync.flows_missing is not None:
        sign = symbols(sys.stderr).warning
        talk(f"{sign} --force would break up to {sync.flows_missing} of {sync.flows} flows")


def _say_who_carries() -> None:
    status = client.status()
    if status.active_node == status.peer:
        say(f"{symbols().good} {status.peer} is active; {status.node} stays drained until `natpair undrain`")
    else:
        talk(f"{symbols(sys.stderr).warning} {status.peer} is not active yet: see natpair status")
