"""`natpair cloud watch FILE`: shares and planned work, watched from an operator's machine, no token on the nodes."""

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
    from natpair.cli.outlook import Finding, Remote
    from natpair.core.account import Account
    from natpair.core.model import Gateway
    from natpair.linode.client import LinodeClient
    from natpair.linode.lookout import Gone, Look

_SCHEMA = "natpair/cloud-watch/v1"
FOUND = 2
_SSH = "ssh -o BatchMode=yes -o ConnectTimeout=10 root@{address}"


@click.command(
    name="watch", epilog="Example: natpair cloud watch gateway.toml --switch-over --ssh 'ssh -i key root@{address}'"
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--once", is_flag=True, help="One look; exit code 0 if nothing was found, 2 if something was.")
@click.option("--interval", type=click.IntRange(2, 3600), help="Seconds between looks; watch.interval_seconds if not.")
@click.option("--repair-shares", is_flag=True, help="Share again what is missing; other people's shares stay.")
@click.option("--switch-over", is_flag=True, help="Let the active node hand over before planned work on it begins.")
@click.option("--ssh", "words", default=_SSH, show_default=True, help="How a command gets to a node.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def command(
    file: Path, once: bool, interval: int | None, repair_shares: bool, switch_over: bool, words: str, as_json: bool
) -> int:
    """Tell when a FIP is no longer shared to a node, and when the provider is about to work on one.

    Prints what is new and what is over. The token comes from linode.token_file or from the environment. With
    --switch-over the node with work due is asked by ssh whether it is active, and if so to run 'natpair switchover',
    never by force; what is refused is tried again at the next look. How long before: watch.maintenance_lead_seconds.
    """
    from natpair.cli.outlook import Remote
    from natpair.config.load import load

    gateway = load(file)
    watch = Watching(gateway, Remote(gateway, words) if switch_over else None, repair=repair_shares, as_json=as_json)
    if once:
        return asyncio.run(watch.once())
    return asyncio.run(watch.on_and_on(float(interval or gateway.watch.interval_seconds)))


class Watching:
    """One run of the command."""

    def __init__(self, gateway: Gateway, remote: Remote | None, *, repair: bool, as_json: bool) -> None:
        from natpair.core.account import Account

        self._gateway, self._remote = gateway, remote
        self._repair, self._as_json = repair, as_json
        self._account: Account = Account()
        self._known: tuple[Finding, ...] = ()
        self._done: tuple[Finding, ...] = ()

    async def once(self) -> int:
        """One look; the exit code: 0 nothing found, 2 something, else that of what kept us from seeing all of it."""
        seen = await self.look()
        if not self._known and not self._as_json:
            say(f"{symbols().good} every FIP is shared to both nodes, and no work on them is planned")
        if seen.blind:
            return seen.blind[0].error.exit_code
        return FOUND if self._known else 0

    async def on_and_on(self, interval: float) -> int:
        """Look until interrupted."""
        from natpair.agent.account import is_pressed, pause

        first, second = (node.name for node in self._gateway.node)
        talk(f"watching the account for {first} and {second} every {interval:g} s; Ctrl-C ends it")
        failures = 0
        while True:
            seen = await self.look()
            failures = failures + 1 if is_pressed(seen) else 0
            wait = pause(interval, failures, seen.retry_after_seconds, random.random())  # noqa: S311 - jitter
            await asyncio.sleep(wait)

    async def look(self) -> Look:
        """One look, what it found that is new, and what is to be done about it."""
        from natpair.cli.account import transport
        from natpair.cli.outlook import leave
        from natpair.linode.client import LinodeClient

        async with transport(self._gateway) as opened:
            client = LinodeClient(opened)
            seen = await self._see(client)
            if self._repair and seen.gone and any(one.drift.repairable for one in seen.gone):
                await self._mend(client, seen.gone)
                seen = await self._see(client)
        if self._remote is not None:
            self._account, done = await leave(self._account, self._gateway, self._remote, time.monotonic())
            self._tell([one for one in done if one not in self._done])
            self._done = done
        return seen

    async def _see(self, client: LinodeClient) -> Look:
        from natpair.agent.account import machines, told
        from natpair.cli.outlook import changes, findings
        from natpair.core.account import looked
        from natpair.linode.lookout import look

        seen = await look(client, machines(self._gateway), self._gateway.pair.fips, datetime.now(UTC))
        now = time.monotonic()
        event = told(seen, now, datetime.now(UTC))
        self._account = looked(self._account, now, event.lacks, event.planned, event.events, event.troubles)
        found = findings(self._account, [node.name for node in self._gateway.node])
        self._tell(changes(self._known, found))
        self._known = found
        return seen

    async def _mend(self, client: LinodeClient, gone: Sequence[Gone]) -> None:
        from natpair.cli.outlook import Finding
        from natpair.errors import NatpairError
        from natpair.linode import sharing

        mended = [one for one in gone if one.drift.repairable]
        names = ", ".join(f"{one.fip} to {one.node}" for one in mended)
        try:
            await sharing.repair(client, [one.drift for one in mended])
        except NatpairError as error:
            self._tell([Finding("share-not-repaired", "", f"{names}: {error.message}")])
        else:
            self._tell([Finding("share-repaired", "", names)])

    def _tell(self, found: Sequence[Finding]) -> None:
        for one in found:
            if self._as_json:
                moment = datetime.now(UTC).isoformat(timespec="seconds")
                entry = {"schema": _SCHEMA, "time": moment, "event": one.event, "node": one.node or None}
                say(json.dumps(entry | {"text": one.text}))
            else:
                say(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC  {one.event}  {_about(one)}")
        sys.stdout.flush()


def _about(found: Finding) -> str:
    return f"{found.node}: {found.text}" if found.node and found.node not in found.text else found.text
