"""Handing over for the while of an apply: the drain is taken back whatever happens, and no error is covered up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from natpair.cli import node
from natpair.core.snapshot import snapshot
from natpair.core.status import Status
from natpair.errors import AgentUnreachable, DaemonError, NotReady
from natpair.system.agentsocket import Answer
from nodes import active


class Agent:
    """An agent that drains as told. `away`: how many requests from now on find nobody."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path, *, refuses: bool = False) -> None:
        self.away, self.drained, self.refuses, self.said = 0, False, refuses, list[str]()
        self.disk = folder / "drained"
        monkeypatch.setattr(node, "status_or_none", self._status)
        monkeypatch.setattr(node.client, "status", self._status)
        monkeypatch.setattr(node.client, "order", self._order)
        monkeypatch.setattr(node, "talk", self.said.append)
        monkeypatch.setattr(node.paths, "DRAINED", str(self.disk))
        monkeypatch.setattr(node, "_POLL_SECONDS", 0.01)
        monkeypatch.setattr(node, "_UNDRAIN_SECONDS", 0.3)

    def _status(self) -> Status:
        self._reach()
        return replace(snapshot(active(), 0.0), drained=self.drained)

    def _order(self, verb: str, *, force: bool = False) -> Answer:
        self._reach()
        self.drained = verb == "drain"
        self.disk.touch() if self.drained else self.disk.unlink(missing_ok=True)
        refused = self.drained and self.refuses
        return Answer(ok=False, message="nat-b is gone", fix="the drain stands") if refused else Answer(True, "done")

    def _reach(self) -> None:
        if self.away:
            self.away -= 1
            raise AgentUnreachable("no agent answers")


def fails(agent: Agent, away: int) -> Callable[[], None]:
    def work() -> None:
        with node.drained_meanwhile():
            assert agent.drained
            agent.away = away
            raise DaemonError("this node is not as healthy as before")

    return work


def test_an_agent_that_is_just_restarted_is_waited_for_and_the_real_error_comes_through(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    agent = Agent(monkeypatch, tmp_path)
    with pytest.raises(DaemonError, match="not as healthy"):
        fails(agent, 5)()
    assert not agent.drained
    assert "undrained" in agent.said[-1]


def test_an_agent_that_stays_away_is_named_and_finds_no_drain_at_its_next_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    agent = Agent(monkeypatch, tmp_path)
    with pytest.raises(DaemonError, match="not as healthy"):
        fails(agent, 10_000)()
    assert not agent.disk.exists()
    assert "still drained" in agent.said[-2]
    assert "natpair undrain" in agent.said[-1]


def test_a_handover_that_is_called_off_leaves_no_drain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    agent = Agent(monkeypatch, tmp_path, refuses=True)
    with pytest.raises(NotReady, match="nat-b is gone") as caught, node.drained_meanwhile():
        pytest.fail("nothing may be applied")
    assert "drain stands" not in str(caught.value.fix)
    assert not agent.drained


def test_whoever_was_drained_before_stays_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    agent = Agent(monkeypatch, tmp_path)
    agent.drained = True
    with node.drained_meanwhile():
        pass
    assert agent.drained
