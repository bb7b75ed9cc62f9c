"""Requests to an agent over its control socket: HTTP and JSON on a unix socket. No other module uses that socket.

Standard library only, and without http.client, which takes longer to import than all the rest of `natpair status`.
"""

from __future__ import annotations

import json
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from natpair.core.paths import AGENT_SOCKET
from natpair.core.status import Status, parse

SECONDS = 3.0
"""Seconds to wait for the status."""
ORDER_SECONDS = 25.0
"""Seconds to wait for a command. The agent answers when it is done, or refuses after some 20 s."""

_OK = 200
_CODE = re.compile(rb"HTTP/1\.[01] (\d{3})\b")


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a command: whether it was done, why not, and how to fix that."""

    ok: bool
    message: str
    fix: str = ""


def status(*, timeout: float = SECONDS, socket_path: Path = Path(AGENT_SOCKET)) -> Status:
    """The agent's status. OSError or ValueError if there is no agent or its answer is unreadable."""
    return parse(status_document(timeout=timeout, socket_path=socket_path))


def status_or_none(*, timeout: float = SECONDS, socket_path: Path = Path(AGENT_SOCKET)) -> Status | None:
    """The agent's status; None if there is no answer."""
    try:
        return status(timeout=timeout, socket_path=socket_path)
    except (OSError, ValueError):
        return None


def status_document(*, timeout: float = SECONDS, socket_path: Path = Path(AGENT_SOCKET)) -> Any:
    """The status as the agent wrote it, to be passed on; OSError or ValueError as for `status`."""
    code, document = _ask("GET", "/v1/status", None, timeout, socket_path)
    if code != _OK:
        raise OSError(f"the agent answers its status with {code}")
    return document


def order(
    verb: str, *, force: bool = False, timeout: float = ORDER_SECONDS, socket_path: Path = Path(AGENT_SOCKET)
) -> Answer:
    """Send the agent a command such as `switchover`. OSError or ValueError as for `status`."""
    code, answer = _ask("POST", f"/v1/{verb}", {"force": force}, timeout, socket_path)
    if not isinstance(answer, dict):
        raise ValueError(f"the agent answers {verb} with {answer!r}")
    return Answer(code == _OK, str(answer.get("message", "")), str(answer.get("fix", "")))


def _ask(method: str, path: str, body: object, timeout: float, socket_path: Path) -> tuple[int, Any]:
    """The code and the JSON of one request. HTTP/1.0: the answer ends with the connection."""
    text = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(timeout)
        line.connect(str(socket_path))
        line.sendall(head.encode() + text)
        with line.makefile("rb") as answer:
            said = answer.read()
    said_head, separator, said_body = said.partition(b"\r\n\r\n")
    found = _CODE.match(said_head)
    if found is None or not separator:
        raise OSError(f"the agent's answer is no HTTP: {said[:40]!r}")
    return int(found[1]), json.loads(said_body)
