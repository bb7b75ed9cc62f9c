"""`natpair cloud …`: the Linode side of a pair."""

from __future__ import annotations

import click

from natpair.cli.main import CommandEntry, LazyGroup

_ENTRIES = {
    "plan": CommandEntry("cloud_apply:plan", "What would be made, changed or left, and what it costs."),
    "apply": CommandEntry("cloud_apply:apply_", "From gateway.toml to a running pair."),
    "status": CommandEntry("cloud_state:status", "What the account has against what the file wants."),
    "watch": CommandEntry("cloud_watch", "Tell of missing shares and planned work; switch over before it."),
    "destroy": CommandEntry("cloud_state:destroy", "Remove what natpair made, and nothing else."),
    "probe": CommandEntry("cloud_probe", "Measure how a region's network behaves, on two small Linodes of your own."),
}


@click.command(
    cls=LazyGroup,
    entries=_ENTRIES,
    package="natpair.cli.commands",
    name="cloud",
    epilog="Example: natpair cloud plan gateway.toml",
)
def command() -> None:
    """The Linode side of a pair."""
