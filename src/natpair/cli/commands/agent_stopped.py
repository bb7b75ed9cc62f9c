"""`natpair agent-stopped`: systemd runs it whenever the agent has ended (ExecStopPost)."""

from __future__ import annotations

import json
from pathlib import Path

import click

from natpair.core import paths
from natpair.system.files import write_atomic


@click.command(name="agent-stopped", epilog="Example: natpair agent-stopped")
def command() -> None:
    """Take a standby without an agent out of the election. An active node stays active and keeps forwarding."""
    Path(paths.WAITING).unlink(missing_ok=True)
    try:
        active = json.loads(Path(paths.STATE).read_text())["role"] == "active"
    except (OSError, ValueError, KeyError, TypeError):
        active = _translates()
    health = Path(paths.TRACK_HEALTH)
    if not active and health.parent.is_dir():
        write_atomic(health, "0\n", sync=False)


def _translates() -> bool:
    """Whether the ruleset in force translates clients, as on an active node; used if the agent left no state file."""
    import asyncio

    from natpair.core.desired import Traffic
    from natpair.errors import NatpairError
    from natpair.system import nft

    try:
        ruleset = asyncio.run(nft.read())
    except NatpairError:
        return False
    return ruleset is not None and ruleset.traffic is Traffic.LOCAL
