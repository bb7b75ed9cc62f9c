"""When a pair is ready, told from status documents; the wait itself against a socket that answers."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from natpair.cli import waiting
from natpair.cli.commands.status import command
from natpair.errors import AgentUnreachable, NotReady


def document(role: str, synced: bool, peer: str, peer_synced: bool, *, fresh: bool = True) -> dict[str, Any]:
    view = {"fresh": fresh, "role": peer, "synced": peer_synced}
    return {"node": "nat-a", "peer": "nat-b", "role": role, "synced": synced, "peer_view": view}


@pytest.mark.parametrize(
    ("seen", "word"),
    [
        (document("active", False, "standby", True), ""),
        (document("standby", True, "active", False), ""),
        (document("active", True, "standby", False), "the standby is not in sync yet"),
        (document("standby", False, "active", True), "the standby is not in sync yet"),
        (document("active", True, "booting", False), "nat-a is active, nat-b is booting"),
        (document("standby", True, "standby", True), "nat-a is standby, nat-b is standby"),
        (document("active", True, "standby", True, fresh=False), "nat-a is active, nat-b is not heard"),
    ],
)
def test_what_a_pair_lacks(seen: dict[str, Any], word: str) -> None:
    assert waiting.lacking(seen) == word


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
    seen = document("standby", True, "active", False)
    seen["conditions"] = [{"code": code, "severity": severity, "text": "said so", "cure": ""}]
    assert waiting.lacking(seen) == ("said so" if in_the_way else "")


def test_it_gives_up_in_time_and_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_answer(*_: object) -> None:
        raise AgentUnreachable("no agent answers")

    monkeypatch.setattr(waiting, "request", no_answer)
    outcome = CliRunner().invoke(command, ["--wait", "--timeout", "0.1"])
    assert isinstance(outcome.exception, NotReady)
    assert outcome.exception.exit_code == 75
    assert "no agent answers" in outcome.exception.message
