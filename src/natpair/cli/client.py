"""The commands' way to the agent of this machine: what goes wrong there is said with its cure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from natpair.cli import complete
from natpair.core.paths import AGENT_SOCKET, APPLIED, CONFIG, WAITING
from natpair.errors import AgentUnreachable
from natpair.system.agentsocket import ask

_CURE = "is natpair-agent running? See 'systemctl status natpair-agent'"
_NO_NODE = "natpair init writes a first gateway.toml; natpair lab up boots a pair to try it with"


def request(method: str, path: str, body: object = None, *, timeout: float = 3.0) -> tuple[int, dict[str, Any]]:
    """The status and the JSON document of one request; AgentUnreachable if there is no agent or no answer."""
    try:
        return ask(method, path, body, timeout=timeout)
    except (OSError, ValueError) as error:
        raise _unreachable() from error


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
