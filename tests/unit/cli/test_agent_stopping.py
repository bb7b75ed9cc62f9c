"""What is done before all of natpair is stopped: an active node gives its role away, and nothing holds up the stop."""

from __future__ import annotations

from pathlib import Path

import pytest

from natpair.cli import client
from natpair.cli.commands import agent_stopping
from natpair.cli.main import run
from natpair.core.status import Role, Status
from natpair.errors import AgentUnreachable
from natpair.system.agentsocket import Answer

NOBODY = ConnectionRefusedError("nobody")


def stop(monkeypatch: pytest.MonkeyPatch, role: Role | None, answer: Answer | OSError) -> list[str]:
    """What is asked of an agent with this role, None for none at all."""
    asked: list[str] = []

    def order(verb: str) -> Answer:
        asked.append(verb)
        if isinstance(answer, OSError):
            raise answer
        return answer

    status = None if role is None else Status(node="nat-a", role=role)
    monkeypatch.setattr(agent_stopping.agentsocket, "status_or_none", lambda: status)
    monkeypatch.setattr(agent_stopping.agentsocket, "order", order)
    assert run(["agent-stopping"]) == 0
    return asked


def test_an_active_node_hands_over(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert stop(monkeypatch, Role.ACTIVE, Answer(True, "nat-b is active")) == ["switchover"]
    assert "handed over: nat-b is active" in capsys.readouterr().err


@pytest.mark.parametrize("role", [Role.STANDBY, Role.FAULT, None])
def test_one_that_is_not_active_asks_for_nothing(monkeypatch: pytest.MonkeyPatch, role: Role | None) -> None:
    assert stop(monkeypatch, role, Answer(True, "")) == []


@pytest.mark.parametrize("answer", [Answer(False, "nat-b is silent"), NOBODY], ids=["refused", "no answer"])
def test_what_cannot_be_handed_over_holds_up_no_stop(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answer: Answer | OSError
) -> None:
    stop(monkeypatch, Role.ACTIVE, answer)
    assert "not handed over: n" in capsys.readouterr().err


def test_status_without_an_agent_says_what_the_agent_waits_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "waits"
    file.write_text("heartbeat.key_file /etc/natpair/pair.key the file is missing\nput it there\n")
    said = client.waits_for(str(file))
    assert client.waits_for(str(tmp_path / "none")) == ""
    monkeypatch.setattr(client, "waits_for", lambda: said)
    with pytest.raises(AgentUnreachable) as caught:
        client.status()
    assert "the file is missing" in caught.value.message
    assert caught.value.fix == "put it there"
