"""Handing over for the while of an apply: the drain is taken back whatever happens, and no error is covered up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from natpair.cli import node
from natpair.core.snapshot import snapshot
from natpair.core.status import to_json
from natpair.errors import AgentUnreachable, DaemonError, NotReady
from nodes import active

Answer = tuple[int, dict[str, Any]]


class Agent:
    """An agent that drains as told. `away`: how many requests from now on find nobody."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path, *, refuses: bool = False) -> None:
        self.away, self.drained, self.refuses, self.said = 0, False, refuses, list[str]()
        self.disk = folder / "drained"
        monkeypatch.setattr(node, "request", self._request)
        monkeypatch.setattr(node, "talk", self.said.append)
        monkeypatch.setattr(node.paths, "DRAINED", str(self.disk))
        monkeypatch.setattr(node, "_POLL_SECONDS", 0.01)
        monkeypatch.setattr(node, "_UNDRAIN_SECONDS", 0.3)

    def _request(self, method: str, path: str, body: object = None, *, timeout: float = 3.0) -> Answer:
        if self.away:
            self.away -= 1
            raise AgentUnreachable("no agent answers")
        if method == "GET":
            return 200, {**to_json(snapshot(active(), 0.0)), "drained": self.drained}
        self.drained = path == "/v1/drain"
        self.disk.touch() if self.drained else self.disk.unlink(missing_ok=True)
        no = {"message": "nat-b is gone", "cure": "the drain stands"}
        return (409, no) if self.drained and self.refuses else (200, {"message": "done"})


def fails(agent: Agent, away: int) -> Callable[[], None]:
    def work() -> None:
        with node.drained_meanwhile():
            assert agent.drained
            agent.away = away
            raise DaemonError("this node is not as well as before")

    return work


def test_an_agent_that_is_just_restarted_is_waited_for_and_the_real_error_comes_through(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    agent = Agent(monkeypatch, tmp_path)
    with pytest.raises(DaemonError, match="not as well"):
        fails(agent, 5)()
    assert not agent.drained
    assert "undrained" in agent.said[-1]


def test_an_agent_that_stays_away_is_named_and_finds_no_drain_at_its_next_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    agent = Agent(monkeypatch, tmp_path)
    with pytest.raises(DaemonError, match="not as well"):
        fails(agent, 10_000)()
    assert not agent.disk.exists()
    assert "still drained" in agent.said[-2]
    assert "natpair undrain" in agent.said[-1]


def test_a_handover_that_is_called_off_leaves_no_drain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    agent = Agent(monkeypatch, tmp_path, refuses=True)
    with pytest.raises(NotReady, match="nat-b is gone") as caught, node.drained_meanwhile():
        pytest.fail("nothing may be applied")
    assert "drain stands" not in str(caught.value.cure)
    assert not agent.drained


def test_whoever_was_drained_before_stays_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    agent = Agent(monkeypatch, tmp_path)
    agent.drained = True
    with node.drained_meanwhile():
        pass
    assert agent.drained
