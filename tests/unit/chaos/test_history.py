from __future__ import annotations

from pathlib import Path

import pytest

from natpair_lab.chaos import history as histories
from natpair_lab.chaos import result as results
from natpair_lab.chaos.checker import check
from natpair_lab.chaos.history import Check, Dark, Offer, VipChange
from natpair_lab.chaos.result import FaultResult, Verdict
from unit.chaos.histories import A, at, fault, history, leak, moved
from unit.drill.drill_samples import advert, primary, rst, taps


def test_a_history_comes_back_as_it_was_and_is_checked_the_same(tmp_path: Path) -> None:
    resets = (rst(at(1), "192.0.2.221:1", "198.51.100.1:2", leaving=True, link=advert(0).link),)
    full = history(
        taps=taps(resets=resets, adverts=(advert(at(2)),), updates=(primary(at(3)),), leaks=(leak("10.0.0.1"),)),
        vips=(VipChange(at(4), A, False),),
        offers=(Offer(at(5), (A,)),),
        dark=(Dark(A, "power", at(6), at(7)),),
        routes=(moved(8, A),),
        checks=(Check("alarm", None, 1.0),),
    )
    histories.write(full, tmp_path / "kept")
    assert histories.read(tmp_path / "kept") == full
    assert check(histories.read(tmp_path / "kept"), fault()) == check(full, fault())


def test_what_is_no_history_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        histories.read(tmp_path)
    (tmp_path / histories.FILE).write_text("{}")
    with pytest.raises(ValueError, match="validation error"):
        histories.read(tmp_path)


def test_results_are_kept_one_by_one_and_a_torn_one_is_left_out(tmp_path: Path) -> None:
    assert results.earlier(tmp_path) == []
    done = [FaultResult(n, "x", Verdict.PASSED, 1.0, 2.0, check(history(), fault()), again=f"run {n}") for n in (1, 2)]
    for result in done:
        results.append(tmp_path, result)
    assert results.earlier(tmp_path) == done
    with (tmp_path / results.FILE).open("ab") as file:
        file.write(b'{"id": 3, "na')
    assert results.earlier(tmp_path) == done
    results.append(tmp_path, done[0])
    assert results.earlier(tmp_path) == [*done, done[0]], "what comes after a torn line is read, too"
