"""`natpair lab demo`: show a failover step by step, with a report. It removes its lab unless --keep is given."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from natpair.cli.output import say, symbols, table, talk

if TYPE_CHECKING:
    from natpair_lab.drill.story import Bar
    from natpair_lab.testbed.world import Lab

PROMISE_BROKEN = 2
PROFILES = ("fast", "balanced", "conservative")  # core.model.Profile, whose import is too heavy for --help


@click.command(epilog="Example: natpair lab demo --keep. Exit code 0: all limits held, 2: one did not.")
@click.option("--config", type=click.Path(path_type=Path), help="gateway.toml to use [default: the example]")
@click.option("--profile", type=click.Choice(PROFILES), help="Profile to use instead of the file's.")
@click.option("--keep", is_flag=True, help="Keep the lab afterwards.")
@click.option("--name", default="demo", show_default=True, help="Name of the demo's lab.")
def command(config: Path | None, profile: str | None, keep: bool, name: str) -> int:
    """Boot a pair, hand over, cut the active node's power, and boot it again. It takes about two minutes."""
    from natpair.core.model import Profile
    from natpair_lab.drill.story import Narrator, tell_story
    from natpair_lab.testbed.world import Lab

    def progress(text: str) -> None:
        talk(f"  {symbols(sys.stderr).bullet} {text}")

    say("natpair turns two small Linux machines into one highly available NAT gateway.")
    lab = Lab.up(config, name=name, profile=Profile(profile) if profile else None, progress=progress)
    told = False
    try:
        report = tell_story(lab, Narrator(say, progress, ascii_only=symbols().bar == "#"))
        told = True
    finally:
        if not (keep and told):
            progress("removing the lab")
            lab.down()
    _report(report)
    _look_around(lab, keep)
    return 0 if all(bar.held for bar in report) else PROMISE_BROKEN


def _report(report: tuple[Bar, ...]) -> None:
    signs = symbols()
    say()
    say("The report")
    say()
    rows = [(f"{signs.good} held" if bar.held else f"{signs.bad} FAILED", *_words(bar)) for bar in report]
    say(table(rows, ("", "WHAT", "MEASURED", "LIMIT")))


def _words(bar: Bar) -> tuple[str, str, str]:
    return bar.what, bar.measured, bar.promised


def _look_around(lab: Lab, kept: bool) -> None:
    say()
    if kept:
        option = f" --name {lab.name}"
        say("The lab is still running. Things to try:")
        words = [
            f"natpair lab status{option}",
            f"natpair lab exec{option} {lab.nodes[0]} -- natpair status",
            f"natpair drill crash --lab{option} --runs 5",
            f"natpair lab down{option}",
        ]
    else:
        say("To try it yourself:")
        words = [
            "natpair lab up",
            f"natpair lab exec {lab.nodes[0]} -- natpair status",
            "natpair drill crash --lab --runs 5",
            "natpair lab down",
        ]
    for line in words:
        say(f"  {line}")
