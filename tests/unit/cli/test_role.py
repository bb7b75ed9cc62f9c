"""What switchover, failback and drain say around what the agent answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from natpair.cli.commands import role
from natpair.cli.main import run
from natpair.core.messages import Phase
from natpair.core.snapshot import snapshot
from natpair.core.status import to_json
from nodes import active, node, says, standby

Answer = tuple[int, dict[str, Any]]
YES: Answer = (200, {"ok": True, "message": "nat-b is active", "cure": ""})
NO: Answer = (409, {"ok": False, "message": "no switchover: nat-b is drained", "cure": "mend that first"})


class Agent:
    """An agent with a status, that gives its answers in turn and the last one for ever."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, status: dict[str, Any], *answers: Answer) -> None:
        self.status, self._answers, self.asked = status, list(answers), list[str]()
        monkeypatch.setattr(role, "request", self._request)
        monkeypatch.setattr(role, "_RETRY_SECONDS", 0.01)

    def _request(self, method: str, path: str, body: object = None, *, timeout: float = 3.0) -> Answer:
        if method == "GET":
            return 200, self.status
        self.asked.append(path)
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


def status(state: Any, preferred: str | None = None, **more: Any) -> dict[str, Any]:
    return {**to_json(snapshot(state, 0.0)), "preferred": preferred, **more}


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
    assert "up to 600 of 1000 flows would break" in said


def test_waiting_asks_again_and_tells_each_reason_once(
    agent: Callable[..., Agent], capsys: pytest.CaptureFixture[str]
) -> None:
    made = agent(status(active()), NO, NO, YES)
    assert run(["switchover", "--wait"]) == 0
    assert made.asked == ["/v1/switchover"] * 3
    assert capsys.readouterr().err.count("nat-b is drained") == 1


def test_waiting_has_an_end(agent: Callable[..., Agent]) -> None:
    agent(status(active()), NO)
    assert run(["switchover", "--wait", "--timeout", "0.1"]) == 75


@pytest.mark.parametrize(
    ("state", "preferred", "asked", "code"),
    [
        (active(), "nat-b", ["/v1/switchover"], 0),
        (active(), "nat-a", [], 0),
        (standby(), "nat-b", [], 0),
        (standby(), "nat-a", ["/v1/switchover"], 0),
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
    agent(status(standby()), (200, {"ok": True, "message": "nat-a is drained", "cure": ""}))
    assert run(["drain"]) == 0
    assert "nat-b carries the traffic; nat-a stays out" in capsys.readouterr().out
    agent(
        status(node(Phase.STANDBY, says(Phase.FAULT))), (200, {"ok": True, "message": "nat-a is drained", "cure": ""})
    )
    assert run(["drain"]) == 0
    assert "nat-b does not carry the traffic" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("document", "lost"),
    [
        (status(active(said=says(Phase.STANDBY, flows=1000))), 0),
        (status(active(said=None)), 1000),
        (status(standby(said=says(Phase.ACTIVE, flows=1500))), 500),
        (status(standby(said=says(Phase.FAULT))), None),
        (status(active(), sync={"sampled": 64, "lacking": 1, "flows_missing": 7}), 7),
    ],
)
def test_what_is_lacking(document: dict[str, Any], lost: int | None) -> None:
    assert role.lacking(document) == lost
