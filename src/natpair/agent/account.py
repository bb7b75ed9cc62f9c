"""The agent's eye on the provider's account, for `watch.enabled` alone: nothing else in the agent imports `linode`.

A task of its own that only tells what it saw. However slow, mute or wrong the API is, a look ends in bounded time
and the next one comes later; no decision and no takeover ever waits for it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from natpair.agent.disk import Lane
from natpair.core import paths
from natpair.core.account import Lack, Trouble, Work
from natpair.core.events import AccountSeen, Event, RepairEnded
from natpair.core.model import Gateway
from natpair.errors import ApiError, NatpairError
from natpair.linode import sharing
from natpair.linode.client import LinodeClient
from natpair.linode.lookout import Blind, Gone, Look, Machine, Planned, look
from natpair.linode.token import read_token
from natpair.linode.transport import Limits, Transport

LONGEST_PAUSE_SECONDS = 300.0
"""A look that failed is repeated later and later, up to this: when the API is back, the account is seen soon."""
REPAIR_SECONDS = 25.0
"""While shares are mended nobody looks; what has not shown by then is for the next look to find."""
# A handful of calls for two Linodes: their answers are small, and reading a large one would hold up the agent.
_LIMITS = Limits(connect_seconds=5, try_seconds=10, total_seconds=15, tries=3, answer_bytes=512 * 1024)
_PATIENCE = sharing.Patience(settle_seconds=10, look_every_seconds=1)
_JITTER = 0.1
_DISK_CURE = "see the condition 'disk-stalled'"

Handle = Callable[[Event], None]


class Record(Protocol):
    """Writes a line into the event log."""

    def __call__(self, event: str, **fields: object) -> None:
        """One event and its fields."""


class AccountWatch:
    """Looks at the account again and again. `limits` and `patience` are small in tests."""

    def __init__(self, gateway: Gateway, *, limits: Limits = _LIMITS, patience: sharing.Patience = _PATIENCE) -> None:
        self._api = gateway.linode
        self._interval = float(gateway.watch.interval_seconds)
        self._nodes = machines(gateway)
        self._fips = gateway.pair.fips
        self._limits, self._patience = limits, patience
        self._repair_wanted = False
        self._etc = Lane("disk-token", paths.ETC)

    def repair(self) -> None:
        """Share again what the look that is being told found missing."""
        self._repair_wanted = True

    async def run(self, handle: Handle, record: Record) -> None:
        """Look for ever."""
        failures = 0
        while True:
            seen = await self.once(handle, record)
            failures = failures + 1 if is_pressed(seen) else 0
            asked = 0.0 if seen is None else seen.retry_after_seconds
            await asyncio.sleep(pause(self._interval, failures, asked, random.random()))  # noqa: S311 - jitter

    async def once(self, handle: Handle, record: Record) -> Look | None:
        """One look, told to `handle`, and the repair that it may ask for; None if there was no way to look."""
        self._repair_wanted = False
        try:
            # Read anew each time: a token is exchanged without a restart.
            token = await self._etc.ask("token", lambda: read_token(Path(self._api.token_file or ""), {}))
            transport = Transport(
                token, base_url=self._api.api_url, limits=self._limits, plain_http=self._api.plain_http
            )
        except NatpairError as error:
            handle(AccountSeen(None, None, None, (Trouble("token", error.message, error.cure, refused=True),)))
            return None
        except OSError as error:
            handle(AccountSeen(None, None, None, (Trouble("token", str(error.strerror), _DISK_CURE, refused=False),)))
            return None
        async with transport:
            client = LinodeClient(transport)
            seen = await self._look(client, handle)
            if self._repair_wanted and seen.gone:
                handle(RepairEnded(await self._repair(client, seen.gone, record)))
                seen = await self._look(client, handle)
        return seen

    async def _look(self, client: LinodeClient, handle: Handle) -> Look:
        part_seconds = self._limits.total_seconds + self._limits.connect_seconds
        seen = await look(client, self._nodes, self._fips, datetime.now(UTC), part_seconds)
        handle(told(seen, time.monotonic(), datetime.now(UTC)))
        return seen

    async def _repair(self, client: LinodeClient, gone: tuple[Gone, ...], record: Record) -> Trouble | None:
        mended = [one for one in gone if one.drift.repairable]
        names = [f"{one.fip} to {one.node}" for one in mended]
        try:
            async with asyncio.timeout(REPAIR_SECONDS):
                await sharing.repair(client, [one.drift for one in mended], self._patience)
        except (NatpairError, TimeoutError) as error:
            why = error.message if isinstance(error, NatpairError) else f"no end within {REPAIR_SECONDS:g} s"
            record("share-not-repaired", shares=names, why=why)
            refused = isinstance(error, ApiError) and error.status in {401, 403}
            return Trouble("repair", why, getattr(error, "cure", ""), refused)
        record("share-repaired", shares=names)
        return None


def machines(gateway: Gateway) -> tuple[Machine, ...]:
    """The pair's nodes as a look finds them."""
    return tuple(Machine(node.name, node.public_address.ip, node.linode) for node in gateway.node)


def is_pressed(seen: Look | None) -> bool:
    """Whether to leave the API alone for longer: it is unwell.

    A refusal is no reason: somebody will mend the token, and should not have to wait for us to notice.
    """
    return seen is not None and any(not one.refused for one in seen.blind)


def pause(interval: float, failures: int, asked: float, chance: float) -> float:
    """Seconds to the next look. `asked` is the API's own Retry-After, `chance` from 0 to 1 keeps two agents apart."""
    longest = max(interval, LONGEST_PAUSE_SECONDS)
    usual = min(interval * 2.0 ** min(failures, 16), longest)
    return max(usual, asked) * (1 - _JITTER + 2 * _JITTER * chance)


def told(seen: Look, now: float, wall: datetime) -> AccountSeen:
    """A look in the words of core; `now` and `wall` are the same moment on the two clocks."""

    def works(planned: tuple[Planned, ...] | None) -> tuple[Work, ...] | None:
        return None if planned is None else tuple(_work(one, now, wall) for one in planned)

    lacks = None if seen.gone is None else tuple(_lack(one) for one in seen.gone)
    return AccountSeen(lacks, works(seen.planned), works(seen.events), tuple(map(_trouble, seen.blind)))


def _work(planned: Planned, now: float, wall: datetime) -> Work:
    begins = None if planned.begins is None else now + (planned.begins - wall).total_seconds()
    return Work(planned.node, planned.key, planned.what, begins)


def _lack(gone: Gone) -> Lack:
    return Lack(str(gone.fip), gone.node, gone.why, gone.drift.repairable)


def _trouble(blind: Blind) -> Trouble:
    return Trouble(blind.part, blind.error.message, blind.error.cure, blind.refused)
