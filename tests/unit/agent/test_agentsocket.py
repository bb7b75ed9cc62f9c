"""Asking an agent: its real server, and servers that are no agent."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from agent_bench import BenchMaker, alive
from natpair.agent.control import application, serve
from natpair.core.condition import Condition, Severity
from natpair.core.snapshot import snapshot
from natpair.core.status import Status
from natpair.system import agentsocket
from natpair.system.agentsocket import Answer
from nodes import active

LONG = Condition("long", Severity.INFO, "é" * 200_000, "")
STATUS = replace(snapshot(active(), 0.0), time=1.5, conditions=(LONG,))
"""Longer than any buffer on the way."""


@pytest.fixture
async def agent(bench: BenchMaker, tmp_path: Path) -> AsyncIterator[Path]:
    made, path = bench(alive(active(said=None))), tmp_path / "agent.sock"
    task = asyncio.ensure_future(serve(application(made.loop.handle, made.executor, lambda: STATUS), str(path)))
    async with asyncio.timeout(5):
        while not path.is_socket():
            await asyncio.sleep(0.005)
    yield path
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_the_status_comes_back_as_it_was_written(agent: Path) -> None:
    assert await asyncio.to_thread(agentsocket.status, socket_path=agent) == STATUS
    assert await asyncio.to_thread(agentsocket.status_or_none, socket_path=agent) == STATUS


async def test_an_order_that_is_refused_says_why(agent: Path) -> None:
    answer = await asyncio.to_thread(agentsocket.order, "switchover", socket_path=agent)
    assert not answer.ok
    assert answer.message
    assert answer.fix


async def test_an_order_is_carried_out(agent: Path) -> None:
    answer = await asyncio.to_thread(agentsocket.order, "undrain", socket_path=agent)
    assert answer == Answer(ok=True, message=answer.message)
    assert answer.message


@contextmanager
def answering(path: Path, said: bytes) -> Iterator[None]:
    """A server that is no agent: it says the same to everybody."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def run() -> None:
            line, _ = server.accept()
            with line:
                line.recv(65536)
                line.sendall(said)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield
        thread.join(5)


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"", OSError),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", OSError),
        (b"HTTP/1.1 200 OK\r\nContent-Le", OSError),
        (b"HTTP/1.1 500 Internal Server Error\r\n\r\n{}", OSError),
        (b"HTTP/1.1 200 OK\r\n\r\n", ValueError),
        (b'HTTP/1.1 200 OK\r\n\r\n{"node": "nat', ValueError),
        (b"HTTP/1.1 200 OK\r\n\r\n{}", ValueError),
        (b"HTTP/1.1 200 OK\r\n\r\n\xff", ValueError),
    ],
)
def test_an_answer_without_sense_is_an_error(tmp_path: Path, said: bytes, error: type[Exception]) -> None:
    path = tmp_path / "agent.sock"
    with answering(path, said), pytest.raises(error):
        agentsocket.status(socket_path=path)
    path.unlink()
    with answering(path, said):
        assert agentsocket.status_or_none(socket_path=path) is None


def test_the_least_that_is_a_status_is_one(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    with answering(path, b'HTTP/1.0 200 OK\r\n\r\n{"node": "nat-a", "role": "active"}'):
        status = agentsocket.status(socket_path=path)
    assert isinstance(status, Status)
    assert status.node == "nat-a"


def test_an_agent_that_says_nothing_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "agent.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        with pytest.raises(TimeoutError):
            agentsocket.status(timeout=0.1, socket_path=path)


def test_without_an_agent_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        agentsocket.status(socket_path=tmp_path / "none")
