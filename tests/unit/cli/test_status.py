"""natpair status: problems first, both nodes, the age of what is shown; and --watch."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from natpair.cli import output
from natpair.cli.commands.status import Watched, lines
from natpair.core.history import History, Transition
from natpair.core.messages import Phase
from natpair.core.snapshot import snapshot
from natpair.core.state import NodeState
from natpair.core.status import Announced, Status
from natpair.errors import AgentUnreachable
from nodes import SICK, WELL, active, changed, says

NOW = 1_795_804_320.0
"""2026-11-27 18:32 UTC."""


def status(state: NodeState, now: float = 0.0, **more: Any) -> Status:
    """What an agent in `state` answers, with some of what it adds to the snapshot."""
    return replace(snapshot(state, now), **{"traffic": "local", "time": 1000.0, **more})


def test_problems_come_first_with_their_fix() -> None:
    said = lines(status(active(health=SICK)))
    assert said[0] == "✗ critical: the gateway does not answer ARP\n    check the uplink"
    assert lines(status(active()))[0] == "✓ all is well"


def test_only_what_hurts_has_a_cross_and_what_somebody_wants_is_no_trouble() -> None:
    said = lines(status(active(said=says(Phase.DRAINED, drained=True))))
    assert said[0] == "✓ all is well"
    assert said[1].startswith("\N{INFORMATION SOURCE} info: nat-b is drained")
    (warning,) = [line for line in lines(status(active(said=says(Phase.STANDBY, synced=False)))) if "warning" in line]
    assert warning.startswith("⚠ ")


def test_the_flow_table_is_shown_with_its_size() -> None:
    text = "\n".join(lines(status(active(health=changed(WELL, flows=117_392, most_flows=262_144)))))
    assert "117,392 of 262,144 (44 %)" in text


@pytest.mark.parametrize(
    ("announced", "words"),
    [(None, "nothing"), (Announced("65000:1", 7), "65000:1 with MED 7"), (Announced("65000:2"), "65000:2 without MED")],
)
def test_what_is_announced_is_told(announced: Announced | None, words: str) -> None:
    assert f"traffic local, announced as {words}" in lines(status(active(), announcement=announced))


def test_of_a_silent_peer_only_its_age_is_told() -> None:
    assert "\n".join(lines(status(active(), now=60.0), verbose=True)).count("?") == 5
    text = "\n".join(lines(status(active(), now=60.0)))
    assert "epoch" not in text
    assert text.count("?") == 4, "VRRP, flows, in sync, drained"
    assert "unknown for 60.0 s" in text
    assert "60.0 s ago" in text


NOTHING = History(3600.0, role_changes=0, repairs=0, daemon_ends=0, refused_claims=0, role_since=None)


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ({}, "active; last hour: nothing happened: natpair events"),
        (
            {"role_changes": 3, "repairs": 5, "daemon_ends": 2, "role_since": NOW - 240},
            "active since 18:28:00Z (4 min); last hour: 3 role changes, 5 repairs, 2 daemon restarts: natpair events",
        ),
        ({"refused_claims": 1}, "active; last hour: 1 refused claim: natpair events"),
        (
            {"role_since": NOW - 5 * 86_400},
            "active since 2026-11-22 18:32Z (5 days); last hour: nothing happened: natpair events",
        ),
    ],
)
def test_the_last_line_sums_up_what_lately_happened(
    monkeypatch: pytest.MonkeyPatch, figures: dict[str, Any], words: str
) -> None:
    monkeypatch.setattr("natpair.cli.commands.status.time.time", lambda: NOW)
    assert lines(status(active(), time=NOW, history=replace(NOTHING, **figures)))[-1] == words


def test_the_last_change_has_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("natpair.cli.commands.status.time.time", lambda: NOW)
    last = Transition("challenging", "refused", "nat-b serves", 4, NOW - 60)
    said = lines(status(active(), last_transition=last))
    assert "last change 18:31:00Z: challenging to refused, nat-b serves" in said


def answers(*said: Status | None) -> Iterator[Status]:
    for one in said:
        if one is None:
            raise AgentUnreachable("no agent answers", fix="start it")
        yield one


def test_an_agent_that_falls_silent_leaves_its_last_word_and_its_age() -> None:
    good = status(active(said=says(Phase.STANDBY)))
    clock = iter([1000.5, 1000.5, 1004.0, 1004.0, 1004.0]).__next__
    spoken = answers(good)

    def ask() -> Status:
        try:
            return next(spoken)
        except StopIteration:
            raise AgentUnreachable("no agent answers", fix="start it") from None

    watched = Watched(ask, lambda: clock())
    assert watched()[0].endswith("seen from nat-a 0.5 s ago")
    later = watched()
    assert later[0].endswith("seen from nat-a 4.0 s ago")
    assert later[1] == "✗ no agent answers\n    start it"
    assert "✓ all is well" in later


def test_without_any_answer_the_watch_says_so_and_goes_on() -> None:
    def ask() -> Status:
        raise AgentUnreachable("no agent answers", fix="start it")

    assert Watched(ask, time.time)()[1] == "✗ no agent answers\n    start it"


def test_through_a_pipe_each_frame_is_a_block(capsys: pytest.CaptureFixture[str]) -> None:
    numbers = iter(range(10))
    output.watch(lambda: [f"frame {next(numbers)}"], 0.01, frames=3)
    assert capsys.readouterr().out == "frame 0\n\nframe 1\n\nframe 2\n\n"


def test_a_terminal_is_painted_in_place(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    output.watch(lambda: ["✗ critical: public link is down"], 0.01, frames=2)
    assert "critical: public link is down" in capsys.readouterr().out
