"""The emulator's HTTP front end: dispatches requests, injects faults, advances time, and notifies the World.

Everything that changes the account runs in the event loop, one request at a time. Only the World's callbacks run
elsewhere: in a thread, one at a time and in order.
"""

from __future__ import annotations

import asyncio
import html
import re
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from natpair.errors import NatpairError
from natpair_lab.emulator import lifecycle
from natpair_lab.emulator.api import Api, Reply, Request, error_reply, read_body, reply
from natpair_lab.emulator.control import Control, Served
from natpair_lab.emulator.faults import Fault, Kind
from natpair_lab.emulator.refused import Refused, error_body
from natpair_lab.emulator.tokens import missing_scope
from natpair_lab.emulator.world import Boot, Notice, NoWorld, ShutDown, World, tell

_VERSIONED = re.compile(r"/v4(?:beta)?(/.*)")
_CONTROL = "/_emulator"
# The longest sleep of the clockwork while a Linode is changing its state; the injected clock may run at its own pace.
_TICK_SECONDS = 0.1
_HUGE = b'{"data": "' + b"x" * (16 * 1024 * 1024) + b'"}'


class Emulator:
    """The server. `clock` gives seconds since the epoch."""

    def __init__(
        self, api: Api | None = None, *, world: World | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self.api = api or Api()
        self.control = Control(self.api)
        self._world = world or NoWorld()
        self._clock = clock
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()

    @asynccontextmanager
    async def serving(self, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
        """Serve while the block runs; yields the address, `http://127.0.0.1:18080`.

        OSError if the address is in use.
        """
        runner = await self._runner()
        try:
            site = web.TCPSite(runner, host, port)
            await site.start()
            bound = runner.addresses[0][1]
            async with asyncio.TaskGroup() as group:
                clockwork = group.create_task(self._clockwork())
                yield f"http://{host}:{bound}"
                clockwork.cancel()
        finally:
            self._stopping.set()
            await runner.cleanup()

    @asynccontextmanager
    async def listening(self, listener: socket.socket) -> AsyncIterator[None]:
        """Also serve on another socket while the block runs; its connections end with the block."""
        runner = await self._runner()
        try:
            await web.SockSite(runner, listener).start()
            yield
        finally:
            await runner.cleanup()

    async def _runner(self) -> web.AppRunner:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._serve)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        return runner

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        path = request.rel_url.raw_path
        if path.startswith(f"{_CONTROL}/"):
            return _response(await self._control(request, path.removeprefix(_CONTROL)))
        versioned = _VERSIONED.fullmatch(path)
        if versioned is None:
            return _response(error_reply(404, "Not found"))
        asked = Request(request.method, versioned[1], request.query, request.headers, await request.read())
        fault = self.control.faults.take(asked.method, asked.path)
        with self.control.answering(request.remote or ""):
            answered = await self._strike(fault, asked) if fault else self._answer(asked)
        served = Served(asked.method, asked.path, answered.status if answered else 0, fault.kind if fault else None)
        self.control.served.append(served)
        if answered is None:
            return _hang_up(request)
        if fault and fault.kind is Kind.HALF:
            return await _half(request, answered)
        return _response(answered)

    def _answer(self, asked: Request) -> Reply:
        answered = self.api.answer(asked, self._clock())
        self._wake.set()
        return answered

    async def _strike(self, fault: Fault, asked: Request) -> Reply | None:
        """The answer that a fault turns a request into; None ends the connection."""
        extra = {} if fault.retry_after is None else {"Retry-After": fault.retry_after}
        match fault.kind:
            case Kind.STATUS:
                return error_reply(fault.status, "Internal Server Error", extra)
            case Kind.RATE_LIMIT:
                return error_reply(429, "Too many requests", extra)
            case Kind.SCOPE:
                refused = missing_scope()
                return reply(refused.status, error_body(*refused.complaints), {})
            case Kind.HTML:
                return Reply(200, _page(asked), {}, "text/html")
            case Kind.HUGE:
                return Reply(200, _HUGE, {})
            case Kind.SLOW:
                await self._wait(fault.seconds)
                return self._answer(asked)
            case Kind.HANG:
                await self._wait(None)
                return None
            case Kind.REFUSE:
                return None
            case Kind.HALF:
                return self._answer(asked)
            case Kind.LOST:
                self._answer(asked)
                return None
            case Kind.STATUS_AFTER:
                self._answer(asked)
                return error_reply(fault.status, "Internal Server Error", extra)

    async def _wait(self, seconds: float | None) -> None:
        """Wait, but not longer than the emulator runs."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return

    async def _control(self, request: web.Request, path: str) -> Reply:
        self.api.advance(self._clock())
        try:
            return reply(200, self.control.answer(request.method, path, read_body(await request.read())), {})
        except Refused as refused:
            return reply(refused.status, error_body(*refused.complaints), {})

    async def _clockwork(self) -> None:
        """Advance time between requests, and pass notices to the World."""
        while True:
            self.api.advance(self._clock())
            notices, self.api.store.notices = self.api.store.notices, []
            self.api.in_hand |= {number for notice in notices if (number := _linode_of(notice)) is not None}
            for index, notice in enumerate(notices):
                await self._tell(notice)
                left = {_linode_of(later) for later in notices[index + 1 :]}
                self.api.in_hand = {number for number in self.api.in_hand if number in left}
            if self.api.store.notices or notices:
                continue
            self._wake.clear()
            await self._sleep()

    async def _sleep(self) -> None:
        passing = lifecycle.next_due(self.api.store) is not None
        try:
            async with asyncio.timeout(_TICK_SECONDS if passing else None):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _tell(self, notice: Notice) -> None:
        try:
            await asyncio.to_thread(tell, self._world, notice)
        except NatpairError as error:
            number = _linode_of(notice)
            if number is not None:
                lifecycle.fail(self.api.store, number, error.message)


def _linode_of(notice: Notice) -> int | None:
    """The Linode that waits until the World has handled this notice."""
    match notice:
        case Boot(linode):
            return linode.id
        case ShutDown(linode_id):
            return linode_id
    return None


def _response(answered: Reply) -> web.Response:
    return web.Response(
        status=answered.status,
        body=answered.body,
        headers=dict(answered.headers),
        content_type=answered.content_type,
    )


def _page(asked: Request) -> bytes:
    """What a proxy on the path might return: everything it received, including the token."""
    sent = "".join(f"<li>{html.escape(f'{name}: {value}')}</li>" for name, value in asked.headers.items())
    return f"<html><title>Sign in</title><ul>{sent}</ul></html>".encode()


def _hang_up(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.close()
    return web.Response(status=500)  # never sent: the client has closed the connection


async def _half(request: web.Request, answered: Reply) -> web.StreamResponse:
    """Announce the whole answer, send half of it, close the connection."""
    response = web.StreamResponse(status=answered.status, headers=dict(answered.headers))
    response.content_type = "application/json"
    response.content_length = len(answered.body)
    await response.prepare(request)
    await response.write(answered.body[: len(answered.body) // 2])
    if request.transport is not None:
        request.transport.close()
    return response
