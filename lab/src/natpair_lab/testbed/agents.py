"""Asking the nodes' agents from outside: their control sockets, reached through the nodes' file systems."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from typing import Any

from natpair.core.paths import AGENT_SOCKET
from natpair.system import agentsocket
from natpair_lab.testbed.host import InitRef

_ASK_SECONDS = 2.0


def ask(ref: InitRef, method: str, path: str, body: object = None, *, timeout: float) -> tuple[int, Any]:
    """One request to the agent of the node behind `ref`: status and JSON. OSError or ValueError if that fails."""
    # By way of /proc/PID/root the path stays far below the 108 bytes of sun_path.
    return agentsocket.ask(method, path, body, timeout=timeout, socket_path=ref.path(AGENT_SOCKET))


def agent_status(ref: InitRef) -> dict[str, Any] | None:
    """The agent's status document; None if it does not give one."""
    try:
        code, document = ask(ref, "GET", "/v1/status", timeout=_ASK_SECONDS)
    except (OSError, ValueError):
        return None
    return document if code == http.client.OK and isinstance(document, dict) else None


def roles(statuses: Mapping[str, Mapping[str, Any] | None]) -> tuple[str, str] | None:
    """(active, standby) if exactly one node is active with its change complete and the other could take over now."""
    active = [n for n, s in statuses.items() if s and s.get("role") == "active" and s.get("change_complete")]
    standby = [
        n for n, s in statuses.items() if s and s.get("role") == "standby" and s.get("synced") and s.get("eligible")
    ]
    claims = [n for n, s in statuses.items() if s and s.get("role") == "active"]
    return (active[0], standby[0]) if len(active) == len(standby) == len(claims) == 1 else None
