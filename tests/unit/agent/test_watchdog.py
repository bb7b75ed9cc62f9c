"""READY comes after the first complete look, or after ten seconds; signs of life come all the time."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent_bench import alive, begin
from natpair.agent import app, watchdog
from natpair.agent.app import Agent
from natpair.agent.cell import StateCell
from natpair.agent.journal import Events
from natpair.agent.watchdog import Watchdog
from natpair.system.sdnotify import Notifier
from nodes import standby


class Supervisor:
    """What a supervisor hears."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(self.path)
        self.heard: list[list[str]] = []

    def listen(self) -> list[list[str]]:
        try:
            while True:
                self.heard.append(self._socket.recv(4096).decode().split("\n"))
        except BlockingIOError:
            return self.heard

    @property
    def ready(self) -> str:
        """The status that came with READY; empty if there was none yet."""
        return next((words[1] for words in self.listen() if words[0] == "READY=1"), "")

    @property
    def signs_of_life(self) -> int:
        return sum(words[0] == "WATCHDOG=1" for words in self.listen())

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    monkeypatch.setattr(watchdog, "raise_priority", lambda: "")
    monkeypatch.setattr(watchdog, "_ALIVE_SECONDS", 0.01)
    made = Supervisor(tmp_path / "notify.sock")
    yield made
    made.close()


class Looks:
    """Two parts, and the reading of their findings."""

    def __init__(self) -> None:
        self.parts = {"election": asyncio.Event(), "daemons": asyncio.Event()}
        self.read = asyncio.Event()
        self.readings = 0
        self.steps: list[dict[str, object]] = []

    async def read_health(self) -> None:
        self.readings += 1
        await self.read.wait()

    def record(self, _event: str, **fields: object) -> None:
        self.steps.append(fields)

    def watch(self, supervisor: Supervisor) -> asyncio.Task[None]:
        made = Watchdog(
            Notifier(supervisor.path), StateCell(alive(standby())), self.parts, self.read_health, self.record
        )
        return asyncio.create_task(made.run())


async def until(condition: object) -> None:
    assert callable(condition)
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


async def test_ready_comes_after_every_part_has_looked_and_the_core_knows(supervisor: Supervisor) -> None:
    looks = Looks()
    running = looks.watch(supervisor)
    await until(lambda: supervisor.signs_of_life > 3)
    assert supervisor.ready == ""
    looks.parts["daemons"].set()
    await asyncio.sleep(0.05)
    assert (supervisor.ready, looks.readings) == ("", 0), "the other has not looked yet"
    looks.parts["election"].set()
    await asyncio.sleep(0.05)
    assert (supervisor.ready, looks.readings) == ("", 1), "the core does not know yet"
    looks.read.set()
    await until(lambda: supervisor.ready)
    assert supervisor.ready == "STATUS=started"
    assert looks.steps == []
    running.cancel()


async def test_a_look_that_never_ends_is_named_and_holds_the_start_up_for_a_bounded_time(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert watchdog.READY_SECONDS == 10.0
    monkeypatch.setattr(watchdog, "READY_SECONDS", 0.2)
    looks = Looks()
    running = looks.watch(supervisor)
    looks.parts["election"].set()
    await asyncio.sleep(0.1)
    assert supervisor.ready == ""
    await until(lambda: supervisor.ready)
    assert supervisor.ready == "STATUS=started; the first look has not ended after 0.2 s: daemons"
    assert looks.steps == [{"step": "first-look-not-ended", "detail": "daemons"}]
    lives = supervisor.signs_of_life
    await until(lambda: supervisor.signs_of_life > lives)
    running.cancel()


async def test_a_reading_that_never_ends_is_named(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "READY_SECONDS", 0.05)
    looks = Looks()
    for looked in looks.parts.values():
        looked.set()
    running = looks.watch(supervisor)
    await until(lambda: supervisor.ready)
    assert supervisor.ready.endswith(": health")
    running.cancel()


async def test_a_whole_agent_is_ready_when_its_parts_have_looked_and_the_daemons_need_not_be_there(
    tmp_path: Path, supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine without Keepalived, BIRD and conntrackd a look ends, too: it finds that they do not answer."""
    monkeypatch.setenv("NOTIFY_SOCKET", supervisor.path)
    monkeypatch.setattr(app.journal, "Events", lambda **fields: Events(str(tmp_path / "events.jsonl"), **fields))
    monkeypatch.setattr(app.journal, "remember", lambda state: None)
    agent = Agent(begin(tmp_path), alive(standby()))
    monkeypatch.setattr(agent.reconciler, "_round", looks_and_does_nothing(agent))
    wanted = {"reconciler", "repairer", "daemons", "health", "election", "lookout", "watchdog"}
    running = [asyncio.create_task(task.run()) for task in agent.tasks() if task.name in wanted - {"daemons"}]
    await until(lambda: agent.sources.looked.is_set() and agent.lookout.looked.is_set())
    assert supervisor.ready == "", "nobody has asked BIRD and conntrackd yet"
    running += [asyncio.create_task(task.run()) for task in agent.tasks() if task.name == "daemons"]
    await until(lambda: supervisor.ready)
    assert supervisor.ready == "STATUS=started"
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


def looks_and_does_nothing(agent: Agent) -> object:
    """In place of the reconciler's round, which would change this machine."""

    async def look(_desired: object) -> None:
        agent.reconciler.looked.set()

    return look
