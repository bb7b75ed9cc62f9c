"""`natpair drill`: measure a failover in the lab, with a report as text or as one JSON document."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from natpair.cli.output import emit_json, say, symbols, talk

if TYPE_CHECKING:
    from natpair_lab.drill.runner import Options

BOUND_FAILED = 2
KINDS = (
    "crash",
    "planned",
    "back-and-forth",
    "vlan",
    "standby-vlan",
    "uplink",
    "partition",
    "agent-kill",
    "agent-stop",
    "flush",
    "return",
    "speaker-kill",
)
"""The same as in `drill.kinds.KindName`, repeated so that `--help` starts fast; a test compares the two."""

PROFILES = ("fast", "balanced", "conservative")


@click.command(
    epilog="Example: natpair drill crash --lab --runs 5. Exit code 0: all bounds held, 2: one did not.",
)
@click.argument("kind", type=click.Choice(KINDS))
@click.option(
    "--lab", "in_lab", is_flag=True, help="Run in the lab; if none is running, boot one and remove it afterwards."
)
@click.option("--profile", type=click.Choice(PROFILES), help="Profile of a lab that it boots.")
@click.option("--runs", type=click.IntRange(1, 10_000), default=1, show_default=True, help="Number of runs.")
@click.option(
    "--flows", type=click.IntRange(1, 100_000), default=100, show_default=True, help="Number of open TCP flows."
)
@click.option("--config", type=click.Path(path_type=Path), help="gateway.toml of a lab that it boots.")
@click.option("--name", default="lab", show_default=True, help="Name of the lab.")
@click.option("--converge-ms", type=click.IntRange(0, 60_000), help="Time that the fabric takes to move a route.")
@click.option("--ignore-med", is_flag=True, help="The fabric ignores MED.")
@click.option("--load-share", is_flag=True, help="The fabric shares load over equal routes.")
@click.option("--prefer-older", is_flag=True, help="The fabric keeps the older of two equal routes.")
@click.option(
    "--dead/--down", default=None, help="Whether failed links keep their carrier up (--dead) or lose it (--down)."
)
@click.option("--partition-seconds", type=click.FloatRange(1, 3600), default=130.0, show_default=True)
@click.option("--stop-seconds", type=click.FloatRange(1, 3600), default=60.0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, nothing else.")
def command(in_lab: bool, as_json: bool, **given: object) -> int:
    """Make the pair fail under traffic, and measure the outage for clients."""
    if not in_lab:
        raise click.UsageError("--lab is required: this version has no drills on a live pair")
    from natpair_lab.drill.runner import drill
    from natpair_lab.drill.text import lines

    report = drill(options_of(given), talk)
    if as_json:
        emit_json(report.document())
    else:
        for line in lines(report, ascii_only=symbols().bar == "#"):
            say(line)
    return 0 if report.held else BOUND_FAILED


def options_of(given: dict[str, object]) -> Options:
    """The drill's options from those of the command line."""
    from natpair.core.model import Profile
    from natpair_lab.drill.kinds import KindName
    from natpair_lab.drill.runner import Options
    from natpair_lab.drill.stage import Durations
    from natpair_lab.testbed.fabric import Knobs

    converge = given["converge_ms"]
    named = {name: bool(given[name]) for name in ("ignore_med", "load_share", "prefer_older")}
    fabric = Knobs(converge_ms=converge if isinstance(converge, int) else 0, **named)
    wanted = converge is not None or any(named.values())
    config = given["config"]
    dead = given["dead"]
    return Options(
        kind=KindName(str(given["kind"])),
        runs=int(str(given["runs"])),
        flows=int(str(given["flows"])),
        profile=Profile(str(given["profile"])) if given["profile"] else None,
        config=config if isinstance(config, Path) else None,
        name=str(given["name"]),
        fabric=fabric if wanted else None,
        durations=Durations(
            partition_seconds=float(str(given["partition_seconds"])),
            stop_seconds=float(str(given["stop_seconds"])),
            dead=dead if isinstance(dead, bool) else None,
        ),
    )
