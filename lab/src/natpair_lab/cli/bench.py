"""`natpair bench …`: measure natpair and the classic architecture in one run on this machine."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from natpair.cli.main import CommandEntry, LazyGroup
from natpair.cli.output import emit_json, say, symbols, table, talk

if TYPE_CHECKING:
    from natpair_lab.bench.figures import Report
    from natpair_lab.bench.flows import FlowsReport
    from natpair_lab.bench.plan import Cell

BAR_FAILED = 2
_RUN_SECONDS = 20
"""Measured time of one run: 75 runs take 25 minutes."""
PROFILES = ("fast", "balanced", "conservative")
DESIGNS = ("classic", "balanced", "fast")
EVENTS = ("power_cut", "planned_stop", "vlan_loss", "uplink_loss", "speaker_death")
"""The same as in `bench.plan`, repeated so that `--help` starts fast; a test compares them."""

_ENTRIES = {
    "failover": CommandEntry("bench:failover", "Compare three designs in five kinds of failure."),
    "flows": CommandEntry("bench:flows", "Compare a power cut with few and with many connections."),
}


@click.command(
    cls=LazyGroup,
    entries=_ENTRIES,
    package="natpair_lab.cli",
    name="bench",
    epilog="Example: natpair bench failover --runs 5",
)
def command() -> None:
    """Compare natpair with the classic architecture. Needs root."""


@click.command(
    epilog="Example: natpair bench failover --runs 5 --json. If interrupted, run it again: it continues where it was. "
    "Exit code 0: all limits held, 2: one did not."
)
@click.option(
    "--runs", type=click.IntRange(1, 1000), default=5, show_default=True, help="Runs of each event with each design."
)
@click.option(
    "--design", "designs", type=click.Choice(DESIGNS), multiple=True, help="Only this design; may be repeated."
)
@click.option("--event", "events", type=click.Choice(EVENTS), multiple=True, help="Only this event; may be repeated.")
@click.option(
    "--flows", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Number of open TCP flows."
)
@click.option(
    "--results",
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    default="natpair-bench-failover.jsonl",
    show_default=True,
    help="File for the result of each run; an existing file is continued.",
)
@click.option("--report-only", is_flag=True, help="Only report the results in the file, without measuring.")
@click.option(
    "--svg", type=click.Path(path_type=Path, dir_okay=False), help="Write a chart of the distributions to this file."
)
@click.option(
    "--table", "markdown", type=click.Path(path_type=Path, dir_okay=False), help="Write a Markdown table to this file."
)
@click.option("--name", default="bench", show_default=True, help="Prefix of the names of its labs.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, nothing else.")
def failover(
    runs: int,
    designs: tuple[str, ...],
    events: tuple[str, ...],
    flows: int,
    results: Path,
    report_only: bool,
    svg: Path | None,
    markdown: Path | None,
    name: str,
    as_json: bool,
) -> int:
    """Make the active node fail in five ways, alternating between natpair and classic, and compare the outages."""
    from natpair_lab.bench import runner
    from natpair_lab.bench.figures import report
    from natpair_lab.bench.results import open_results, read_results
    from natpair_lab.drill.machine import this_machine

    wanted = _cells(designs, events)
    file = read_results(results) if report_only else open_results(results, this_machine(), flows)
    if file.runs:
        talk(f"{symbols(sys.stderr).bullet} {results} already has {len(file.runs)} of the runs")
    if not report_only:
        _agree(max(0, len(wanted) * runs - len(file.runs)), whole=not designs and not events)
        runner.failover(wanted, runs, file, name, talk)
    made = report(file.runs, wanted, runs, file.flows, file.machine)
    _write(made, svg, markdown)
    if as_json:
        emit_json(made.document())
    else:
        _tell(made)
    return 0 if made.held else BAR_FAILED


def _agree(left: int, *, whole: bool) -> None:
    """Print how long it takes. On a terminal ask whether to continue, if no design or event was chosen."""
    minutes = math.ceil(left * _RUN_SECONDS / 60)
    said = f"{left} runs, each in its own lab: about {minutes} minute{'s' * (minutes != 1)}"
    if whole and left and sys.stdin.isatty() and sys.stderr.isatty():
        click.confirm(f"{said}. Continue?", abort=True, err=True)
    else:
        talk(f"{symbols(sys.stderr).bullet} {said}")


def _cells(designs: tuple[str, ...], events: tuple[str, ...]) -> tuple[Cell, ...]:
    from natpair_lab.bench.plan import Contestant, Event, cells

    return cells([Contestant(name) for name in designs], [Event(name) for name in events])


def _write(made: Report, svg: Path | None, markdown: Path | None) -> None:
    from natpair_lab.bench import chart, text

    if svg is not None:
        svg.write_text(chart.svg(made), encoding="utf-8")
    if markdown is not None:
        markdown.write_text(text.markdown(made), encoding="utf-8")


def _tell(made: Report) -> None:
    from natpair_lab.bench import text

    say(table(text.rows(made), text.HEADERS) or "nothing measured yet")
    say()
    for line in (*text.ratio_lines(made), *text.bar_lines(made)):
        say(line)
    say()
    say(text.machine_line(made))
    if not made.complete:
        say(f"Not complete: some cells have fewer than {made.runs} runs.")


@click.command(epilog="Example: natpair bench flows --runs 3. Exit code 0: all limits held, 2: one did not.")
@click.option(
    "--runs",
    type=click.IntRange(1, 100),
    default=3,
    show_default=True,
    help="Power cuts with each number of connections.",
)
@click.option(
    "--flows",
    type=click.IntRange(101, 100_000),
    default=100_000,
    show_default=True,
    help="The large number of connections.",
)
@click.option("--profile", type=click.Choice(PROFILES), default="balanced", show_default=True)
@click.option("--name", default="bench-flows", show_default=True, help="Name of its lab.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, nothing else.")
def flows(runs: int, flows: int, profile: str, name: str, as_json: bool) -> int:
    """Cut the power with 100 and with many TCP connections; compare outage, broken flows and replication cost."""
    from natpair.core.model import Profile
    from natpair_lab.bench.flows import bench_flows
    from natpair_lab.drill.kinds import KindName
    from natpair_lab.drill.machine import this_machine
    from natpair_lab.drill.runner import Options, a_lab

    chosen = Options(KindName.CRASH, profile=Profile(profile), name=name)
    with a_lab(chosen, talk) as lab:
        made = bench_flows(lab, flows, runs, this_machine(), talk)
    if as_json:
        emit_json(made.document())
    else:
        _tell_flows(made)
    return 0 if made.held else BAR_FAILED


def _tell_flows(made: FlowsReport) -> None:
    from natpair_lab.bench import text

    say(table(text.flow_rows(made), text.FLOW_HEADERS))
    say()
    for line in (*text.flow_lines(made), *text.bar_lines(made)):
        say(line)
    say()
    say(text.machine_words(made.machine))
