"""Makes the machine be as `core.desired` says: look, change what differs, look again.

Only the newest wish counts: one that comes in while another is carried out replaces all that waited.
A change that failed is tried again, and stays visible in `trouble` until it worked.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from natpair.core import paths
from natpair.core.announcement import Announcement
from natpair.core.desired import Desired, Traffic
from natpair.core.model import Gateway
from natpair.errors import CommandFailed, DaemonError
from natpair.render.bird import role_file
from natpair.render.bundle import render_all
from natpair.system import bird, keepalived, nft
from natpair.system.links import RelayRoutes

_RETRY_SECONDS = 0.2
_REPAIR_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Observed:
    """What was last read back from the kernel and from BIRD; None where nothing could be read."""

    ruleset: nft.Ruleset | None = None
    relay_routes: bool = False
    announcement: Announcement | None = None


class Enforcer:
    """Owns the ruleset's role chains, the relay routes, BIRD's role and Keepalived's track files."""

    def __init__(
        self,
        gateway: Gateway,
        node: str,
        on_step: Callable[[str, float], None],
        on_traffic: Callable[[nft.Ruleset], None],
    ) -> None:
        files = {file.path: file.text for file in render_all(gateway, node)}
        self._base = files[paths.NFTABLES]
        self._traffic = {state: files[f"{paths.GENERATED}/traffic-{state.value}.nft"] for state in Traffic}
        self._duplicate = {True: files[paths.DUPLICATE_ON], False: files[paths.DUPLICATE_OFF]}
        self._fence = {True: files[paths.SYNC_FENCE_ON], False: files[paths.SYNC_FENCE_OFF]}
        me, peer = gateway.node_named(node), gateway.peer_of(node)
        self._routes = RelayRoutes(gateway.pair.fips, peer.private_address.ip, me.private_interface)
        self._gateway = gateway
        self._on_step = on_step
        self._on_traffic = on_traffic
        self._wish: Desired | None = None
        self._expected: nft.Ruleset | None = None
        self._awake = asyncio.Event()
        self._look = True
        self.settled = asyncio.Event()
        """Set while nothing that was wished for is still to be done."""
        self._wrong_since: float | None = time.monotonic()
        self.observed = Observed()
        self.trouble = ""
        self.foreign_changes = 0

    def want(self, wish: Desired) -> None:
        """From now on `wish` should be true. The track files are written here: Keepalived must not wait."""
        if wish != self._wish:
            self._wish = wish
            self._write_tracks(wish)
            self.settled.clear()
            self._awake.set()

    def look_again(self) -> None:
        """Something may have changed behind our back."""
        self._look = True
        self._awake.set()

    def _write_tracks(self, wish: Desired) -> None:
        try:
            if keepalived.write_track(paths.TRACK_HEALTH, int(wish.eligible)):
                self._on_step("eligible" if wish.eligible else "ineligible", 0.0)
            keepalived.write_track(paths.TRACK_BOOST, wish.boost)
        except OSError as error:
            self.trouble = f"track files: {error.strerror}"

    async def run(self) -> None:
        """Enforce until cancelled."""
        while True:
            await self._awake.wait()
            self._awake.clear()
            try:
                await self._round()
                self.trouble = ""
                self._wrong_since = None
                if not self._awake.is_set():
                    self.settled.set()
            except (CommandFailed, DaemonError, OSError) as error:
                self.trouble = str(error)
                self._look = True
                self._wrong_since = self._wrong_since or time.monotonic()
                self._on_step("failed", 0.0)
                await asyncio.sleep(_RETRY_SECONDS)
                self._awake.set()

    async def _round(self) -> None:
        wish = self._wish
        if wish is None:
            return
        self._write_tracks(wish)
        async with asyncio.TaskGroup() as group:
            # BGP first: the fabric takes its time, and asking BIRD starts no process.
            group.create_task(self._enforce_announcement(wish))
            group.create_task(self._enforce_traffic(wish))

    async def _enforce_traffic(self, wish: Desired) -> None:
        if self._look or self._expected is None:
            await self._observe_ruleset()
        if wish.traffic is Traffic.RELAY and not self.observed.relay_routes:
            # Before the switch: a relayed packet without the route would fall into the blackhole.
            await self._routes.add()
        await self._switch(wish)
        if wish.traffic is not Traffic.RELAY and self.observed.relay_routes:
            await self._routes.remove()
        if (wish.traffic is Traffic.RELAY) != self.observed.relay_routes:
            self.observed = replace(self.observed, relay_routes=await self._routes.present())

    async def _observe_ruleset(self) -> None:
        self._look = False
        ruleset = await nft.read()
        if self._expected is not None and ruleset != self._expected:
            self.foreign_changes += 1
            self._expected = None
        self.observed = replace(self.observed, ruleset=ruleset, relay_routes=await self._routes.present())

    async def _switch(self, wish: Desired) -> None:
        seen = self._expected
        parts = [] if seen is not None else [self._base]
        if seen is None or seen.traffic is not wish.traffic:
            parts.append(self._traffic[wish.traffic])
        if seen is None or seen.duplicate != wish.duplicate:
            parts.append(self._duplicate[wish.duplicate])
        if seen is None or seen.fence != wish.fence:
            parts.append(self._fence[wish.fence])
        if not parts:
            return
        began = time.monotonic()
        await nft.transact("\n".join(parts))
        self._on_step("repaired" if seen is None else f"traffic-{wish.traffic}", time.monotonic() - began)
        self._expected = await nft.read()
        self.observed = replace(self.observed, ruleset=self._expected)
        if self._expected is not None:
            self._on_traffic(self._expected)

    async def _enforce_announcement(self, wish: Desired) -> None:
        observed = self.observed.announcement
        if self._look or observed is None:
            observed = await bird.announced()
        if not _same(observed, wish.announcement):
            began = time.monotonic()
            await bird.announce(role_file(wish.announcement))
            self._on_step("announced", time.monotonic() - began)
            observed = await bird.announced()
        self.observed = replace(self.observed, announcement=observed)

    def bird_says(self, announcement: Announcement | None) -> None:
        """A reading from elsewhere; one that is not as wished wakes the enforcer."""
        self.observed = replace(self.observed, announcement=announcement)
        if self._wish is not None and not _same(announcement, self._wish.announcement):
            self._awake.set()

    def ruleset_ok(self) -> bool:
        """What was wished for is in force, or was not for less than the time a repair takes."""
        return self._wrong_since is None or time.monotonic() - self._wrong_since < _REPAIR_SECONDS


def _same(observed: Announcement | None, wished: Announcement) -> bool:
    """Alike in BIRD's eyes: under the policy that sends no MED the role file still defines one."""
    return observed is not None and role_file(observed) == role_file(wished)
