"""The table and the picture say what the figures say, and no more."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from natpair_lab.bench import chart, text
from natpair_lab.bench.figures import Report, report
from natpair_lab.bench.plan import Contestant, Event, cells
from unit.bench.bench_samples import MACHINE, ran

CLASSIC, BALANCED, FAST = Contestant
SVG = "{http://www.w3.org/2000/svg}"


ROOT = Path(__file__).parents[3]


def test_the_figures_in_the_docs_are_those_of_the_results() -> None:
    done = subprocess.run([sys.executable, ROOT / "scripts" / "bench-page", "--check"], timeout=60, check=False)
    assert done.returncode == 0, "docs/bench.md, bench.svg or README.md are stale: .venv/bin/python scripts/bench-page"


def made() -> Report:
    runs = [
        *(ran(CLASSIC, Event.POWER_CUT, outage) for outage in (9000.0, 10_000.0)),
        ran(CLASSIC, Event.UPLINK_LOSS, 60_700.0, recovered=False),
        ran(FAST, Event.POWER_CUT, 100.0),
    ]
    return report(runs, cells(), 1, 100, MACHINE)


def test_each_cell_is_a_row_and_an_endless_outage_is_said_to_be_longer() -> None:
    rows = list(text.rows(made()))
    assert [(row[0], row[1], row[3]) for row in rows] == [
        ("power cut", "classic", "9,000"),
        ("power cut", "natpair, fast", "100"),
        ("uplink lost", "classic", "> 60,700"),
    ]


def test_the_markdown_is_a_table_with_its_machine() -> None:
    lines = text.markdown(made()).splitlines()
    widths = {line.count("|") for line in lines if line.startswith("|")}
    assert widths == {len(text.HEADERS) + 1}
    assert "a processor" in lines[-1]
    assert any("90.0 (fast)" in line for line in lines)


def test_side_by_side_has_a_column_for_each_design_that_was_measured() -> None:
    lines = text.side_by_side(made()).splitlines()
    assert lines[0] == "| median | classic | natpair, fast |"
    assert lines[2].startswith("| power cut | 9,000 ms outage, 0 of 220 connections broken | 100 ms outage")
    assert lines[3].startswith("| uplink lost | > 60,700 ms outage")


def test_the_picture_has_a_dot_for_each_run_that_ended_and_another_sign_for_the_rest() -> None:
    tree = ET.fromstring(chart.svg(made()))  # noqa: S314 - our own text
    legend = len(Contestant)
    assert len(tree.findall(f"{SVG}circle")) == 3 + legend
    assert sum(path.get("d", "").endswith("z") for path in tree.findall(f"{SVG}path")) == 1


@pytest.mark.parametrize(("small", "large"), [(1, 10), (99, 101), (9000, 60_000)])
def test_longer_stands_further_right(small: float, large: float) -> None:
    assert chart.LEFT <= chart.x_of(small) < chart.x_of(large) <= chart.WIDTH - chart.RIGHT


def test_the_scale_is_logarithmic_and_ends_at_its_edges() -> None:
    steps = [chart.x_of(value) for value in (1, 10, 100, 1000)]
    assert steps[1] - steps[0] == pytest.approx(steps[3] - steps[2])
    assert chart.x_of(0) == chart.x_of(0.5) == chart.LEFT
    assert chart.x_of(1e9) == chart.WIDTH - chart.RIGHT
