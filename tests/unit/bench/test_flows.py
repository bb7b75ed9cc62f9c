"""The bars of the bench with many connections."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

from commands import complaints
from natpair.core.model import Profile
from natpair.errors import LabError
from natpair_lab.bench import flows, text
from natpair_lab.drill.analysis import analyse
from natpair_lab.drill.kinds import KindName
from natpair_lab.drill.result import RunResult
from natpair_lab.drill.traffic import MAX_FLOWS, shared_out
from natpair_lab.drill.traffic_common import FLOWS_PER_PROCESS
from unit.bench.bench_samples import MACHINE
from unit.drill.drill_samples import run

SYNC = flows.Sync(100_100, 100_099, 64.7, 5.3)


def result(outage_ms: float, broken: int = 0) -> RunResult:
    return replace(analyse(run()), outage_ms=outage_ms, flows_total=100_000, flows_broken=broken)


def made(few: float, many: float, broken: int = 0) -> flows.FlowsReport:
    sizes = flows.size(100, [(result(few), SYNC)]), flows.size(100_000, [(result(many, broken), SYNC)])
    return flows.report(Profile.BALANCED, *sizes, flows.Return(100_000, 4300.0, 0, 0, SYNC), MACHINE)


@pytest.mark.parametrize(("changes", "word"), [({"taps_lost": 2}, "missed 2"), ({"recovered": False}, "come back")])
def test_a_cut_that_was_not_seen_to_its_end_is_no_figure(
    changes: dict[str, Any], word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    drilled = replace(result(500), **changes)
    monkeypatch.setattr(flows, "drill_in", lambda *_, **__: SimpleNamespace(runs=[drilled]))
    with pytest.raises(LabError, match=word):
        flows._drill(MagicMock(), KindName.CRASH, 100, lambda _: None)  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize(
    ("few", "many", "broken", "failing"),
    [(500, 650, 100, []), (500, 651, 0, ["outage_ratio"]), (500, 500, 101, ["broken_ratio"])],
)
def test_bars(few: float, many: float, broken: int, failing: list[str]) -> None:
    report = made(few, many, broken)
    assert [bar.name for bar in report.bars if not bar.held] == failing
    assert report.held is not bool(failing)


def test_words_and_json() -> None:
    report = made(500, 600)
    assert [row[0] for row in text.flow_rows(report)] == ["100", "100,000"]
    assert any("in sync after 4.3 s, with 100,099 of 100,100 entries" in line for line in text.flow_lines(report))
    assert json.loads(json.dumps(report.document(), allow_nan=False))["outage_ratio"] == 1.2
    assert complaints(json.loads(json.dumps(report.document()))) == []


def test_a_node_that_did_not_get_in_sync_is_told() -> None:
    report = replace(made(500, 600), back=flows.Return(100_000, None, 0, 0, SYNC))
    assert any("did not get in sync" in line for line in text.flow_lines(report))


def test_resident_memory() -> None:
    assert flows.resident_mb("Name:\tconntrackd\nVmRSS:\t   66252 kB\n") == 64.7
    assert flows.resident_mb("Name:\tkthreadd\n") == 0.0


@pytest.mark.parametrize("count", [1, 100, FLOWS_PER_PROCESS, FLOWS_PER_PROCESS + 1, 99_999, MAX_FLOWS])
def test_flows_are_shared_out_whole_and_in_order(count: int) -> None:
    shares = shared_out(count)
    numbers = [number for first, size in shares for number in range(first, first + size)]
    assert numbers == list(range(count))
    assert max(size for _, size in shares) <= FLOWS_PER_PROCESS
