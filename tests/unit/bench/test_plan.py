"""What is run, in which order, and what is left to run."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from natpair.core.model import Profile
from natpair_lab.bench.plan import DRILLS, Cell, Contestant, Event, cells, pending
from natpair_lab.cli import bench as command
from natpair_lab.testbed.topology import Design

ALL = cells()


def test_all_cells_stand_in_the_plan_once() -> None:
    assert len(ALL) == len(set(ALL)) == len(Contestant) * len(Event)


def test_contestants_alternate() -> None:
    order = [cell.contestant for cell in pending(ALL, 2, {})]
    assert all(one is not other for one, other in pairwise(order))


def test_a_choice_of_cells() -> None:
    chosen = cells([Contestant.CLASSIC, Contestant.FAST], [Event.POWER_CUT])
    assert chosen == (Cell(Contestant.CLASSIC, Event.POWER_CUT), Cell(Contestant.FAST, Event.POWER_CUT))


@given(st.integers(1, 5), st.dictionaries(st.sampled_from(ALL), st.integers(0, 7)))
def test_each_cell_is_run_as_often_as_it_lacks_runs(runs: int, done: dict[Cell, int]) -> None:
    todo = list(pending(ALL, runs, done))
    for cell in ALL:
        assert todo.count(cell) == max(0, runs - done.get(cell, 0))


@given(st.integers(1, 4), st.integers(0, 60))
def test_whoever_stops_at_any_moment_has_measured_all_alike(runs: int, stopped: int) -> None:
    todo = list(pending(ALL, runs, {}))[:stopped]
    counts = [todo.count(cell) for cell in ALL]
    assert max(counts) - min(counts) <= 1


def test_contestants_are_pairs_of_the_lab() -> None:
    assert Contestant.CLASSIC.design is Design.CLASSIC
    assert Contestant.CLASSIC.profile is None
    assert [c.profile for c in (Contestant.BALANCED, Contestant.FAST)] == [Profile.BALANCED, Profile.FAST]
    assert set(DRILLS) == set(Event)


def test_the_command_line_knows_the_same_words() -> None:
    assert tuple(command.DESIGNS) == tuple(contestant.value for contestant in Contestant)
    assert tuple(command.EVENTS) == tuple(event.value for event in Event)
    assert tuple(command.PROFILES) == tuple(profile.value for profile in Profile)
