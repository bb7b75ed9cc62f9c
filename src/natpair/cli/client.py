"""How commands talk to this machine's agent. Every error says how to fix it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from natpair.cli import complete
from natpair.core.paths import AGENT_SOCKET, APPLIED, CONFIG, WAITING
from natpair.core.status import Status
from natpair.errors import AgentUnreachable
from natpair.system import agentsocket
from natpair.system.agentsocket import Answer

_FIX = "check whether natpair-agent is running: 'systemctl status natpair-agent'"
_OTHER = "the agent may be of another version: run 'systemctl restart natpair-agent', which loses no packet"
_NO_NODE = "run natpair init to write a gateway.toml, or natpair lab up to try a pair in a lab"


T = TypeVar("T")


def status() -> Status:
    """The agent's status of this node. Raise AgentUnreachable if no agent answers."""
    return _reached(agentsocket.status)


def status_document() -> Any:
    """The same status as the JSON document that the agent sent."""
    return _reached(agentsocket.status_document)


def order(verb: str, *, force: bool = False) -> Answer:
    """Tell the agent to do something, such as `switchover`; AgentUnreachable as above."""
    return _reached(lambda: agentsocket.order(verb, force=force))


def _reached(ask: Callable[[], T]) -> T:
    try:
        return ask()
    except OSError as error:
        raise _unreachable() from error
    except ValueError as error:
        raise AgentUnreachable(f"cannot understand the agent's answer: {error}", fix=_OTHER) from error


def _unreachable() -> AgentUnreachable:
    """The error if no agent answers. On a machine that is no node, it points to a running lab or to `natpair init`."""
    reason, _, fix = waits_for().partition("\n")
    if reason:
        return AgentUnreachable(f"the agent is waiting: {reason}", fix=fix.strip() or _FIX)
    if Path(CONFIG).exists() or Path(APPLIED).exists():
        return AgentUnreachable(f"no agent answers on {AGENT_SOCKET}", fix=_FIX)
    labs = complete.running()
    if not labs:
        return AgentUnreachable(f"this machine is not a node: it has no {CONFIG}", fix=_NO_NODE)
    name = "" if labs[0] == "lab" else f" --name {labs[0]}"
    node = next(iter(complete.nodes_of(labs[0])), "nat-a")
    up = f"a lab is running: {labs[0]}" if len(labs) == 1 else f"labs are running: {', '.join(labs)}"
    look = f"run natpair lab exec{name} {node} -- natpair status, or natpair lab status{name}"
    return AgentUnreachable(f"this machine is not a node: it has no {CONFIG}; {up}", fix=look)


def waits_for(path: str = WAITING) -> str:
    """What an agent that cannot start yet is waiting for, and on the next line the fix; empty if none waits."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
