"""The control socket: HTTP and JSON, one verb each, for root alone."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from agent_bench import Bench, BenchMaker, alive
from natpair.agent import control
from natpair.agent.control import application, serve
from natpair.core.events import HealthRead, Verb
from natpair.core.messages import Phase
from natpair.core.snapshot import snapshot
from natpair.core.status import parse
from nodes import WELL, active, standby

STATUS = snapshot(active(), 0.0)


@pytest.fixture
def socket(tmp_path: Path) -> str:
    return str(tmp_path / "agent.sock")


class Client:
    """Asks the agent as `natpair` does."""

    def __init__(self, socket: str) -> None:
        self._socket = socket

    async def request(self, method: str, path: str, body: str | None = None) -> tuple[int, str]:
        connector = aiohttp.UnixConnector(self._socket)
        headers = {"Content-Type": "application/json"}
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.request(method, f"http://agent{path}", data=body, headers=headers) as answer,
        ):
            return answer.status, await answer.text()

    async def post(self, verb: str, **body: object) -> tuple[int, dict[str, object]]:
        status, text = await self.request("POST", f"/v1/{verb}", json.dumps(body) if body else None)
        return status, json.loads(text)


class Served:
    """A control socket in the background of a test."""

    def __init__(self, bench: Bench, socket: str) -> None:
        self._task = asyncio.ensure_future(
            serve(application(bench.loop.handle, bench.executor, lambda: STATUS), socket)
        )
        self._socket = Path(socket)

    async def __aenter__(self) -> Client:
        async with asyncio.timeout(5):
            while not self._socket.is_socket():
                await asyncio.sleep(0.005)
        return Client(str(self._socket))

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def test_status_is_the_document(bench: BenchMaker, socket: str) -> None:
    async with Served(bench(alive(active())), socket) as client:
        code, text = await client.request("GET", "/v1/status")
        assert (code, parse(json.loads(text))) == (200, STATUS)


async def test_the_socket_is_for_root_alone_and_replaces_an_old_one(bench: BenchMaker, socket: str) -> None:
    Path(socket).write_text("left by an agent that was killed")
    async with Served(bench(alive(active())), socket) as client:
        assert Path(socket).stat().st_mode & 0o777 == 0o600
        assert (await client.request("GET", "/v1/status"))[0] == 200


async def test_a_refusal_is_a_conflict_with_a_reason_and_a_fix(bench: BenchMaker, socket: str) -> None:
    async with Served(bench(alive(active(said=None))), socket) as client:
        status, answer = await client.post("switchover")
    assert status == 409
    assert answer["ok"] is False
    assert answer["message"]
    assert answer["fix"]


async def test_a_request_waits_for_its_end(bench: BenchMaker, socket: str) -> None:
    made = bench(alive(active(said=None)))
    async with Served(made, socket) as client:
        asking = asyncio.ensure_future(client.post("switchover", force=True))
        async with asyncio.timeout(5):
            while made.state.request is None:
                await asyncio.sleep(0.005)
        assert not asking.done()
        request = made.state.request
        made.state = replace(made.state, request=replace(request, deadline=0.0))
        made.loop.handle(HealthRead(WELL))
        status, answer = await asking
    assert (status, answer["ok"]) == (409, False)


@pytest.mark.parametrize("verb", ["drain", "undrain"])
async def test_drain_and_undrain_of_a_standby_are_done_at_once(bench: BenchMaker, socket: str, verb: str) -> None:
    made = bench(alive(standby()))
    async with Served(made, socket) as client:
        status, answer = await client.post(verb)
    assert (status, answer["ok"]) == (200, True)
    assert (made.state.phase is Phase.DRAINED) is (verb == "drain")


@pytest.mark.parametrize("body", [{"force": "yes"}, {"force": 1}, {"other": True}, {}])
async def test_only_true_is_force(bench: BenchMaker, socket: str, body: dict[str, object]) -> None:
    made = bench(alive(active(said=None)))
    async with Served(made, socket) as client:
        assert (await client.post("drain", **body))[0] == 409
    assert not made.state.drained


async def test_two_at_once_get_an_answer_each(bench: BenchMaker, socket: str) -> None:
    async with Served(bench(alive(active(said=None))), socket) as client:
        answers = await asyncio.gather(*(client.post("switchover") for _ in range(5)))
    assert [status for status, _ in answers] == [409] * 5


async def test_an_agent_that_finds_no_end_says_so(
    bench: BenchMaker, socket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "_ANSWER_SECONDS", 0.05)
    async with Served(bench(alive(active(said=None))), socket) as client:
        status, answer = await client.post("switchover", force=True)
    assert status == 409
    assert answer["fix"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("GET", "/v1/switchover", 405), ("POST", "/v1/status", 405), ("POST", "/v1/reboot", 404)],
)
async def test_nothing_else_is_there(bench: BenchMaker, socket: str, method: str, path: str, status: int) -> None:
    async with Served(bench(alive(active())), socket) as client:
        assert (await client.request(method, path))[0] == status


def test_every_verb_has_its_path(bench: BenchMaker) -> None:
    made = bench(active())
    app = application(made.loop.handle, made.executor, dict)
    posts = {route.resource.canonical for route in app.router.routes() if route.method == "POST" and route.resource}
    assert posts == {f"/v1/{verb}" for verb in Verb}


async def test_a_body_that_is_no_json_is_a_bad_request(bench: BenchMaker, socket: str) -> None:
    async with Served(bench(alive(active())), socket) as client:
        assert (await client.request("POST", "/v1/switchover", "not json"))[0] == 400
