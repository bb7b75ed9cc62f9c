"""`natpair cloud …`: the Linode side of a pair."""

from __future__ import annotations

import click

from natpair.cli.main import CommandEntry, LazyGroup

_ENTRIES = {
    "plan": CommandEntry("cloud_apply:plan", "Show what apply would create, change and keep, and what it costs."),
    "apply": CommandEntry("cloud_apply:apply_", "Create the pair on Linode from gateway.toml."),
    "status": CommandEntry("cloud_state:status", "Compare the account with gateway.toml."),
    "watch": CommandEntry("cloud_watch", "Report missing shares and planned maintenance."),
    "destroy": CommandEntry("cloud_state:destroy", "Remove what natpair created, and nothing else."),
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
    """Create, watch and remove a pair on Linode."""
