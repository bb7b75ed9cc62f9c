"""natpair status: problems first, both nodes, the age of what is shown; and --watch."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from natpair.cli import watch
from natpair.cli.commands.status import Watched, lines
from natpair.core.messages import Phase
from natpair.core.snapshot import snapshot
from natpair.core.state import NodeState
from natpair.errors import AgentUnreachable
from nodes import SICK, active, says


def document(state: NodeState, now: float = 0.0) -> dict[str, Any]:
    """What an agent in `state` answers, with what it adds to the snapshot."""
    extra = {"traffic": "local", "announcement": None, "last_transition": None, "trouble": "", "time": 1000.0}
    return {**snapshot(state, now), **extra}


def test_problems_come_first_with_their_cure() -> None:
    said = lines(document(active(health=SICK)))
    assert said[0] == "✗ critical: the gateway does not answer ARP\n    check the uplink"
    assert lines(document(active()))[0] == "✓ all is well"


def test_of_a_silent_peer_only_its_age_is_told() -> None:
    text = "\n".join(lines(document(active(), now=60.0)))
    assert "unknown for 60.0 s" in text
    assert "60.0 s ago" in text


def answers(*said: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    for one in said:
        if one is None:
            raise AgentUnreachable("no agent answers", cure="start it")
        yield one


def test_an_agent_that_falls_silent_leaves_its_last_word_and_its_age() -> None:
    good = document(active(said=says(Phase.STANDBY)))
    clock = iter([1000.5, 1000.5, 1004.0, 1004.0, 1004.0]).__next__
    spoken = answers(good)

    def ask() -> dict[str, Any]:
        try:
            return next(spoken)
        except StopIteration:
            raise AgentUnreachable("no agent answers", cure="start it") from None

    watched = Watched(ask, lambda: clock())
    assert watched()[0].endswith("seen from nat-a 0.5 s ago")
    later = watched()
    assert later[0].endswith("seen from nat-a 4.0 s ago")
    assert later[1] == "✗ no agent answers\n    start it"
    assert "✓ all is well" in later


def test_without_any_answer_the_watch_says_so_and_goes_on() -> None:
    def ask() -> dict[str, Any]:
        raise AgentUnreachable("no agent answers", cure="start it")

    assert Watched(ask, time.time)()[1] == "✗ no agent answers\n    start it"


def test_through_a_pipe_each_frame_is_a_block(capsys: pytest.CaptureFixture[str]) -> None:
    numbers = iter(range(10))
    watch.watch(lambda: [f"frame {next(numbers)}"], 0.01, frames=3)
    assert capsys.readouterr().out == "frame 0\n\nframe 1\n\nframe 2\n\n"


def test_a_terminal_is_painted_in_place(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    watch.watch(lambda: ["✗ critical: public link is down"], 0.01, frames=2)
    assert "critical: public link is down" in capsys.readouterr().out
