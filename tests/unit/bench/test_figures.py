"""Percentiles, ratios and bars, and that each of them can say no."""

from __future__ import annotations

import json
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands import complaints
from natpair_lab.bench import figures
from natpair_lab.bench.plan import Cell, Contestant, Event, cells
from natpair_lab.bench.results import Measured
from natpair_lab.drill.machine import this_machine, version_in
from unit.bench.bench_samples import MACHINE, ran

CUT = Event.POWER_CUT
CLASSIC, BALANCED, FAST = Contestant


def cut(contestant: Contestant, *outages: float) -> list[Measured]:
    return [ran(contestant, CUT, outage) for outage in outages]


def report(*runs: list[Measured], rounds: int = 1) -> figures.Report:
    return figures.report([run for part in runs for run in part], cells(), rounds, 100, MACHINE)


def bars(made: figures.Report) -> dict[str, bool]:
    return {bar.name: bar.held for bar in made.bars}


@given(st.lists(st.floats(0.1, 1e5), min_size=1, max_size=99))
def test_percentiles_are_values_that_were_measured(outages: list[float]) -> None:
    seen = figures.figures(cut(CLASSIC, *outages))
    assert seen.p50 == statistics.median_low(outages)
    assert seen.p99 == seen.max == max(outages)


def test_a_run_without_end_is_never_a_number() -> None:
    endless = [ran(CLASSIC, CUT, outage, recovered=False) for outage in (61_000.0, 60_500.0)]
    seen = figures.figures([*cut(CLASSIC, 9000.0), *endless])
    assert (seen.p50, seen.p99, seen.max) == (None, None, None)
    assert (seen.censored, seen.censored_over_ms) == (2, 60_500.0)
    assert seen.outages_ms == (9000.0,)
    assert figures.ratio(seen, figures.figures(cut(FAST, 100.0))) is None


def test_an_outage_without_end_sorts_above_all_others() -> None:
    seen = figures.figures([ran(CLASSIC, CUT, 10.0, recovered=False), *cut(CLASSIC, 9000.0, 8000.0)])
    assert (seen.p50, seen.max) == (9000.0, None)


def test_the_ratio_is_that_of_the_medians() -> None:
    made = report(cut(CLASSIC, 9000, 12_000, 10_000), cut(BALANCED, 500, 400, 900), cut(FAST, 100, 100, 500))
    assert made.ratio[CUT] == {BALANCED: 20.0, FAST: 100.0}
    assert made.held


@pytest.mark.parametrize(
    ("balanced", "fast", "failing"),
    [(900.0, 100.0, "ratio.power_cut.balanced"), (500.0, 170.0, "ratio.power_cut.fast")],
)
def test_a_slow_natpair_fails_its_bar(balanced: float, fast: float, failing: str) -> None:
    made = report(cut(CLASSIC, 10_000), cut(BALANCED, balanced), cut(FAST, fast))
    assert not made.held
    assert [name for name, held in bars(made).items() if not held] == [failing]


def test_who_lost_nothing_was_not_out_and_has_no_ratio() -> None:
    quiet = [ran(BALANCED, CUT, 9.0, packets_lost=0)]
    assert report(cut(CLASSIC, 10_000), quiet).ratio[CUT] == {BALANCED: None}


def test_a_quick_classic_fails_the_bars_too() -> None:
    assert set(bars(report(cut(CLASSIC, 700), cut(BALANCED, 500), cut(FAST, 100))).values()) == {False}


def test_one_packet_lost_in_a_planned_stop_fails() -> None:
    stops = [ran(BALANCED, Event.PLANNED_STOP, 10, packets_lost=lost) for lost in (0, 1, 0)]
    assert bars(report(stops)) == {"packets_lost.planned_stop.balanced": False}
    assert bars(report(stops[:1])) == {"packets_lost.planned_stop.balanced": True}


def test_a_ratio_that_cannot_be_measured_fails_its_bar() -> None:
    endless = [ran(BALANCED, CUT, 60_000, recovered=False)]
    made = report(cut(CLASSIC, 10_000), endless)
    assert made.ratio[CUT] == {BALANCED: None}
    assert bars(made) == {"ratio.power_cut.balanced": False}


def test_what_was_not_run_has_no_bar_and_leaves_the_report_incomplete() -> None:
    made = report(cut(CLASSIC, 10_000))
    assert made.bars == ()
    assert not made.complete
    assert made.designs == {CLASSIC: {CUT: figures.figures(cut(CLASSIC, 10_000))}}


def test_complete_is_every_cell_with_all_its_runs() -> None:
    wanted = [Cell(CLASSIC, CUT)]
    runs = cut(CLASSIC, 1, 2)
    assert figures.report(runs, wanted, 2, 100, MACHINE).complete
    assert not figures.report(runs, wanted, 3, 100, MACHINE).complete


def test_sums_and_the_range_of_load() -> None:
    runs = [ran(CLASSIC, CUT, 10, packets_lost=n, flows_broken=n, load_1min=float(n)) for n in (1, 2, 3)]
    seen = figures.figures(runs)
    assert (seen.packets_lost, seen.flows_broken, seen.flows_total) == (6, 6, 330)
    assert report(runs).load_1min == (1.0, 3.0)


def test_the_document_is_json_in_the_words_of_the_command_line() -> None:
    made = report(cut(CLASSIC, 10_000), cut(BALANCED, 500), cut(FAST, 100))
    document = json.loads(json.dumps(made.document(), allow_nan=False))
    assert complaints(document) == []
    assert document["schema"] == "natpair/bench/v1"
    assert document["designs"]["classic"]["power_cut"]["p50"] == 10_000
    assert document["ratio"]["power_cut"] == {"balanced": 20.0, "fast": 100.0}


def test_versions() -> None:
    assert version_in("Connection tracking userspace daemon v1.4.7. Licensed") == "1.4.7"
    assert version_in("hello") == "unknown"
    assert this_machine().cpus >= 1


def test_attempts_that_could_not_be_carried_through_are_counted() -> None:
    cut = (Contestant.FAST, Event.POWER_CUT)
    assert figures.figures([ran(*cut), ran(*cut, repeats=1)]).repeats == 1
