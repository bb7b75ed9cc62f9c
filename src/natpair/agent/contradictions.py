"""Finds and deletes flow entries that contradict the current configuration.

A client that keeps sending under a FIP that was removed renews its dead entry with each packet. Such packets are
dropped by the leak guard, which notes to which address their replies would have gone; entries of that address are
deleted, and the client's next packet begins a correct flow. conntrackd sends each deletion to the peer.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv4Network

from natpair.errors import CommandFailed, Unsupported
from natpair.system import flows

_LOOKS_SECONDS = (0.5, 1.5, 2.0, 3.0)
"""Seconds before each check, once there is a reason to check. Clients send at different times."""
_AT_ONCE = 16
"""Addresses handled in one check. Each needs a pass over the flow table in its own process."""

Report = Callable[..., None]


class Contradictions:
    """Checks only with a reason: a start, a promotion, a repair of the ruleset, or dropped packets."""

    def __init__(self, network: IPv4Network, fips: Iterable[IPv4Address], report: Report) -> None:
        self._network = network
        self._fips = frozenset(fips)
        self._report = report
        self._reason = asyncio.Event()
        self._unguarded = asyncio.Event()
        self.given_up: tuple[IPv4Address, ...] = ()
        """FIPs of the earlier configuration."""

    def look(self, *, unguarded: bool = False) -> None:
        """Check soon. `unguarded`: the ruleset was missing, so flows may have begun without translation."""
        self._reason.set()
        if unguarded:
            self._unguarded.set()

    async def run(self, settled: asyncio.Event) -> None:
        """Check until cancelled, first for `given_up`, once `settled` says that the new rules are in force."""
        await settled.wait()
        for address in self.given_up:
            await self._delete(address)
        while True:
            for pause in _LOOKS_SECONDS:
                # Such a flow must be deleted before its client tries again, a second after its first packet.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._unguarded.wait()
                await self._once()
            await self._reason.wait()
            self._reason.clear()

    async def _once(self) -> None:
        unguarded = self._unguarded.is_set()
        self._unguarded.clear()
        try:
            found = await flows.untranslated(_AT_ONCE, self._network) if unguarded else await flows.contradicting()
        except (CommandFailed, OSError):
            return  # the next look, or the next reason
        for address in found[:_AT_ONCE]:
            await self._delete(address)

    async def _delete(self, address: IPv4Address) -> None:
        if address in self._fips:
            return
        try:
            count = await flows.delete(self._network, address)
        except (CommandFailed, OSError, Unsupported) as error:
            self._report("step", step="flows-not-deleted", detail=str(error))
            return
        if count:
            self._report("step", step="flows-deleted", translated=str(address), count=count)
