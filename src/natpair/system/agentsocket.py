"""One request to an agent's control socket: HTTP and JSON on a unix socket.

Standard library only: `natpair status` must start fast, and it starts here.
"""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path
from typing import Any

from natpair.core.paths import AGENT_SOCKET


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def ask(
    method: str, path: str, body: object = None, *, timeout: float, socket_path: Path = Path(AGENT_SOCKET)
) -> tuple[int, Any]:
    """Status and JSON of one request; OSError or ValueError if there is no agent or no sensible answer."""
    connection = _UnixConnection(socket_path, timeout)
    try:
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, {"Content-Type": "application/json"} if text else {})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    except http.client.HTTPException as error:
        raise OSError(f"the agent's answer is no HTTP: {error!r}") from error
    finally:
        connection.close()
