"""What is done before all of natpair is stopped: an active node gives its role away, and nothing holds up the stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from natpair.cli import client
from natpair.cli.commands import agent_stopping
from natpair.cli.main import run
from natpair.errors import AgentUnreachable

Answer = tuple[int, dict[str, Any]]


def stop(monkeypatch: pytest.MonkeyPatch, role: str | None, answer: Answer | AgentUnreachable) -> list[str]:
    """What is asked of an agent with this role, None for none at all."""
    asked: list[str] = []

    def request(method: str, path: str, body: object = None, *, timeout: float) -> Answer:
        asked.append(f"{method} {path}")
        if isinstance(answer, AgentUnreachable):
            raise answer
        return answer

    monkeypatch.setattr(agent_stopping, "status_or_none", lambda: None if role is None else {"role": role})
    monkeypatch.setattr(agent_stopping, "request", request)
    assert run(["agent-stopping"]) == 0
    return asked


def test_an_active_node_hands_over(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert stop(monkeypatch, "active", (200, {"message": "nat-b is active"})) == ["POST /v1/switchover"]
    assert "handed over: nat-b is active" in capsys.readouterr().err


@pytest.mark.parametrize("role", ["standby", "fault", None])
def test_one_that_is_not_active_asks_for_nothing(monkeypatch: pytest.MonkeyPatch, role: str | None) -> None:
    assert stop(monkeypatch, role, (200, {})) == []


@pytest.mark.parametrize(
    "answer", [(409, {"message": "nat-b is silent"}), AgentUnreachable("nobody")], ids=["refused", "no answer"]
)
def test_what_cannot_be_handed_over_holds_up_no_stop(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answer: Answer | AgentUnreachable
) -> None:
    stop(monkeypatch, "active", answer)
    assert "not handed over: n" in capsys.readouterr().err


def test_status_without_an_agent_says_what_the_agent_waits_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "waits"
    file.write_text("heartbeat.key_file /etc/natpair/pair.key the file is missing\nput it there\n")
    said = client.waits_for(str(file))
    assert client.waits_for(str(tmp_path / "none")) == ""
    monkeypatch.setattr(client, "waits_for", lambda: said)
    with pytest.raises(AgentUnreachable) as caught:
        client.request("GET", "/v1/status")
    assert "the file is missing" in caught.value.message
    assert caught.value.cure == "put it there"
