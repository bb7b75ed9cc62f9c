"""`natpair chaos`: inject one fault, all faults, or a campaign of two at a time, and check the outcome from outside."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from natpair.cli.output import emit_json, say, symbols, table, talk
from natpair_lab.cli import complete

if TYPE_CHECKING:
    from natpair_lab.chaos.result import Report

SOMETHING_FAILED = 2
DESIGNS = ("natpair", "classic")
DEFAULT_FOLDER = "/var/tmp/natpair-chaos"  # noqa: S108 - meant to outlive the run; the captures can be large


@click.command(
    epilog="Example: natpair chaos --fault 68, or natpair chaos --campaign 20 --seed 1. "
    "Exit code 0: nothing failed, 2: something did."
)
@click.option(
    "--fault",
    "faults",
    type=int,
    multiple=True,
    shell_complete=complete.chaos_faults,
    help="One fault by its number; may be repeated.",
)
@click.option("--all", "everything", is_flag=True, help="Every fault of the catalogue.")
@click.option(
    "--campaign", type=click.IntRange(1, 10_000), help="Number of random schedules with two faults at a time."
)
@click.option(
    "--seed",
    type=int,
    default=1,
    show_default=True,
    help="Seed of the schedules; the same seed gives the same schedules.",
)
@click.option("--schedule", type=click.IntRange(1), help="Only this schedule of the campaign.")
@click.option("--list", "listing", is_flag=True, help="Only list the faults.")
@click.option("--check", type=click.Path(path_type=Path, exists=True), help="Check a saved history again.")
@click.option("--design", type=click.Choice(DESIGNS), default="natpair", show_default=True, help="The pair to test.")
@click.option("--name", default="chaos", show_default=True, help="Name of the lab.")
@click.option(
    "--folder", type=click.Path(path_type=Path), default=DEFAULT_FOLDER, show_default=True, help="Folder for histories."
)
@click.option("--resume", is_flag=True, help="Continue the run whose results are in the folder.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, nothing else.")
def command(as_json: bool, **given: object) -> int:
    """Inject faults into a pair and check the outcome by what taps, kernels, route servers and clients recorded."""
    if given["listing"]:
        return _list(as_json)
    from natpair_lab.chaos.campaign import Options, again, run

    options = Options(
        faults=tuple(given["faults"]) if isinstance(given["faults"], tuple) else (),
        everything=bool(given["everything"]),
        campaign=_number(given["campaign"]),
        seed=int(str(given["seed"])),
        schedule=_number(given["schedule"]),
        design=str(given["design"]),
        name=str(given["name"]),
        folder=Path(str(given["folder"])),
        resume=bool(given["resume"]),
    )
    checked = given["check"]
    report = again(checked, options) if isinstance(checked, Path) else run(options, _progress)
    if as_json:
        emit_json(report)
    else:
        _tell(report)
    return 0 if report.held else SOMETHING_FAILED


def _number(given: object) -> int | None:
    return given if isinstance(given, int) else None


def _progress(text: str) -> None:
    talk(f"{symbols(sys.stderr).bullet} {text}")


def _list(as_json: bool) -> int:
    from natpair_lab.chaos.text import listing

    rows = listing()
    if as_json:
        emit_json({"schema": "natpair/chaos-list/v1", "faults": rows})
    else:
        say(table([tuple(row.values()) for row in rows], ("ID", "FAULT", "BOUND MS", "INVARIANTS", "SCALE OR REASON")))
    return 0


def _tell(report: Report) -> None:
    from natpair_lab.chaos.text import lines

    for line in lines(report):
        say(line)
