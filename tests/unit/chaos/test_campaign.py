from __future__ import annotations

from typing import Any
from unittest.mock import MagicMock

import pytest

from natpair.chaos import campaign
from natpair.chaos.campaign import Options, Schedule, jobs, pairable, paired, schedules
from natpair.chaos.catalogue import CATALOGUE, row
from natpair.chaos.fault import Fault, Invariant, NotPossible
from natpair.chaos.scene import Scene
from natpair.chaos.text import listing
from natpair.errors import LabError
from unit.chaos.histories import fault as a_fault

MOST_IMPOSSIBLE = 12


def test_the_catalogue_has_every_row_of_the_matrix_once() -> None:
    assert list(CATALOGUE) == list(range(1, 70))
    impossible = [fault for fault in CATALOGUE.values() if isinstance(fault, NotPossible)]
    assert len(impossible) <= MOST_IMPOSSIBLE
    assert all("\n" not in fault.reason and fault.reason for fault in impossible)
    assert len({fault.name for fault in CATALOGUE.values()}) == len(CATALOGUE)
    assert len(listing()) == len(CATALOGUE)


def test_what_is_scaled_says_so_and_every_bound_is_a_bound() -> None:
    for fault in CATALOGUE.values():
        if isinstance(fault, Fault):
            assert fault.bound_ms > 0
            assert set(fault.invariants) >= {Invariant.LEAK, Invariant.OWNERS, Invariant.RESETS, Invariant.HEALS}


def test_a_seed_draws_the_same_schedules_however_many_are_asked_for() -> None:
    ids = pairable()
    assert schedules(20, 1, ids)[:5] == schedules(5, 1, ids)
    assert schedules(20, 1, ids) != schedules(20, 2, ids)
    assert all(s.first != s.second and s.later_seconds >= 0 for s in schedules(200, 3, ids))


def test_two_at_once_may_cost_flows_but_never_the_rest() -> None:
    both = paired(schedules(1, 1, pairable())[0])
    assert Invariant.FLOWS not in both.invariants
    assert {Invariant.LEAK, Invariant.OWNERS, Invariant.RESETS, Invariant.UNIQUE, Invariant.HEALS} <= set(
        both.invariants
    )
    first, second, _ = both.key.split("+")
    assert {int(first), int(second)} <= set(pairable())


def _broken(_scene: object) -> None:
    raise LabError("its object is gone")


def test_only_the_second_of_two_may_find_its_object_gone_and_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    able, unable = a_fault(name="one", inject=lambda _: None), a_fault(name="two", inject=_broken)
    monkeypatch.setattr(campaign, "row", {1: able, 2: unable}.__getitem__)
    lab: Any = MagicMock()
    scene = Scene(lab, "nat-a", "nat-b", MagicMock(), MagicMock())
    monkeypatch.setattr(Scene, "pass_time", lambda *_: None)
    paired(Schedule(1, 1, 2, 0.0)).inject(scene)
    assert [(check.name, check.held, check.detail) for check in scene.checks] == [
        ("cut short: two", True, "its object is gone")
    ]
    with pytest.raises(LabError, match="gone"):
        paired(Schedule(1, 2, 1, 0.0)).inject(scene)


def test_each_job_says_how_to_repeat_it() -> None:
    drawn = jobs(Options(campaign=3, seed=7))
    assert [job.again for job in drawn] == [f"natpair chaos --campaign 3 --seed 7 --schedule {n}" for n in (1, 2, 3)]
    (one,) = jobs(Options(campaign=3, seed=7, schedule=2))
    assert one.again == drawn[1].again
    assert one.fault.name == drawn[1].fault.name
    assert [job.again for job in jobs(Options(faults=(68,), design="classic"))] == [
        "natpair chaos --fault 68 --design classic"
    ]


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(LabError, match="nothing to break"):
        jobs(Options())
    with pytest.raises(LabError, match="no schedule 4"):
        jobs(Options(campaign=3, schedule=4))
    with pytest.raises(LabError, match="no fault 70"):
        row(70)
