"""The commands' way to the agent of this machine: what goes wrong there is said with its cure."""

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

_CURE = "is natpair-agent running? See 'systemctl status natpair-agent'"
_OTHER = "is it of this version? 'systemctl restart natpair-agent' costs no packet"
_NO_NODE = "natpair init writes a first gateway.toml; natpair lab up boots a pair to try it with"


T = TypeVar("T")


def status() -> Status:
    """What the agent says of this node; AgentUnreachable if there is no agent or no answer."""
    return _reached(agentsocket.status)


def status_document() -> Any:
    """The same as the agent wrote it, to be printed."""
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
        raise AgentUnreachable(f"the agent's answer is not understood: {error}", cure=_OTHER) from error


def _unreachable() -> AgentUnreachable:
    """No agent: on a machine that never was a node there is nothing to be started, but perhaps a lab to look into."""
    reason, _, cure = waits_for().partition("\n")
    if reason:
        return AgentUnreachable(f"the agent is waiting: {reason}", cure=cure.strip() or _CURE)
    if Path(CONFIG).exists() or Path(APPLIED).exists():
        return AgentUnreachable(f"no agent answers on {AGENT_SOCKET}", cure=_CURE)
    labs = complete.running()
    if not labs:
        return AgentUnreachable(f"this machine is no node: it has no {CONFIG}", cure=_NO_NODE)
    name = "" if labs[0] == "lab" else f" --name {labs[0]}"
    node = next(iter(complete.nodes_of(labs[0])), "nat-a")
    up = f"a lab is up: {labs[0]}" if len(labs) == 1 else f"labs are up: {', '.join(labs)}"
    look = f"natpair lab exec{name} {node} -- natpair status, or natpair lab status{name}"
    return AgentUnreachable(f"this machine is no node: it has no {CONFIG}; {up}", cure=look)


def waits_for(path: str = WAITING) -> str:
    """What an agent that cannot begin yet is waiting for, and below it the cure; empty if none waits."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
