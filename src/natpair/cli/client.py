"""The commands' way to the agent of this machine: what goes wrong there is said with its cure."""

from __future__ import annotations

from typing import Any

from natpair.core.paths import AGENT_SOCKET
from natpair.errors import AgentUnreachable
from natpair.system.agentsocket import ask

_CURE = "is natpair-agent running? See 'systemctl status natpair-agent'"


def request(method: str, path: str, body: object = None, *, timeout: float = 3.0) -> tuple[int, dict[str, Any]]:
    """The status and the JSON document of one request; AgentUnreachable if there is no agent or no answer."""
    try:
        return ask(method, path, body, timeout=timeout)
    except (OSError, ValueError) as error:
        raise AgentUnreachable(f"no agent answers on {AGENT_SOCKET}", cure=_CURE) from error
