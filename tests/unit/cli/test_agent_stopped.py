"""What is left to do when the agent is gone: a standby leaves the election, a node that serves stays as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from natpair.cli.commands import agent_stopped
from natpair.core.desired import Traffic
from natpair.errors import CommandFailed
from natpair.system import nft

SERVES = '{"role": "active", "epoch": 4, "boosted": false, "fenced": false}'


@pytest.mark.parametrize(
    ("left", "traffic", "eligible"),
    [
        (SERVES, Traffic.RELAY, True),
        (SERVES.replace("active", "standby"), Traffic.LOCAL, False),
        (None, Traffic.LOCAL, True),
        (None, Traffic.RELAY, False),
        (None, None, False),
        ("{", Traffic.LOCAL, True),
        ("[]", Traffic.CLOSED, False),
        ('{"version": 9}', Traffic.LOCAL, True),
    ],
)
def test_who_serves_stays_in_the_election(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: str | None, traffic: Traffic | None, eligible: bool
) -> None:
    """Where the agent left no word that can be read, the kernel is believed."""

    async def read() -> nft.Ruleset:
        if traffic is None:
            raise CommandFailed(["nft"], None, "cannot start")
        return nft.Ruleset("", traffic, duplicate=False, fence=False, peer="")

    state, health = tmp_path / "state.json", tmp_path / "health"
    health.write_text("1\n")
    if left is not None:
        state.write_text(left)
    monkeypatch.setattr(agent_stopped.paths, "STATE", str(state))
    monkeypatch.setattr(agent_stopped.paths, "TRACK_HEALTH", str(health))
    monkeypatch.setattr(nft, "read", read)
    assert CliRunner().invoke(agent_stopped.command).exit_code == 0
    assert health.read_text() == f"{int(eligible)}\n"
