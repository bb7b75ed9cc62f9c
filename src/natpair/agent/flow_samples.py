"""Measures the standby's copy of the flows by samples: the active node names some flows, the standby looks them up."""

from __future__ import annotations

import asyncio
import time
from ipaddress import IPv4Network

from natpair.agent.cell import StateCell
from natpair.core.messages import SAMPLE_SIZE, Flow
from natpair.system import flows

SAMPLE_SECONDS = 5.0
_REPLICATION_SECONDS = 0.5
"""Seconds until a missing flow is looked up again. A new flow may still be in flight to the standby."""
_STALE_SECONDS = 3 * SAMPLE_SECONDS
_SAMPLE_COPIES = 2
"""Messages that carry the same sample, in case one is lost."""


class SyncWatch:
    """Names flows while this node is active, and looks up the flows that the peer names."""

    def __init__(self, clients: IPv4Network, cell: StateCell) -> None:
        self._clients = clients
        self._cell = cell
        self._sample: tuple[Flow, ...] = ()
        self._copies = 0
        self._asked: asyncio.Queue[tuple[Flow, ...]] = asyncio.Queue(maxsize=1)
        self._checked: tuple[float, int, int] = (0.0, 0, 0)

    def asked(self, sample: tuple[Flow, ...]) -> None:
        """Take a sample from the peer. Only one is looked up at a time."""
        if not self._asked.full():
            self._asked.put_nowait(sample)

    def attach(self, sample: tuple[Flow, ...]) -> None:
        """Put `sample` into the next messages on the private path, where the flows themselves are replicated."""
        self._sample, self._copies = sample, _SAMPLE_COPIES

    def next_sample(self) -> tuple[Flow, ...]:
        """The sample for the message that is being sent; empty if there is none to send."""
        if not self._copies:
            return ()
        self._copies -= 1
        return self._sample

    def missing(self) -> tuple[int, int]:
        """(size of the last sample, how many of it are missing here); zeros if there was none recently."""
        at, sampled, missing = self._checked
        return (sampled, missing) if time.monotonic() - at < _STALE_SECONDS else (0, 0)

    async def send_samples(self) -> None:
        """Send a sample every few seconds while this node is active."""
        while True:
            await asyncio.sleep(SAMPLE_SECONDS)
            if self._cell.get().claims_active:
                try:
                    self.attach(await flows.sample(SAMPLE_SIZE, self._clients))
                except OSError:
                    continue  # without conntrack there are no flows to name

    async def check_samples(self) -> None:
        """Look up the flows that the peer names."""
        while True:
            sample = await self._asked.get()
            try:
                missing = await flows.unknown(sample)
                if missing:
                    await asyncio.sleep(_REPLICATION_SECONDS)
                    missing = await flows.unknown(missing)
            except OSError:
                continue  # a sample that cannot be looked up says nothing
            self._checked = (time.monotonic(), len(sample), len(missing))
