"""The results file survives whatever ends a bench, and mixes nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from natpair.errors import LabError
from natpair_lab.bench.plan import Cell, Contestant, Event
from natpair_lab.bench.results import open_results, read_results
from unit.bench.bench_samples import MACHINE, ran

ONE = ran(Contestant.CLASSIC, Event.POWER_CUT, 9000.0)
OTHER = ran(Contestant.FAST, Event.VLAN_LOSS, 70.0, recovered=False)


def kept(path: Path) -> Path:
    file = open_results(path, MACHINE, 100)
    file.add(ONE)
    file.add(OTHER)
    return path


def test_what_was_added_is_there_again(tmp_path: Path) -> None:
    again = open_results(kept(tmp_path / "r"), MACHINE, 100)
    assert again.runs == [ONE, OTHER]
    assert again.done() == {Cell(Contestant.CLASSIC, Event.POWER_CUT): 1, Cell(Contestant.FAST, Event.VLAN_LOSS): 1}


def test_a_torn_last_line_is_a_run_that_was_not_kept(tmp_path: Path) -> None:
    path = kept(tmp_path / "r")
    path.write_bytes(path.read_bytes()[:-20])
    again = open_results(path, MACHINE, 100)
    assert again.runs == [ONE]
    again.add(OTHER)
    assert open_results(path, MACHINE, 100).runs == [ONE, OTHER]


def test_a_file_that_is_only_touched_is_a_new_one(tmp_path: Path) -> None:
    (tmp_path / "r").touch()
    assert open_results(kept(tmp_path / "r"), MACHINE, 100).runs == [ONE, OTHER]


@pytest.mark.parametrize(
    ("machine", "flows", "word"),
    [(replace(MACHINE, kernel="6.1"), 100, "machine"), (replace(MACHINE, natpair="0.2.0"), 100, "machine"),
     (MACHINE, 50, "flows")],
)  # fmt: skip
def test_results_of_another_world_are_not_gone_on_with(tmp_path: Path, machine, flows: int, word: str) -> None:
    with pytest.raises(LabError, match=word):
        open_results(kept(tmp_path / "r"), machine, flows)


@pytest.mark.parametrize("text", ["hello\n", "{}\n", '["a"]\n'])
def test_any_other_file_is_refused_and_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "r"
    path.write_text(text)
    with pytest.raises(LabError, match="no results"):
        open_results(path, MACHINE, 100)
    assert path.read_text() == text


def test_without_a_file_there_is_nothing_to_report(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="there is no"):
        read_results(tmp_path / "r")


def test_results_can_be_read_on_any_machine(tmp_path: Path) -> None:
    found = read_results(kept(tmp_path / "r"))
    assert (found.machine, found.flows, found.runs) == (MACHINE, 100, [ONE, OTHER])


def test_a_bad_line_is_named(tmp_path: Path) -> None:
    path = kept(tmp_path / "r")
    path.write_text(path.read_text().replace('"fast"', '"faster"'))
    with pytest.raises(LabError, match="line 3"):
        open_results(path, MACHINE, 100)
