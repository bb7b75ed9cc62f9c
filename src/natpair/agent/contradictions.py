"""Flow entries that contradict what is configured now, and what is done about them.

A client that talks all the time under a FIP that was given up renews its dead entry with each packet. Such packets are
dropped by the leak guard, which notes to which address their replies would have gone; entries of that address are
deleted, and the client's next packet begins a flow that is right. conntrackd tells the peer of each deletion.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv4Network

from natpair.errors import CommandFailed, Unsupported
from natpair.system import flows

_LOOKS_SECONDS = (0.5, 1.5, 2.0, 3.0)
"""Pauses before each look, once there is a reason to look: clients speak in their own time."""
_AT_ONCE = 16
"""Addresses dealt with in one look; each is a pass over the table, in a process of its own."""

Report = Callable[..., None]


class Contradictions:
    """Looks for them only with a reason: a start, a promotion, a repair of the ruleset, packets that were stopped."""

    def __init__(self, network: IPv4Network, fips: Iterable[IPv4Address], report: Report) -> None:
        self._network = network
        self._fips = frozenset(fips)
        self._report = report
        self._reason = asyncio.Event()
        self._unguarded = asyncio.Event()
        self.given_up: tuple[IPv4Address, ...] = ()
        """Floating addresses of the configuration before."""

    def look(self, *, unguarded: bool = False) -> None:
        """There is a reason to look; `unguarded`: the ruleset was away, so flows may have begun without translation."""
        self._reason.set()
        if unguarded:
            self._unguarded.set()

    async def run(self, settled: asyncio.Event) -> None:
        """For ever; first for `given_up`, once `settled` says that the new rules hold."""
        await settled.wait()
        for address in self.given_up:
            await self._delete(address)
        while True:
            for pause in _LOOKS_SECONDS:
                # Such a flow has to go before its client tries again, a second after the first time.
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
