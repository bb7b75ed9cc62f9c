"""`natpair agent`: the daemon. systemd runs it; it stays in the foreground."""

from __future__ import annotations

from pathlib import Path

import click

from natpair.cli.node import resume_apply
from natpair.cli.output import talk


@click.command(name="agent", epilog="Example: natpair agent --config /etc/natpair/gateway.toml")
@click.option("--config", type=click.Path(path_type=Path), help="Configuration to use [default: the one applied last]")
@click.option("--node", metavar="NAME", help="Name of this node, if it cannot be recognised by its name and addresses.")
def command(config: Path | None, node: str | None) -> None:
    """Follow Keepalived's election and configure this node for its role. Traffic flows on without the agent."""
    import asyncio
    import socket

    from natpair.agent.app import run
    from natpair.agent.beginning import Begin, begin, wait_for
    from natpair.apply.settle import config_in_force
    from natpair.config.load import find_node, load
    from natpair.system.machine import own_addresses
    from natpair.system.sdnotify import Notifier

    resume_apply()

    def find() -> Begin:
        # Not /etc/natpair/gateway.toml: it may have edits that were never applied.
        gateway = load(config or Path(config_in_force()))
        me = find_node(gateway, name=node, hostname=socket.gethostname(), addresses=own_addresses())
        return begin(gateway, me.name)

    found = wait_for(find, talk, Notifier())
    watcher = None
    if found.gateway.watch.enabled:
        from natpair.agent.account import AccountWatch

        watcher = AccountWatch(found.gateway)
    asyncio.run(run(found, watcher, str(config) if config else None))
