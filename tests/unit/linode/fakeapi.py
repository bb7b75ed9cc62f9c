"""A small HTTP server that answers as a test tells it, with every way an API can fail.

Each (method, path) has a list of answers; the last one is given again and again. What came in is kept.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from natpair.linode.client import LinodeClient
from natpair.linode.token import Token
from natpair.linode.transport import Limits, Transport

CANARY = "canary5e2f0c1b7d"
QUICK = Limits(
    connect_seconds=1, try_seconds=1.0, total_seconds=8, tries=4, first_wait_seconds=0.01, longest_wait_seconds=0.05
)

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Seen:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


def ok(body: object = None, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response({} if body is None else body, status=status, headers=headers)

    return answer


def refuse(status: int, reason: str, fields: str | None = None, headers: Mapping[str, str] | None = None) -> Answer:
    error = {"reason": reason} | ({"field": fields} if fields else {})
    return ok({"errors": [error]}, status, headers)


def raw(text: str | bytes, status: int = 200, content_type: str = "text/html") -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=text, status=status, content_type=content_type)

    return answer


def page(items: list[Any]) -> Answer:
    """A list on one page."""
    return ok({"data": items, "page": 1, "pages": 1, "results": len(items)})


def slow(seconds: float, then: Answer) -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(seconds)
        return await then(request)

    return answer


def lost(work: Callable[[], object] | None = None) -> Answer:
    """The work is done, and the connection goes before a byte of the answer."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if work is not None:
            work()
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    return answer


def half(body: object, work: Callable[[], object] | None = None) -> Answer:
    """A length is promised, half of it sent."""

    async def answer(request: web.Request) -> web.StreamResponse:
        if work is not None:
            work()
        whole = json.dumps(body).encode()
        response = web.StreamResponse(headers={"Content-Length": str(len(whole)), "Content-Type": "application/json"})
        await response.prepare(request)
        await response.write(whole[: len(whole) // 2])
        if request.transport is not None:
            request.transport.close()
        return response

    return answer


def calling(make: Callable[[Seen], object]) -> Answer:
    """An answer computed from the request."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response(make(await _seen(request)))

    return answer


async def _seen(request: web.Request) -> Seen:
    text = await request.text()
    path = request.path.removeprefix("/v4")
    return Seen(request.method, path, dict(request.query), dict(request.headers), json.loads(text) if text else None)


@dataclass
class FakeApi:
    answers: dict[tuple[str, str], deque[Answer]] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    url: str = ""

    def on(self, method: str, path: str, *answers: Answer) -> None:
        self.answers[method, path] = deque(answers)

    def count(self, method: str, path: str) -> int:
        return sum(1 for one in self.seen if (one.method, one.path) == (method, path))

    async def handle(self, request: web.Request) -> web.StreamResponse:
        seen = await _seen(request)
        self.seen.append(seen)
        queue = self.answers.get((seen.method, seen.path))
        if queue is None:
            return await refuse(404, "Not found")(request)
        answer = queue[0] if len(queue) == 1 else queue.popleft()
        return await answer(request)


@asynccontextmanager
async def running(api: FakeApi) -> AsyncIterator[FakeApi]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", api.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    api.url = f"http://127.0.0.1:{port}/v4"
    try:
        yield api
    finally:
        await runner.cleanup()


@asynccontextmanager
async def api_and_client(limits: Limits = QUICK) -> AsyncIterator[tuple[FakeApi, LinodeClient]]:
    async with running(FakeApi()) as api, Transport(Token(CANARY), base_url=api.url, limits=limits) as transport:
        yield api, LinodeClient(transport)


def instance(number: int, label: str, **more: Any) -> dict[str, Any]:
    return {"id": number, "label": label, "region": "us-ord", "status": "running", "type": "g6-nanode-1"} | more


def address(text: str, owner: int | None, **more: Any) -> dict[str, Any]:
    return {"address": text, "linode_id": owner, "public": True, "region": "us-ord", "prefix": 24} | more
