"""Replies that are lost, in the simulation: the role moves once if the peer gets them, and no more (ADR 0030)."""

from __future__ import annotations

from random import Random

import pytest

from natpair.core import comparison
from natpair.core.state import NodeState
from natpair.core.wire import Path
from simulation import truth
from simulation.machine import Machine
from simulation.stories import REPLIES_FROM, StoryWorld, Verdict, tell
from simulation.world import Line, Link

SHARE = 40
"""Stories told that lose replies besides all else."""
LOST_LINE_SECONDS = 9.0
"""Until a cut line is called so, and the role has moved."""


def started() -> StoryWorld:
    world = StoryWorld(Verdict(1), Random(1))  # noqa: S311 - chance that can be replayed
    for machine in world.machines.values():
        machine.boot()
    world.settle()
    world.run(2 * max(machine.terms.hold for machine in world.machines.values()))
    world.checking = True
    return world


def lose(world: StoryWorld, what: str, *machines: Machine) -> None:
    world.struck_at = world.clock.now
    for machine in machines:
        setattr(machine, what, False)


def moves(world: StoryWorld, seconds: float) -> int:
    before = len(world.promotions)
    world.run(seconds)
    return len(world.promotions) - before


def broken(world: StoryWorld) -> set[str]:
    return {violation.invariant for violation in world.verdict.violations}


@pytest.mark.parametrize("what", ["shared", "line"])
def test_replies_that_only_the_active_node_misses_move_the_role_once(what: str) -> None:
    world = started()
    ((active, standby),) = world.at_rest()
    lose(world, what, active)
    assert moves(world, LOST_LINE_SECONDS) == 1
    assert world.claimants() == [standby]
    assert truth.served(world)
    assert moves(world, 120.0) == 0
    assert broken(world) == set()


@pytest.mark.parametrize("what", ["shared", "line"])
def test_replies_that_both_nodes_miss_move_nothing(what: str) -> None:
    """The standby tries for itself, with the FIP as a sender or beyond the cut line."""
    world = started()
    lose(world, what, *world.machines.values())
    assert moves(world, 200.0) == 0
    assert len(world.claimants()) == 1
    assert broken(world) == set()


@pytest.mark.parametrize("what", ["shared", "line"])
def test_replies_that_the_standby_would_miss_move_nothing(what: str) -> None:
    world = started()
    ((_, standby),) = world.at_rest()
    lose(world, what, standby)
    assert moves(world, 60.0) == 0
    assert broken(world) == set()


@pytest.mark.parametrize("what", ["shared", "line"])
def test_after_the_repair_of_both_the_role_stays_where_it_is(what: str) -> None:
    world = started()
    lose(world, what, *world.machines.values())
    world.run(60.0)
    holder = world.claimants()
    world.recover()
    assert moves(world, 30.0) == 0
    assert world.claimants() == holder
    assert truth.served(world)


def test_replies_lost_in_one_direction_of_a_dead_uplink_are_no_second_reason() -> None:
    world = started()
    ((active, standby),) = world.at_rest()
    world.struck_at = world.clock.now
    world.set_link(active.name, Path.PUBLIC, Link.DEAD)
    lose(world, "shared", active)
    assert moves(world, 60.0) == 1
    assert world.claimants() == [standby]
    assert broken(world) == set()


@pytest.mark.parametrize("part", range(2))
def test_a_share_of_the_stories_that_lose_replies(part: int) -> None:
    begin = REPLIES_FROM + part * SHARE // 2
    found = [(seed, violation) for seed in range(begin, begin + SHARE // 2) for violation in tell(seed).violations]
    assert found == []


# --- the check can say no


def test_a_role_that_moves_back_and_forth_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NodeState, "unanswered", lambda self, now: False)
    monkeypatch.setattr(comparison, "may_help", lambda state, said: True)
    monkeypatch.setattr(comparison, "_answers_are_told", lambda state: 0.0)
    world = started()
    lose(world, "shared", *world.machines.values())
    world.run(90.0)
    assert broken(world) == {"replies"}


def test_a_role_that_does_not_move_though_the_peer_would_get_replies_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(NodeState, "unanswered", lambda self, now: True)
    world = started()
    ((active, _),) = world.at_rest()
    lose(world, "shared", active)
    world.run(truth.i13_seconds(world) + 1)
    assert broken(world) == {"I13"}


def test_a_node_that_had_no_replies_either_is_excused_only_for_that() -> None:
    world = started()
    ((active, standby),) = world.at_rest()
    lose(world, "shared", active)
    world.run(30.0)
    lose(world, "shared", standby)
    world.run(60.0)
    ((holder, other),) = ((standby, active),)
    assert world.claimants() == [holder]
    other.shared = True
    assert truth.could_serve(world, other)
    assert truth.nobody_can_know(world, other) == "no packets came back there either"
    other.in_vain_at = None
    assert truth.nobody_can_know(world, other) == ""


def test_a_node_that_gets_nothing_and_hears_nobody_keeps_the_role() -> None:
    world = started()
    ((active, standby),) = world.at_rest()
    lose(world, "line", active)
    assert truth.nobody_can_know(world, standby) == ""
    for path in Path:
        world.lines[standby.name, path] = Line(loss=1.0)
    assert truth.nobody_can_know(world, standby) == "the active node does not hear its peer"
    world.run(30.0)
    assert active in world.claimants()


def test_a_cut_line_shows_only_in_what_clients_send() -> None:
    world = started()
    ((active, standby),) = world.at_rest()
    world.clients = 0
    lose(world, "line", active)
    assert truth.nobody_can_know(world, standby) == "no client talks"
    world.run(30.0)
    assert world.claimants() == [active]
    assert broken(world) == set()
