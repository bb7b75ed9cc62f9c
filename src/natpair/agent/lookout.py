"""Checks every second what sends no notice: room for flows, the key file, the pair's addresses, an open apply."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

from pyroute2 import NetlinkError

from natpair.agent.cell import StateCell
from natpair.apply import confirm
from natpair.core.capacity import CROWDED, PORTS, Capacity, Crowd, crowd_of
from natpair.core.model import Gateway
from natpair.system import flows, links
from natpair.system.files import read_number

LOOK_SECONDS = 1.0
_REFUSING_SECONDS = 0.5
"""Seconds between checks while new flows find no room, so that the end of it is seen soon."""
_NOTE_SECONDS = 0.1
"""Seconds to wait for the note of an unconfirmed apply. A healthy disk returns it sooner."""
_SAMPLE_SECONDS = 3.0
_SAMPLE_SIZE = 400
_FULL_EVERY = 8
_STATISTICS = "/proc/net/stat/nf_conntrack"
_MOST_FLOWS = "/proc/sys/net/netfilter/nf_conntrack_max"
_FLOWS = "/proc/sys/net/netfilter/nf_conntrack_count"
_MANY_FLOWS = round(CROWDED * PORTS)


@dataclass(slots=True)
class Seen:
    """The result of the last check."""

    most_flows: int = 0
    refusing: bool = False
    overflowing: bool = False
    crowd: Crowd | None = None
    key_mode: int | None = None
    key_missing: bool = False
    misplaced: tuple[str, ...] = ()
    rollback_at: float | None = None
    """When an unconfirmed apply rolls back, on the monotonic clock."""

    @property
    def essence(self) -> tuple[object, ...]:
        """The parts whose change is reported at once. The number of flows and the time left are not among them."""
        crowd = self.crowd is not None and self.crowd.about >= _MANY_FLOWS
        open_apply = self.rollback_at is not None
        return (self.refusing, self.overflowing, crowd, self.key_mode, self.key_missing, self.misplaced, open_apply)


class Lookout:
    """Samples the flow table only while this node is active. Sets `health_due` when a check finds a change."""

    def __init__(self, gateway: Gateway, node: str, cell: StateCell, health_due: asyncio.Event) -> None:
        self._gateway = gateway
        self._me, self._peer = gateway.node_named(node), gateway.peer_of(node)
        self._cell = cell
        self._health_due = health_due
        self._capacity = Capacity()
        self._sampled_at = 0.0
        self._moved = True
        self._reading: asyncio.Future[confirm.Unconfirmed | None] | None = None
        self.seen = Seen()
        self.looked = asyncio.Event()
        """Set once everything was checked."""

    def addresses_changed(self) -> None:
        """Check now, because the kernel has sent a notice."""
        self._moved = True

    async def run(self) -> None:
        """Check until cancelled."""
        number = 0
        while True:
            before = self.seen.essence
            await self._look(number)
            if before != self.seen.essence:
                self._health_due.set()
            number += 1
            await asyncio.sleep(_REFUSING_SECONDS if self.seen.refusing or self.seen.overflowing else LOOK_SECONDS)

    async def _look(self, number: int) -> None:
        now = time.monotonic()
        self._look_at_room(now)
        await self._look_for_crowds(now)
        self.seen.key_mode, self.seen.key_missing = _key(self._gateway.heartbeat.key_file)
        if self._moved or number % _FULL_EVERY == 0:
            self._moved = False
            with contextlib.suppress(OSError, NetlinkError):
                self.seen.misplaced = await links.misplaced(self._belonging())
        await self._look_at_note()
        self.looked.set()

    async def _look_at_note(self) -> None:
        """Read the note in a thread, because the disk may hang. There is never a second thread."""
        if self._reading is None:
            self._reading = asyncio.get_running_loop().run_in_executor(None, confirm.read)
        await asyncio.wait((self._reading,), timeout=_NOTE_SECONDS)
        if not self._reading.done():
            return
        reading, self._reading = self._reading, None
        with contextlib.suppress(OSError):
            note = reading.result()
            self.seen.rollback_at = None if note is None else time.monotonic() + note.deadline - time.time()

    def _look_at_room(self, now: float) -> None:
        self.seen.most_flows = read_number(_MOST_FLOWS) or self._gateway.nat.max_flows
        with contextlib.suppress(OSError, ValueError):
            self._capacity = self._capacity.read(*statistics(Path(_STATISTICS).read_text()), now)
        self.seen.refusing = self._cell.get().claims_active and self._capacity.refusing
        self.seen.overflowing = self._cell.get().claims_active and self._capacity.overflowing

    async def _look_for_crowds(self, now: float) -> None:
        count = read_number(_FLOWS)
        if not self._cell.get().claims_active or not (self.seen.refusing or count >= _MANY_FLOWS):
            self.seen.crowd = None
            return
        if now - self._sampled_at < _SAMPLE_SECONDS:
            return
        self._sampled_at = now
        with contextlib.suppress(OSError):
            fips = {str(fip) for fip in self._gateway.pair.fips}
            self.seen.crowd = crowd_of(await flows.translated(_SAMPLE_SIZE, fips), count)

    def _belonging(self) -> dict[str, str]:
        """Addresses of the pair and the interface of this node on which they may be; empty: on none."""
        me, peer = self._me, self._peer
        own = {
            str(me.private_address.ip): me.private_interface,
            str(me.public_address.ip): me.public_interface,
            str(me.public_address6.ip): me.public_interface,
            str(self._gateway.pair.vip.ip): me.private_interface,
        }
        return own | dict.fromkeys((str(a.ip) for a in (peer.private_address, peer.public_address)), "")


def statistics(text: str) -> tuple[int, int]:
    """(insertions that failed, packets dropped) of all CPUs; ValueError for another form of text."""
    head, *rows = (line.split() for line in text.splitlines())
    failed, dropped = head.index("insert_failed"), head.index("drop")
    return sum(int(row[failed], 16) for row in rows), sum(int(row[dropped], 16) for row in rows)


def _key(path: str) -> tuple[int | None, bool]:
    """The permissions of the key file, and whether it is missing."""
    try:
        return os.stat(path).st_mode & 0o777, False  # noqa: PTH116 - each second: pathlib costs more than the call
    except FileNotFoundError:
        return None, True
    except OSError:
        return None, False
