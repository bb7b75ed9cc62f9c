"""The agent's watch on the provider's account, for `watch.enabled` alone: nothing else in the agent imports `linode`.

A task of its own that only reports what it saw. However slow, silent or wrong the API is, a look ends in bounded time
and the next one comes later; no decision and no takeover ever waits for it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from natpair.agent.disk import Lane
from natpair.cloud.watch.look import Look, look, pause, repair
from natpair.core import paths
from natpair.core.account import Trouble
from natpair.core.events import AccountSeen, Event, RepairEnded
from natpair.core.model import Gateway
from natpair.errors import NatpairError
from natpair.linode import sharing
from natpair.linode.client import LinodeClient
from natpair.linode.token import read_token
from natpair.linode.transport import Limits, Transport

REPAIR_SECONDS = 25.0
"""Upper bound of a repair, in seconds. The account is not read meanwhile. Later effects are seen by the next
reading."""
# A few calls for two Linodes: their answers are small, and reading a large one would delay the agent.
_LIMITS = Limits(connect_seconds=5, try_seconds=10, total_seconds=15, tries=3, answer_bytes=512 * 1024)
_PATIENCE = sharing.Patience(settle_seconds=10, look_every_seconds=1)
_DISK_FIX = "see the condition 'disk-stalled'"

Handle = Callable[[Event], None]


class Record(Protocol):
    """Writes a line into the event log."""

    def __call__(self, event: str, **fields: object) -> None:
        """One event and its fields."""


class AccountWatch:
    """Reads the account periodically. `limits` and `patience` are small in tests."""

    def __init__(self, gateway: Gateway, *, limits: Limits = _LIMITS, patience: sharing.Patience = _PATIENCE) -> None:
        self._gateway = gateway
        self._interval = float(gateway.watch.interval_seconds)
        self._limits, self._patience = limits, patience
        self._repair_wanted = False
        self._etc = Lane("disk-token", paths.ETC)

    def repair(self) -> None:
        """Share again the FIPs whose shares this reading found missing."""
        self._repair_wanted = True

    async def run(self, handle: Handle, record: Record) -> None:
        """Read until cancelled."""
        failures = 0
        while True:
            found = await self.once(handle, record)
            failures = failures + 1 if found is not None and found.is_pressed else 0
            asked = 0.0 if found is None else found.retry_after_seconds
            await asyncio.sleep(pause(self._interval, failures, asked, random.random()))  # noqa: S311 - jitter

    async def once(self, handle: Handle, record: Record) -> Look | None:
        """Read the account once, pass the result to `handle`, and repair if it asks for that. None if it could not be
        read.
        """
        self._repair_wanted = False
        api = self._gateway.linode
        try:
            # The token is read each time, so that it can be replaced without a restart.
            token = await self._etc.ask("token", lambda: read_token(Path(api.token_file or ""), {}))
            transport = Transport(token, base_url=api.api_url, limits=self._limits, plain_http=api.plain_http)
        except NatpairError as error:
            handle(AccountSeen(None, None, None, (Trouble("token", error.message, error.fix, refused=True),)))
            return None
        except OSError as error:
            handle(AccountSeen(None, None, None, (Trouble("token", str(error.strerror), _DISK_FIX, refused=False),)))
            return None
        async with transport:
            client = LinodeClient(transport)
            found = await self._look(client, handle)
            if self._repair_wanted and found.seen.lacks:
                handle(RepairEnded(await self._repair(client, found, record)))
                found = await self._look(client, handle)
        return found

    async def _look(self, client: LinodeClient, handle: Handle) -> Look:
        found = await look(client, self._gateway, self._limits.total_seconds + self._limits.connect_seconds)
        handle(found.seen)
        return found

    async def _repair(self, client: LinodeClient, found: Look, record: Record) -> Trouble | None:
        trouble = await repair(client, found, self._patience, REPAIR_SECONDS)
        if trouble is None:
            record("share-repaired", shares=list(found.to_share))
        else:
            record("share-not-repaired", shares=list(found.to_share), why=trouble.why)
        return trouble
