"""Talks to the agent of this machine over its unix socket. Standard library only: `status` must start fast."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any

from natpair.core.paths import AGENT_SOCKET
from natpair.errors import AgentUnreachable

_CURE = "is natpair-agent running? See 'systemctl status natpair-agent'"


class _UnixConnection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(AGENT_SOCKET)


def request(method: str, path: str, body: object = None, *, timeout: float = 3.0) -> tuple[int, dict[str, Any]]:
    """The status and the JSON document of one request; AgentUnreachable if there is no agent or no answer."""
    connection = _UnixConnection("localhost", timeout=timeout)
    try:
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise AgentUnreachable(f"no agent answers on {AGENT_SOCKET}", cure=_CURE) from error
    finally:
        connection.close()
