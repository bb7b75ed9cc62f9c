"""When a pair is ready, told from status documents; the wait itself against a socket that answers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from click.testing import CliRunner

from natpair.cli import waiting
from natpair.cli.commands.status import command
from natpair.core.condition import Condition, Severity
from natpair.core.status import PeerStatus, Role, Status
from natpair.errors import AgentUnreachable, NotReady

PEER = PeerStatus(fresh=True, role=Role.ACTIVE)
READY = Status(node="nat-a", peer="nat-b", role=Role.STANDBY, synced=True, ready=True, eligible=True, peer_view=PEER)


def test_a_ready_pair_is_ready() -> None:
    assert waiting.missing(READY) == ""
    assert waiting.missing(replace(READY, synced=False)) == "nat-a is not in sync yet"


@pytest.mark.parametrize(
    ("code", "severity", "in_the_way"),
    [
        ("gateway-unreachable", "critical", True),
        ("vrrp-fault", "warning", True),
        ("no-usable-standby", "warning", True),
        ("bgp-degraded", "warning", False),
        ("maintenance-ahead", "info", False),
    ],
)
def test_a_pair_is_not_ready_while_something_stands_in_the_way_of_a_takeover(
    code: str, severity: str, in_the_way: bool
) -> None:
    seen = replace(READY, conditions=(Condition(code, Severity(severity), "said so", ""),))
    assert waiting.missing(seen) == ("said so" if in_the_way else "")


def test_it_gives_up_in_time_and_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_answer(*_: object) -> None:
        raise AgentUnreachable("no agent answers")

    monkeypatch.setattr(waiting.client, "status", no_answer)
    outcome = CliRunner().invoke(command, ["--wait", "--timeout", "0.1"])
    assert isinstance(outcome.exception, NotReady)
    assert outcome.exception.exit_code == 75
    assert "no agent answers" in outcome.exception.message
