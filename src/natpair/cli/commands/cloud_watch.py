"""`natpair cloud watch FILE`: watch shares and planned maintenance from outside, so that no node needs a token."""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from natpair.cli.output import say, symbols, talk

if TYPE_CHECKING:
    from natpair.cli.remote import Line, Remote
    from natpair.cloud.watch.look import Look
    from natpair.core.account import Account
    from natpair.core.model import Gateway
    from natpair.linode.client import LinodeClient

_SCHEMA = "natpair/cloud-watch/v1"
FOUND = 2
_SSH = "ssh -o BatchMode=yes -o ConnectTimeout=10 root@{address}"


@click.command(
    name="watch", epilog="Example: natpair cloud watch gateway.toml --switch-over --ssh 'ssh -i key root@{address}'"
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--once", is_flag=True, help="Look once; exit code 0 if all is well, 2 if there is a finding.")
@click.option(
    "--interval", type=click.IntRange(2, 3600), help="Seconds between looks [default: watch.interval_seconds]"
)
@click.option("--repair-shares", is_flag=True, help="Restore missing shares; shares made by others are left alone.")
@click.option("--switch-over", is_flag=True, help="Switch over before planned maintenance on the active node.")
@click.option("--ssh", "words", default=_SSH, show_default=True, help="Command prefix that reaches a node.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
def command(
    file: Path, once: bool, interval: int | None, repair_shares: bool, switch_over: bool, words: str, as_json: bool
) -> int:
    """Report FIPs that are no longer shared to a node, and planned maintenance on a node.

    Each line is a new finding or the end of one. The token comes from linode.token_file or from the environment. With
    --switch-over the command asks the node due for maintenance by ssh whether it is active, and if so runs
    'natpair switchover' there, never with --force. It does this watch.maintenance_lead_seconds before the start. A
    refused switchover is tried again at the next look.
    """
    from natpair.cli.remote import Remote
    from natpair.config.load import load

    gateway = load(file)
    watch = Watching(gateway, Remote(gateway, words) if switch_over else None, repair=repair_shares, as_json=as_json)
    if once:
        return asyncio.run(watch.once())
    return asyncio.run(watch.on_and_on(float(interval or gateway.watch.interval_seconds)))


class Watching:
    """State of one run of `natpair cloud watch`."""

    def __init__(self, gateway: Gateway, remote: Remote | None, *, repair: bool, as_json: bool) -> None:
        from natpair.core.account import Account

        self._gateway, self._remote = gateway, remote
        self._repair, self._as_json = repair, as_json
        self._account: Account = Account()
        self._known: tuple[Line, ...] = ()
        self._done: tuple[Line, ...] = ()

    async def once(self) -> int:
        """Look once. Return exit code 0 without findings, 2 with findings, or that of the error if a look failed."""
        seen = await self.look()
        if not self._known and not self._as_json:
            say(f"{symbols().good} every FIP is shared to both nodes, and no maintenance is planned")
        if seen.errors:
            return seen.errors[0].exit_code
        return FOUND if self._known else 0

    async def on_and_on(self, interval: float) -> int:
        """Look until interrupted."""
        from natpair.cloud.watch.look import pause

        first, second = (node.name for node in self._gateway.node)
        talk(f"watching the account for {first} and {second} every {interval:g} s; stop with Ctrl-C")
        failures = 0
        while True:
            seen = await self.look()
            failures = failures + 1 if seen.is_pressed else 0
            wait = pause(interval, failures, seen.retry_after_seconds, random.random())  # noqa: S311 - jitter
            await asyncio.sleep(wait)

    async def look(self) -> Look:
        """Look once, print what is new, and repair or switch over if the options ask for it."""
        from natpair.cli.commands.cloud_common import client_of
        from natpair.cli.remote import leave

        async with client_of(self._gateway) as client:
            seen = await self._see(client)
            if self._repair and seen.repairable:
                await self._share_again(client, seen)
                seen = await self._see(client)
        if self._remote is not None:
            self._account, done = await leave(self._account, self._gateway, self._remote, time.monotonic())
            self._tell([one for one in done if one not in self._done])
            self._done = done
        return seen

    async def _see(self, client: LinodeClient) -> Look:
        from natpair.cloud.watch.look import look
        from natpair.core.account import looked

        found = await look(client, self._gateway)
        seen = found.seen
        self._account = looked(self._account, time.monotonic(), seen.lacks, seen.planned, seen.events, seen.troubles)
        nodes = [node.name for node in self._gateway.node]
        lines = tuple(dict.fromkeys((one.code, one.node, one.text) for one in self._account.findings(nodes)))
        self._tell(changes(self._known, lines))
        self._known = lines
        return found

    async def _share_again(self, client: LinodeClient, found: Look) -> None:
        from natpair.cloud.watch.look import repair
        from natpair.linode.sharing import Patience

        shares, trouble = ", ".join(found.to_share), await repair(client, found, Patience())
        if trouble is None:
            self._tell([("share-repaired", "", shares)])
        else:
            self._tell([("share-not-repaired", "", f"{shares}: {trouble.why}")])

    def _tell(self, lines: Sequence[Line]) -> None:
        for event, node, text in lines:
            if self._as_json:
                moment = datetime.now(UTC).isoformat(timespec="seconds")
                say(json.dumps({"schema": _SCHEMA, "time": moment, "event": event, "node": node or None, "text": text}))
            else:
                about = f"{node}: {text}" if node and node not in text else text
                say(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC  {event}  {about}")
        sys.stdout.flush()


def changes(before: Sequence[Line], after: Sequence[Line]) -> tuple[Line, ...]:
    """The lines that are new in `after`, then an `…-over` line for each that is gone."""
    over = [(f"{event}-over", node, text) for event, node, text in before if (event, node, text) not in after]
    return (*(line for line in after if line not in before), *over)
