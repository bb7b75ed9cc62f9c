"""Additional sockets of a serving emulator, opened and closed from the threads of a World."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from natpair_lab.emulator.app import Emulator

_SECONDS = 10.0


class Doors:
    """One additional socket at a time, usable while `of` runs."""

    def __init__(self) -> None:
        self._emulator: Emulator | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stack = AsyncExitStack()

    @asynccontextmanager
    async def of(self, emulator: Emulator) -> AsyncIterator[None]:
        """Let sockets lead to this emulator; closes what is open at the end."""
        self._emulator, self._loop = emulator, asyncio.get_running_loop()
        try:
            yield
        finally:
            self._emulator = self._loop = None
            await self._stack.aclose()

    def open(self, listener: socket.socket) -> None:
        """Also serve on a listening socket. Do not call it from the event loop's own thread."""
        if self._emulator is None:
            listener.close()
            return
        self._in_loop(self._open(self._emulator, listener))

    def close(self) -> None:
        """Close the socket and every connection that it accepted. Do not call it from the event loop's own thread."""
        if self._emulator is not None:
            self._in_loop(self._stack.aclose())

    async def _open(self, emulator: Emulator, listener: socket.socket) -> None:
        await self._stack.enter_async_context(emulator.listening(listener))

    def _in_loop(self, work: Coroutine[Any, Any, None]) -> None:
        if self._loop is not None:
            asyncio.run_coroutine_threadsafe(work, self._loop).result(_SECONDS)
