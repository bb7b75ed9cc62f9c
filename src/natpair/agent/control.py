"""The agent's control socket: HTTP and JSON on a unix socket that only root may use."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

from natpair.agent.executor import Executor
from natpair.core import paths
from natpair.core.actions import Reply
from natpair.core.events import Asked, Event, Verb
from natpair.core.status import Status, to_json

Handle = Callable[[Event], None]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_ANSWER_SECONDS = 20.0
_BAD_REQUEST = 400
_CONFLICT = 409


def application(handle: Handle, executor: Executor, status: Callable[[], Status]) -> web.Application:
    """The routes: GET for the status, one POST for each verb. A request becomes an event; the executor returns its
    answer.
    """
    numbers = itertools.count(1)

    async def get_status(_request: web.Request) -> web.Response:
        return web.json_response(to_json(status()))

    def poster(verb: Verb) -> Handler:
        async def post(request: web.Request) -> web.Response:
            try:
                body = await request.json() if request.can_read_body else {}
            except ValueError:
                wrong = {"ok": False, "message": "the body is no JSON", "fix": 'send {} or {"force": true}'}
                return web.json_response(wrong, status=_BAD_REQUEST)
            force = isinstance(body, dict) and body.get("force") is True
            reply = await _ask(handle, executor, Asked(next(numbers), verb, force))
            document = {"ok": reply.ok, "message": reply.message, "fix": reply.fix}
            return web.json_response(document, status=200 if reply.ok else _CONFLICT)

        return post

    app = web.Application()
    app.router.add_get("/v1/status", get_status)
    for verb in Verb:
        app.router.add_post(f"/v1/{verb.value}", poster(verb))
    return app


async def _ask(handle: Handle, executor: Executor, asked: Asked) -> Reply:
    answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

    def settle(reply: Reply) -> None:
        if not answer.done():
            answer.set_result(reply)

    executor.expect_reply(asked.number, settle)
    handle(asked)
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            return await answer
    except TimeoutError:
        return Reply(asked.number, False, "no result in time", "see 'natpair status' on both nodes")


async def serve(app: web.Application, socket: str = paths.AGENT_SOCKET) -> None:
    """Serve until cancelled. Replaces a socket that an earlier agent left."""
    runner = web.AppRunner(app, handle_signals=False, access_log=None)
    await runner.setup()
    path = Path(socket)
    path.unlink(missing_ok=True)
    try:
        await web.UnixSite(runner, socket).start()
        path.chmod(0o600)
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()
