"""`natpair agent-stopped`: runs after every end of the agent (ExecStopPost)."""

from __future__ import annotations

import json
from pathlib import Path

import click

from natpair.core import paths


@click.command(name="agent-stopped", epilog="Example: natpair agent-stopped")
def command() -> None:
    """Take a standby without an agent out of the election. An active node is left alone: packets still flow."""
    try:
        active = json.loads(Path(paths.STATE).read_text())["role"] == "active"
    except (OSError, ValueError, KeyError):
        active = False
    health = Path(paths.TRACK_HEALTH)
    if not active and health.parent.is_dir():
        fresh = health.with_name(".health.new")
        fresh.write_text("0\n")
        fresh.replace(health)
