"""Name lookups that do not delay the end of a process if the name server does not respond.

The event loop's own thread pool is joined at the end of a process, and a lookup cannot be cancelled:
with two unresponsive name servers that took 20 s and more. A daemon thread does not block the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult


class DaemonResolver(AbstractResolver):
    """The system's resolver, one daemon thread a lookup. OSError for a name that is not found."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of `host`, as aiohttp wants them."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[Any]] = loop.create_future()
        thread = threading.Thread(target=_look_up, args=(loop, answer, host, port, family), daemon=True)
        thread.start()
        return [_result(host, port, *entry) for entry in await answer]

    async def close(self) -> None:
        """There is nothing to close."""


def _look_up(
    loop: asyncio.AbstractEventLoop,
    answer: asyncio.Future[list[Any]],
    host: str,
    port: int,
    family: socket.AddressFamily,
) -> None:
    found: list[Any] | OSError
    try:
        found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    except OSError as error:
        found = error
    # The loop may have ended meanwhile, and then no task waits.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(_settle, answer, found)


def _settle(answer: asyncio.Future[list[Any]], found: list[Any] | OSError) -> None:
    if answer.done():
        return
    if isinstance(found, OSError):
        answer.set_exception(found)
    else:
        answer.set_result(found)


def _result(
    hostname: str, port: int, family: socket.AddressFamily, _kind: int, proto: int, _name: str, address: tuple[Any, ...]
) -> ResolveResult:
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return ResolveResult(
        hostname=hostname, host=str(address[0]), port=port, family=family, proto=proto, flags=int(flags)
    )
