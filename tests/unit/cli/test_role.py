"""What switchover, failback and drain say around what the agent answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from natpair.cli.commands import role
from natpair.cli.main import run
from natpair.core.messages import Phase
from natpair.core.snapshot import snapshot
from natpair.core.state import NodeState
from natpair.core.status import Status
from natpair.system.agentsocket import Answer
from nodes import active, node, says, standby

YES = Answer(True, "nat-b is active")
NO = Answer(False, "no switchover: nat-b is drained", "repair that first")
DRAINED = Answer(True, "nat-a is drained")


class Agent:
    """An agent with a status, that gives its answers in turn and the last one for ever."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, status: Status, *answers: Answer) -> None:
        self.status, self._answers, self.asked = status, list(answers), list[str]()
        monkeypatch.setattr(role.client, "status", lambda: self.status)
        monkeypatch.setattr(role.client, "order", self._order)
        monkeypatch.setattr(role, "_RETRY_SECONDS", 0.01)

    def _order(self, verb: str, *, force: bool = False) -> Answer:
        self.asked.append(verb)
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


def status(state: NodeState, preferred: str | None = None) -> Status:
    return replace(snapshot(state, 0.0), preferred=preferred)


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Agent]:
    return lambda *args: Agent(monkeypatch, *args)


def test_a_refusal_says_why_and_what_force_would_lose(
    agent: Callable[..., Agent], capsys: pytest.CaptureFixture[str]
) -> None:
    agent(status(active(said=says(Phase.STANDBY, flows=400))), NO)
    assert run(["switchover"]) == 75
    said = capsys.readouterr().err
    assert "no switchover: nat-b is drained" in said
    assert "--force would break up to 600 of 1000 flows" in said


def test_waiting_asks_again_and_tells_each_reason_once(
    agent: Callable[..., Agent], capsys: pytest.CaptureFixture[str]
) -> None:
    made = agent(status(active()), NO, NO, YES)
    assert run(["switchover", "--wait"]) == 0
    assert made.asked == ["switchover"] * 3
    assert capsys.readouterr().err.count("nat-b is drained") == 1


def test_waiting_has_an_end(agent: Callable[..., Agent]) -> None:
    agent(status(active()), NO)
    assert run(["switchover", "--wait", "--timeout", "0.1"]) == 75


@pytest.mark.parametrize(
    ("state", "preferred", "asked", "code"),
    [
        (active(), "nat-b", ["switchover"], 0),
        (active(), "nat-a", [], 0),
        (standby(), "nat-b", [], 0),
        (standby(), "nat-a", ["switchover"], 0),
        (active(), None, [], 75),
    ],
)
def test_failback_moves_the_role_only_if_it_is_elsewhere(
    agent: Callable[..., Agent], state: Any, preferred: str | None, asked: list[str], code: int
) -> None:
    made = agent(status(state, preferred), YES)
    assert run(["failback"]) == code
    assert made.asked == asked


def test_drain_says_who_carries_the_traffic(agent: Callable[..., Agent], capsys: pytest.CaptureFixture[str]) -> None:
    agent(status(standby()), DRAINED)
    assert run(["drain"]) == 0
    assert "nat-b is active; nat-a stays drained" in capsys.readouterr().out
    agent(status(node(Phase.STANDBY, says(Phase.FAULT))), DRAINED)
    assert run(["drain"]) == 0
    assert "nat-b is not active yet" in capsys.readouterr().err


def test_where_nobody_can_tell_what_force_would_lose_nothing_is_said_of_it(
    agent: Callable[..., Agent], capsys: pytest.CaptureFixture[str]
) -> None:
    agent(status(standby(said=says(Phase.FAULT))), NO)
    assert run(["switchover"]) == 75
    assert "by force" not in capsys.readouterr().err
