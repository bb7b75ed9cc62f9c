"""The task boundary, the daemons' ends, the conditions that come and go: what keeps an agent going, and tells of it."""

from __future__ import annotations

import asyncio
import subprocess
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from agent_bench import begin
from natpair.agent import app, incarnations, tasks
from natpair.agent.app import Agent
from natpair.agent.incarnations import Incarnations, Kind
from natpair.agent.journal import Events
from natpair.agent.standing import Standing
from natpair.agent.tasks import Task, TaskFailed
from natpair.core.condition import Condition, Severity
from natpair.core.conditions import conditions
from natpair.core.state import initial
from natpair.system import daemon
from nodes import TERMS

SOON = 5.0


@dataclass
class Log:
    lines: list[dict[str, object]] = field(default_factory=list)

    def __call__(self, event: str, **fields: object) -> None:
        self.lines.append({"event": event, **fields})

    async def wait_for(self, **wanted: object) -> dict[str, object]:
        async with asyncio.timeout(SOON):
            while True:
                for line in self.lines:
                    if wanted.items() <= line.items():
                        return line
                await asyncio.sleep(0.01)


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Agent:
    monkeypatch.setattr(app.journal, "Events", lambda **fields: Events(str(tmp_path / "events.jsonl"), **fields))
    monkeypatch.setattr(tasks, "FAILED_PAUSE_SECONDS", 0.001)
    return Agent(begin(tmp_path), initial(TERMS["nat-a"], time.monotonic()))


class Part:
    """Fails a number of times, then works."""

    def __init__(self, failures: int) -> None:
        self.runs, self._failures = 0, failures

    async def run(self) -> None:
        self.runs += 1
        if self.runs <= self._failures:
            raise KeyError("a bug")


async def test_a_part_that_fails_is_started_again_and_told(agent: Agent) -> None:
    part = Part(3)
    await agent.boundary.keep_running(Task("looks", part.run))
    assert part.runs == 4
    (failed,) = agent.boundary.failed()
    assert failed.startswith("looks: KeyError: 'a bug' (test_parts.py:")
    now, state = time.monotonic(), agent.cell.get()
    told = conditions(replace(state, health=replace(state.health, failed_parts=agent.boundary.failed())), now)
    assert "agent-failing" in {condition.code for condition in told}
    assert [line["event"] for line in agent.events.recent] == ["task-failed"] * 3


async def test_a_vital_part_that_always_fails_ends_the_agent_and_another_does_not(agent: Agent) -> None:
    with pytest.raises(TaskFailed, match="'ticks' fails again and again"):
        await agent.boundary.keep_running(Task("ticks", Part(10_000).run))
    part = Part(200)
    await agent.boundary.keep_running(Task("samples", part.run, vital=False))
    assert part.runs == 201


async def test_a_part_that_is_ended_ends(agent: Agent) -> None:
    async def forever() -> None:
        await asyncio.Event().wait()

    running = asyncio.ensure_future(agent.boundary.keep_running(Task("control", forever)))
    await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_callback_that_fails_is_told(agent: Agent) -> None:
    asyncio.get_running_loop().set_exception_handler(agent.boundary.on_exception)
    asyncio.get_running_loop().call_soon(lambda: {}["nothing"])
    await asyncio.sleep(0.01)
    assert agent.boundary.failed()[0].startswith("a callback: KeyError")


# Daemons


@pytest.fixture
def sleeping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kind:
    """A daemon called sleep; its mark is its pid file, as Keepalived's and BIRD's."""
    monkeypatch.setattr(incarnations, "_LOOK_SECONDS", 0.01)
    pid_file = str(tmp_path / "sleep.pid")
    return Kind("Sleep", lambda: daemon.named(pid_file, "sleep"), pid_file)


def start(kind: Kind) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(["sleep", "60"])
    Path(kind.mark).write_text(f"{process.pid}\n")
    return process


async def test_the_end_of_a_daemon_and_its_return_are_told(sleeping: Kind) -> None:
    log, first = Log(), start(sleeping)
    watching = Incarnations(log, (sleeping,))
    running = asyncio.ensure_future(watching.run())
    try:
        async with asyncio.timeout(SOON):
            while not watching._running:
                await asyncio.sleep(0.01)
        assert log.lines == [], "an agent that starts finds daemons, which is no news"
        first.kill()
        ended = await log.wait_for(event="daemon", what="ended")
        first.wait()
        assert (ended["name"], ended["pid"], ended["how"]) == ("Sleep", first.pid, "killed")
        second = start(sleeping)
        started = await log.wait_for(event="daemon", what="started")
        assert started["pid"] == second.pid
        Path(sleeping.mark).unlink()
        second.terminate()
        await log.wait_for(how="stopped", pid=second.pid)
        second.wait()
        third = start(sleeping)
        await log.wait_for(what="started", pid=third.pid)
        watching.killed("sleep")
        third.kill()
        await log.wait_for(how="did not respond, and was killed by natpair")
        third.wait()
    finally:
        running.cancel()


# Conditions


def condition(code: str) -> Condition:
    return Condition(code, Severity.WARNING, f"{code} is so", "a fix")


def test_conditions_are_told_when_they_last_and_when_they_end() -> None:
    found: list[Condition] = []
    log = Log()
    standing = Standing(lambda: tuple(found), log)
    found.append(condition("no-bgp"))
    standing.look(1.0)
    assert log.lines == []
    standing.look(2.0)
    standing.look(3.0)
    found.clear()
    standing.look(31.5)
    assert log.lines == [
        {
            "event": "condition",
            "code": "no-bgp",
            "what": "began",
            "seconds": 1.0,
            "severity": "warning",
            "text": "no-bgp is so",
        },
        {"event": "condition", "code": "no-bgp", "what": "ended", "seconds": 30.5},
    ]


def test_a_condition_of_a_moment_is_none() -> None:
    found, log = [condition("two-active")], Log()
    standing = Standing(lambda: tuple(found), log)
    standing.look(1.0)
    found.clear()
    standing.look(2.0)
    found.append(condition("two-active"))
    standing.look(3.0)
    assert log.lines == []
