"""Brings the machine to the state that `core.desired` describes: observe, change what differs, observe again.

Only the newest desired state counts. One that arrives while another is being applied replaces all that waited.
A change that failed is tried again and is shown in `trouble` until it succeeds.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from natpair.agent.contradictions import Contradictions
from natpair.agent.repairer import RULESET, Repairs
from natpair.apply import leftovers, lock
from natpair.core import paths
from natpair.core.announcement import Announcement
from natpair.core.desired import Desired, Traffic
from natpair.core.events import Event, TrafficSwitched
from natpair.core.model import Gateway
from natpair.core.repair import Wrong
from natpair.errors import CommandFailed, DaemonError
from natpair.render.base import Sides
from natpair.render.bird import role_file
from natpair.render.bundle import render_all
from natpair.render.nftables import ANY_PEER, TRAFFIC_FILES, peer_guard
from natpair.system import bird, keepalived, links, nft
from natpair.system.links import RelayRoutes

_RETRY_SECONDS = 0.2
_RETRY_LIMIT_SECONDS = 2.0
_REPAIR_SECONDS = 1.0
_IDLE_SECONDS = 0.5
"""Seconds without work after which the `nft` process for the next change is started."""
_TRAFFIC, _ANNOUNCEMENT, _TRACKS = "traffic", "announcement", "track files"


@dataclass(frozen=True, slots=True)
class Observed:
    """What was last read back from the kernel and from BIRD; None where nothing could be read."""

    ruleset: nft.Ruleset | None = None
    relay_routes: bool = False
    announcement: Announcement | None = None


@dataclass(frozen=True, slots=True)
class Failing:
    """A part of the desired state that is not in force: since when, and the last error (empty before the first
    attempt).
    """

    since: float
    text: str


class Reconciler:
    """Owns the ruleset's role chains, the relay routes, BIRD's role and Keepalived's track files.

    `record` writes the event log. After the ruleset was put back the health is read at once (`health_due`),
    and flows that began without it are looked for (`contradictions`).
    """

    def __init__(
        self,
        gateway: Gateway,
        node: str,
        handle: Callable[[Event], None],
        record: Callable[..., None],
        repairs: Repairs,
        contradictions: Contradictions,
        health_due: asyncio.Event,
    ) -> None:
        files = {file.path: file.text for file in render_all(gateway, node)}
        self._base = files[paths.NFTABLES]
        self._traffic = {state: files[TRAFFIC_FILES[state]] for state in Traffic}
        self._duplicate = {True: files[paths.DUPLICATE_ON], False: files[paths.DUPLICATE_OFF]}
        self._sides = Sides.of(gateway, node)
        self._fence = {True: files[paths.SYNC_FENCE_ON], False: files[paths.SYNC_FENCE_OFF]}
        me, peer = gateway.node_named(node), gateway.peer_of(node)
        self._routes = RelayRoutes(gateway.pair.fips, peer.private_address.ip, me.private_interface)
        self._loader = nft.Loader()
        self._handle = handle
        self._record = record
        self._repairs = repairs
        self._contradictions = contradictions
        self._health_due = health_due
        self._pinned: str | None = None
        self._foreign: Wrong | None = None
        self._authors: tuple[str, ...] = ()
        self._made: Desired | None = None
        self._desired: Desired | None = None
        self._expected: nft.Ruleset | None = None
        self._awake = asyncio.Event()
        self._look = True
        self._peer_noted = False
        self.settled = asyncio.Event()
        """Set while everything that was requested is done."""
        self.looked = asyncio.Event()
        """Set once ruleset and announcement were observed and one attempt was made to change what differed."""
        self._failing = {_TRAFFIC: Failing(time.monotonic(), "")}
        self.observed = Observed()
        self.foreign_changes = 0

    def want(self, desired: Desired) -> None:
        """Make `desired` the state to enforce. The track files are written here, because Keepalived must not wait."""
        if desired != self._desired:
            self._desired = desired
            self._write_tracks(desired)
            self.settled.clear()
            self._awake.set()

    def look_again(self) -> None:
        """Observe the machine again, because another program may have changed it."""
        self._look = True
        self._awake.set()

    def look_at_tracks(self) -> None:
        """Put back Keepalived's track files if another program changed them. The kernel sends no notice for files."""
        if self._desired is not None and self._write_tracks(self._desired):
            self._repairs.repaired(Wrong("track files", "another value", "the agent's"))

    def _write_tracks(self, desired: Desired) -> bool:
        try:
            fresh = keepalived.write_track(paths.TRACK_HEALTH, int(desired.eligible))
            if fresh:
                self._step("eligible" if desired.eligible else "ineligible", 0.0)
            fresh |= keepalived.write_track(paths.TRACK_BOOST, desired.boost)
            self._failing.pop(_TRACKS, None)
        except OSError as error:
            self._failing[_TRACKS] = Failing(time.monotonic(), str(error.strerror))
            return False
        return fresh

    def stand_aside(self) -> None:
        """Leave the election: the last thing that an agent does when it stops on a node that is not active."""
        if self._desired is not None:
            self._write_tracks(replace(self._desired, eligible=False))

    async def run(self) -> None:
        """Enforce until cancelled."""
        retry = _RETRY_SECONDS
        while True:
            await self._wait()
            self._awake.clear()
            if self._desired is not None:
                await self._round(self._desired)
            if not self._failing:
                retry = _RETRY_SECONDS
                if not self._awake.is_set():
                    self.settled.set()
                continue
            self._look = True
            # A new desired state does not wait for the old one's retry.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(retry):
                    await self._awake.wait()
            retry = min(2 * retry, _RETRY_LIMIT_SECONDS)
            self._awake.set()

    async def _wait(self) -> None:
        """Wait for work. Meanwhile start the process that the next change needs."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_IDLE_SECONDS):
                await self._awake.wait()
                return
        with contextlib.suppress(OSError):
            await self._loader.ready()
        await self._awake.wait()

    async def close(self) -> None:
        """End the process that waits for the next change."""
        await self._loader.close()

    async def _round(self, desired: Desired) -> None:
        self._write_tracks(desired)
        # BGP first: the fabric is slow, and asking BIRD starts no process. Neither half waits for the
        # other or fails with it: an unresponsive BIRD must not keep the ruleset from being switched.
        await asyncio.gather(
            self._attempt(_ANNOUNCEMENT, self._enforce_announcement(desired)),
            self._attempt(_TRAFFIC, self._enforce_traffic(desired)),
        )
        self.looked.set()

    async def _attempt(self, half: str, work: Awaitable[None]) -> None:
        try:
            await work
            self._failing.pop(half, None)
        except (CommandFailed, DaemonError, OSError) as error:
            if half not in self._failing:
                self._step(f"{half}-failed", 0.0)
                self._failing[half] = Failing(time.monotonic(), str(error))

    @property
    def trouble(self) -> str:
        """What could not be changed, with the errors of nftables, BIRD or the disk; empty while everything is as
        configured.
        """
        return "; ".join(f"{half}: {failing.text}" for half, failing in sorted(self._failing.items()) if failing.text)

    async def _enforce_traffic(self, desired: Desired) -> None:
        blind: OSError | None = None
        if self._look or self._expected is None:
            try:
                await self._observe_ruleset()
            except OSError as error:
                # No process can be started to read the ruleset. The waiting one can still carry out a change of role,
                # once: loading the same again would not show whether it is in force.
                blind = error
                self._look = True
        relay = desired.traffic is Traffic.RELAY
        if relay and not self.observed.relay_routes:
            # Before the switch: a relayed packet without the route would go to the blackhole. A dead VLAN
            # must not keep a node from giving up the role, so an error counts only afterwards.
            with contextlib.suppress(OSError):
                await self._routes.add()
        if blind is None or self._expected is not None or desired != self._made:
            await self._switch(desired)
        await self._pin_peer("" if desired.peer_gone else desired.peer_mac)
        if not relay and self.observed.relay_routes:
            await self._routes.remove()
        if relay != self.observed.relay_routes:
            self.observed = replace(self.observed, relay_routes=await self._routes.present())
        if relay and not self.observed.relay_routes:
            await self._routes.add()
        if blind is not None:
            raise blind

    async def _observe_ruleset(self) -> None:
        self._look = False
        resting = lock.under_way()
        ruleset = await nft.read()
        if resting and self._expected is not None and ruleset is not None:
            # An apply is running. It has restored the marks and is responsible for the rest. Our own text may be older.
            self._expected = ruleset
        if self._expected is not None and ruleset != self._expected:
            self.foreign_changes += 1
            self._foreign = Wrong(RULESET, "changed" if ruleset else "gone", "as rendered")
            # Record it now: the notice of our own change arrives before the repair is written to the log.
            self._authors = self._repairs.authors
            self._expected = None
        self.observed = replace(self.observed, ruleset=ruleset, relay_routes=await self._routes.present())
        if self._made is not None and self._made.peer_mac:
            await self._pin_peer(self._made.peer_mac)  # a new interface does not have the entry

    async def _switch(self, desired: Desired) -> None:
        seen = self._expected
        parts = [] if seen is not None else [self._base]
        if seen is None or seen.traffic is not desired.traffic:
            parts.append(self._traffic[desired.traffic])
        if seen is None or seen.duplicate != desired.duplicate:
            parts.append(self._duplicate[desired.duplicate])
        if seen is None or seen.fence != desired.fence:
            parts.append(self._fence[desired.fence])
        if (seen.peer if seen is not None else ANY_PEER) != (desired.peer_mac or ANY_PEER):
            parts.append(peer_guard(self._sides, desired.peer_mac or ANY_PEER))
        if not parts:
            return
        if self._foreign and desired == self._made and not self._repairs.may_repair(self._foreign.thing):
            # Only repairs wait for an apply. A change of role does not.
            raise DaemonError("somebody changes the ruleset again and again: left alone for a while")
        began = time.monotonic()
        await self._loader.transact("\n".join(parts))
        self._expected = None  # until it is read back
        self._step("repaired" if seen is None else f"traffic-{desired.traffic}", time.monotonic() - began)
        if seen is None:
            self._health_due.set()
        if seen is None or desired.traffic is Traffic.LOCAL:
            self._contradictions.look(unguarded=seen is None)
        self._made = desired
        self._pinned = None  # the interface may be a new one by now
        self._expected = await nft.read()
        self.observed = replace(self.observed, ruleset=self._expected)
        if self._foreign is not None:
            self._repairs.repaired(self._foreign, self._authors)
            self._foreign = None
        if self._expected is not None:
            switched = self._expected
            self._handle(TrafficSwitched(local=switched.traffic is Traffic.LOCAL, duplicate=switched.duplicate))

    def _step(self, name: str, seconds: float) -> None:
        self._record("step", step=name, took_ms=round(seconds * 1000, 2))

    def pinned(self) -> str:
        """The MAC that the peer's VLAN address is pinned to; empty if to none."""
        return self._made.peer_mac if self._made is not None else ""

    async def _pin_peer(self, mac: str) -> None:
        """Pin the peer's address to its known MAC, so that other machines cannot claim it by ARP."""
        if mac == self._pinned:
            return
        self._pinned = mac
        with contextlib.suppress(OSError):  # without the link there is no neighbour entry either
            if mac and not self._peer_noted:
                leftovers.note_peer(self._sides.node.private_interface, str(self._sides.peer.private_address.ip))
                self._peer_noted = True
            await links.pin_neighbour(self._sides.node.private_interface, self._sides.peer.private_address.ip, mac)

    async def _enforce_announcement(self, desired: Desired) -> None:
        observed = self.observed.announcement
        if self._look or observed is None:
            observed = await bird.announced()
        if not _same(observed, desired.announcement):
            began = time.monotonic()
            await bird.announce(role_file(desired.announcement))
            self._step("announced", time.monotonic() - began)
            observed = await bird.announced()
        self.observed = replace(self.observed, announcement=observed)

    def bird_says(self, announcement: Announcement | None) -> None:
        """Take a reading from another part. If it is not as desired, it wakes the reconciler."""
        self.observed = replace(self.observed, announcement=announcement)
        if self._desired is not None and not _same(announcement, self._desired.announcement):
            self._awake.set()

    def ruleset_ok(self) -> bool:
        """True if the requested ruleset is in force, or has been missing for less time than a repair takes."""
        failing = self._failing.get(_TRAFFIC)
        return failing is None or time.monotonic() - failing.since < _REPAIR_SECONDS


def _same(observed: Announcement | None, desired: Announcement) -> bool:
    """True if both are the same for BIRD. Under the policy that sends no MED the role file still defines one."""
    return observed == desired or (observed is not None and role_file(observed) == role_file(desired))
