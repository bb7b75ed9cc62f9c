from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

from natpair.errors import LabError, Usage
from natpair_lab.chaos import campaign
from natpair_lab.chaos.campaign import Options, Schedule, jobs, pairable, paired, run, schedules
from natpair_lab.chaos.catalogue import CATALOGUE, numbered, row
from natpair_lab.chaos.context import Context
from natpair_lab.chaos.fault import Fault, Invariant
from natpair_lab.chaos.result import FaultResult, Verdict
from natpair_lab.chaos.text import listing
from natpair_lab.testbed.topology import Design
from unit.chaos.histories import fault as a_fault


def test_the_catalogue_has_every_row_of_the_matrix_once() -> None:
    assert sorted(CATALOGUE) == list(CATALOGUE)
    assert {*range(1, 81)} <= set(CATALOGUE)
    assert len({fault.name for fault in CATALOGUE.values()}) == len(CATALOGUE)
    assert len(listing()) == len(CATALOGUE)


def test_a_number_that_is_missing_or_there_twice_is_refused() -> None:
    one, two, three = (a_fault(id=number) for number in (1, 2, 3))
    assert list(numbered([two, one])) == [1, 2]
    for wrong in ([one, three], [one, two, two], [two]):
        with pytest.raises(ValueError, match="not numbered"):
            numbered(wrong)


def test_what_is_scaled_says_so_and_every_bound_is_a_bound() -> None:
    for fault in CATALOGUE.values():
        assert fault.bound_ms > 0
        assert set(fault.invariants) >= {Invariant.LEAK, Invariant.OWNERS, Invariant.RESETS, Invariant.RECOVERS}


def test_a_seed_draws_the_same_schedules_however_many_are_asked_for() -> None:
    ids = pairable()
    assert schedules(20, 1, ids)[:5] == schedules(5, 1, ids)
    assert schedules(20, 1, ids) != schedules(20, 2, ids)
    assert all(s.first != s.second and s.later_seconds >= 0 for s in schedules(200, 3, ids))


def test_a_campaign_draws_nothing_that_needs_another_lab() -> None:
    watched = {n for n, fault in CATALOGUE.items() if fault.watched}
    assert watched == {31, 32}
    assert not watched & set(pairable())
    assert {n for n, fault in CATALOGUE.items() if fault.needs} == {50}


def test_two_at_once_may_cost_flows_but_never_the_rest() -> None:
    both = paired(schedules(1, 1, pairable())[0])
    assert Invariant.FLOWS not in both.invariants
    assert {Invariant.LEAK, Invariant.OWNERS, Invariant.RESETS, Invariant.UNIQUE, Invariant.RECOVERS} <= set(
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
    context = Context(lab, MagicMock(), "nat-a", "nat-b", MagicMock())
    monkeypatch.setattr(Context, "pass_time", lambda *_: None)
    paired(Schedule(1, 1, 2, 0.0)).inject(context)
    assert [(check.name, check.held, check.detail) for check in context.checks] == [
        ("cut short: two", True, "its object is gone")
    ]
    with pytest.raises(LabError, match="gone"):
        paired(Schedule(1, 2, 1, 0.0)).inject(context)


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
    with pytest.raises(Usage, match="no fault was named"):
        jobs(Options())
    with pytest.raises(Usage, match="no schedule 4"):
        jobs(Options(campaign=3, schedule=4))
    with pytest.raises(Usage, match="no fault 999"):
        row(999)


class Built:
    """A lab that only remembers whether it is up."""

    def __init__(self, kind: str) -> None:
        self.kind, self.up = kind, True
        self.name, self.design = "chaos", Design.NATPAIR
        self.gateway: Any = MagicMock()

    def down(self) -> None:
        self.up = False

    def wait_ready(self, _seconds: float) -> None: ...

    def warm(self) -> bool:
        return True


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Built]:
    made: list[Built] = []

    def build(kind: str) -> Built:
        made.append(Built(kind))
        return made[-1]

    monkeypatch.setattr(campaign.netns, "LABS", tmp_path)
    monkeypatch.setattr(campaign.Lab, "up", lambda *_, **__: build("plain"))
    monkeypatch.setattr(campaign.account, "watched_lab", lambda *_: build("watched"))
    monkeypatch.setattr(campaign, "run_fault", lambda lab, fault, *_, **__: ran(lab, fault))
    return made


def ran(lab: Built, fault: Fault) -> FaultResult:
    assert lab.up
    return FaultResult(fault.id, fault.name, Verdict.PASSED, 1.0, fault.bound_ms, again=f"{fault.id}", history=lab.kind)


def test_each_fault_gets_the_lab_it_needs_and_one_at_a_time_is_up(built: list[Built], tmp_path: Path) -> None:
    report = run(Options(faults=(68, 31, 32, 1), folder=tmp_path / "kept"), lambda _: None)
    assert [one.history for one in report.faults] == ["plain", "watched", "watched", "plain"]
    assert [(lab.kind, lab.up) for lab in built] == [("plain", False), ("watched", False), ("plain", False)]


@pytest.mark.parametrize(
    ("watched", "verdicts"),
    [(True, [Verdict.PASSED, Verdict.PASSED]), (False, [Verdict.NOT_POSSIBLE, Verdict.PASSED])],
)
def test_a_lab_that_is_there_is_used_as_it_is(
    built: list[Built], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, watched: bool, verdicts: list[Verdict]
) -> None:
    there = Built("there")
    (tmp_path / "chaos").mkdir()
    monkeypatch.setattr(campaign.Lab, "attach", lambda _: there)
    monkeypatch.setattr(campaign.account, "is_watched", lambda _: watched)
    report = run(Options(faults=(31, 68), folder=tmp_path / "kept"), lambda _: None)
    assert [one.verdict for one in report.faults] == verdicts
    assert built == []
    assert there.up
