"""The tasks that read the node's surroundings periodically and turn what they find into events."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

from natpair.agent.bindings import Bindings
from natpair.agent.cell import StateCell
from natpair.agent.contradictions import Contradictions
from natpair.agent.daemons import Daemons
from natpair.agent.reconciler import Reconciler
from natpair.agent.vlan import GatewayProbe, Vlan
from natpair.core.conditions_pair import SYNC_QUIET_SECONDS
from natpair.core.events import (
    ArrivalSeen,
    ClientsSeen,
    Event,
    Frozen,
    HealthRead,
    Tick,
    VrrpChanged,
)
from natpair.core.health import FlowTable, Health, SyncReading
from natpair.core.messages import VrrpRole
from natpair.core.model import Gateway
from natpair.core.state import NodeState
from natpair.errors import DaemonError
from natpair.system import keepalived, links, nft
from natpair.system.files import read_number

Handle = Callable[[Event], None]

_FLOWS = "/proc/sys/net/netfilter/nf_conntrack_count"
_VRRP_SECONDS = 5.0
_VRRP_RETRY_SECONDS = 2.0
_SUSPECT_PACE = 0.7
"""Of the probe interval. Not less: of two nodes whose internet is away the later must have its doubts, an interval
after the first, before the other is sure."""
_COUNTERS_SECONDS = 1.0
_SYNC_LOOKS = 5
"""Looks of a standby in that time: the silence of the peer's conntrackd is to be known soon."""
_SYNC = "sync_in"
_LEAKED = 5
"""Packets a second that the leak guard may drop before it is reported."""
_FULL_LOOK_EVERY = 16
"""Seconds between two full checks. Each takes four nft processes, some 60 ms of CPU. Most changes send a notice
anyway."""
_ARRIVAL_POLL_SECONDS = 0.02
_FROZEN_SECONDS = 1.0
_VIP_RETRY_SECONDS = 0.1


@dataclass(slots=True)
class Readings:
    """The last reading of each source. The health task combines them."""

    keepalived: bool = True
    gateway: bool = True
    relaying: float = 0.0
    limiting: bool = False
    leaking: bool = False
    sync_quiet: float = 0.0


class Sources:
    """Reads health, the election and the clock. Each task passes its events to `handle`.

    `others` adds what other parts have found to a reading. Setting `health_due` starts a reading at once.
    """

    def __init__(
        self,
        gateway: Gateway,
        node: str,
        cell: StateCell,
        fifo: keepalived.NotifyFifo,
        reconciler: Reconciler,
        vlan: Vlan,
        probe: GatewayProbe,
        bindings: Bindings,
        daemons: Daemons,
        contradictions: Contradictions,
        others: Callable[[Health], Health],
        health_due: asyncio.Event,
    ) -> None:
        me = gateway.node_named(node)
        self._private, self._public = me.private_interface, me.public_interface
        self._vip = gateway.pair.vip.ip
        self.interval = gateway.health.probe_interval_ms / 1000
        self._advert = gateway.timing.advert_ms / 1000
        self._cell = cell
        self._fifo = fifo
        self._reconciler = reconciler
        self._vlan = vlan
        self._probe = probe
        self._bindings = bindings
        self._daemons = daemons
        self._contradictions = contradictions
        self._others = others
        self._wake = health_due
        self._read = asyncio.Event()
        self._find_gateway = gateway.health.public_gateway is None
        self._readings = Readings()
        self._adverts: tuple[float, int] | None = None
        self._sync = (0, time.monotonic())
        self.preparing = asyncio.Event()
        """Set while this node waits for the fabric to send it packets for a FIP."""
        self.looked = asyncio.Event()
        """Set once Keepalived, or the kernel, was asked for the role."""
        self.look_at_vip = asyncio.Event()
        """Set when addresses may have changed."""
        self.counters: dict[str, int] = {}
        """Packets by named counter, as they were read last."""

    def wake(self) -> None:
        """Read the health now instead of at the next interval."""
        self._wake.set()

    async def read_health(self) -> None:
        """Read the health now, and wait until the core has it."""
        self._read.clear()
        self._wake.set()
        await self._read.wait()

    def follow(self, before: NodeState, after: NodeState) -> None:
        """A follower of the `StateCell`: notes whether this node waits for packets from the fabric."""
        waits = after.waits_for_fabric
        if waits and not before.waits_for_fabric:
            self.preparing.set()
        elif not waits:
            self.preparing.clear()

    async def health(self, handle: Handle) -> None:
        """Read everything at the probe interval, and the links at once when the kernel gives notice.

        A gateway that has not answered is asked again sooner, so that its loss is known within two seconds.
        """
        due = 0.0
        while True:
            now = time.monotonic()
            if now >= due:
                await self._ask_gateway()
                due = now + self.interval * (_SUSPECT_PACE if self._probe.suspect else 1)
                handle(ClientsSeen(self._vlan.clients()))
                self._vlan.refresh()
                self._reconciler.look_at_tracks()
            handle(HealthRead(self._facts()))
            self._read.set()
            self._wake.clear()
            try:
                async with asyncio.timeout(max(0.0, due - time.monotonic())):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _ask_gateway(self) -> None:
        if self._find_gateway and (self._probe.target is None or self._probe.suspect):
            # The gateway may have another address by now: a lease was renewed, or an interface replaced.
            self._probe.target = await self._default_gateway() or self._probe.target
        self._readings.gateway = self._probe.ask()

    async def _default_gateway(self) -> IPv4Address | None:
        try:
            return await links.default_gateway(self._public)
        except OSError:
            return None

    def _facts(self) -> Health:
        readings = self._readings
        own = Health(
            private_up=links.is_up(self._private),
            public_up=links.is_up(self._public),
            private_why=links.why_down(self._private),
            public_why=links.why_down(self._public),
            leaking=readings.leaking,
            ruleset=self._reconciler.ruleset_ok(),
            gateway=readings.gateway,
            keepalived=readings.keepalived,
            flows=read_number(_FLOWS),
            relaying_seconds=readings.relaying,
            suspect=self._probe.suspect,
            table=FlowTable(limiting=readings.limiting),
            sync=SyncReading(quiet_seconds=readings.sync_quiet),
            sees=self._vlan.sees(),
        )
        return self._others(own)

    async def election(self, handle: Handle) -> None:
        """Read the role from Keepalived's dump, or from where the VIP is, in case a line of the FIFO was missed.

        Not every second, because Keepalived writes a line to its log for each dump.
        """
        while True:
            done = await self._read_role(handle)
            self.looked.set()
            if done:
                await asyncio.sleep(_VRRP_SECONDS if self._readings.keepalived else _VRRP_RETRY_SECONDS)

    async def _read_role(self, handle: Handle) -> bool:
        """Ask Keepalived and pass its answer on, unless a line came on the FIFO meanwhile, which is newer."""
        told = self._fifo.lines
        try:
            role = await self.vrrp_role()
        except OSError:
            return True  # neither Keepalived nor the kernel says anything: ask again later
        if told == self._fifo.lines:
            handle(VrrpChanged(role))
        return told == self._fifo.lines

    async def vip(self, handle: Handle) -> None:
        """Notice that the VIP disappears on an active node. Keepalived has released it, and reports that up to 20 ms
        later.

        In between, a peer that asks would hear that this node is active, and would leave the election.
        If another program deletes the VIP, Keepalived puts it back 10 ms later, stays MASTER and reports nothing.
        """
        lost_at_line: int | None = None
        while True:
            await self.look_at_vip.wait()
            self.look_at_vip.clear()
            if not self._cell.get().holds_vip and lost_at_line != self._fifo.lines:
                continue
            try:
                there = await links.has_address(self._vip)
            except OSError:
                # The kernel gave no answer. That does not mean that the VIP is gone.
                await asyncio.sleep(_VIP_RETRY_SECONDS)
                self.look_at_vip.set()
                continue
            if self._cell.get().holds_vip and not there:
                handle(VrrpChanged(VrrpRole.INIT))
                lost_at_line = self._fifo.lines
            elif there and lost_at_line == self._fifo.lines:
                await self._read_role(handle)
                lost_at_line = None

    async def vrrp_role(self) -> VrrpRole:
        """Keepalived's role as read back. OSError if neither Keepalived nor the kernel answers."""
        try:
            state = await keepalived.dump()
        except DaemonError:
            self._readings.keepalived = False
            self._daemons.keepalived_said(False)
            return VrrpRole.MASTER if await links.has_address(self._vip) else VrrpRole.INIT
        self._readings.keepalived = True
        self._daemons.keepalived_said(True)
        self._adverts = (time.monotonic(), state.adverts_sent)
        # A BACKUP that receives no adverts would never take over, so it does not count as one.
        return VrrpRole.INIT if self._bindings.deaf(state) else state.role

    async def ticks(self, handle: Handle, beat: float, speak: Callable[[], None]) -> None:
        """Each beat: send a message to the peer, step the timers, and check whether this machine stood still."""
        last = time.monotonic()
        while True:
            await asyncio.sleep(beat)
            now = time.monotonic()
            gap, last = now - last, now
            if gap > max(_FROZEN_SECONDS, 2 * beat) and await self._stood_still(gap):
                handle(Frozen(gap))
            speak()
            handle(Tick())

    async def _stood_still(self, gap: float) -> bool:
        """True if Keepalived sent far fewer adverts than the gap had room for: the machine stood still, not only the
        agent.
        """
        before = self._adverts
        if before is None:
            return False
        try:
            role = await self.vrrp_role()
        except OSError:
            return False
        if role is not VrrpRole.MASTER or self._adverts is None:
            return False
        due = (self._adverts[0] - before[0]) / self._advert
        missing = due - (self._adverts[1] - before[1])
        return missing > 0.5 * gap / self._advert and gap > 2 * self._advert

    async def looks(self) -> None:
        """Read the counters, and from time to time the whole ruleset, for changes that sent no notice."""
        self._read_counters()  # the status has them from the start
        for number in itertools.count(1):
            for _ in range((looks := 1 if self._cell.get().claims_active else _SYNC_LOOKS) - 1):
                await asyncio.sleep(_COUNTERS_SECONDS / looks)
                self._note_sync(nft.counter(_SYNC))
            await asyncio.sleep(_COUNTERS_SECONDS / looks)
            if number % _FULL_LOOK_EVERY == 0:
                self._reconciler.look_again()
            self._read_counters()

    def _note_sync(self, count: int) -> None:
        readings, now = self._readings, time.monotonic()
        was_quiet = readings.sync_quiet > SYNC_QUIET_SECONDS
        if count != self._sync[0]:
            self._sync = (count, now)
        readings.sync_quiet = now - self._sync[1]
        if was_quiet != (readings.sync_quiet > SYNC_QUIET_SECONDS):
            self.wake()

    def _read_counters(self) -> None:
        before = self.counters
        self.counters = nft.counters()
        self._note_sync(self.counters.get(_SYNC, 0))
        relaying = self._grew(before, "relayed")
        self._readings.relaying = self._readings.relaying + _COUNTERS_SECONDS if relaying else 0.0
        if self._grew(before, "leak_guard"):
            self._contradictions.look()
        leaked = self.counters.get("leak_guard", 0) - before.get("leak_guard", self.counters.get("leak_guard", 0))
        self._readings.leaking = leaked >= _LEAKED
        self._readings.limiting = self._grew(before, "over_flows") or self._grew(before, "over_rate")

    def _grew(self, before: Mapping[str, int], counter: str) -> bool:
        # A first look, or one after a ruleset that was away, has nothing to compare with: the count is all of history.
        return counter in before and self.counters.get(counter, 0) > before[counter]

    async def arrivals(self, handle: Handle) -> None:
        """While `preparing` is set, check whether packets for a FIP arrive on the public interface."""
        while True:
            await self.preparing.wait()
            baseline: int | None = None
            while self.preparing.is_set():
                seen = nft.counters().get("fip_in")
                if baseline is None:
                    baseline = seen
                elif seen is not None and seen > baseline:
                    handle(ArrivalSeen())
                    self.preparing.clear()
                await asyncio.sleep(_ARRIVAL_POLL_SECONDS)
