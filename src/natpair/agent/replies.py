"""Checks whether replies come back for each FIP: reads the counters, sends the probes, keeps the evidence.

`core.replies` decides. A standby probes, from its own address, what its peer asks it to probe.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from ipaddress import IPv4Address

from pyroute2 import NetlinkError

from natpair.agent.cell import StateCell
from natpair.agent.vlan import GatewayProbe
from natpair.core.messages import PeerMessage
from natpair.core.model import Gateway
from natpair.core.replies import FipReplies, Replies, Where
from natpair.core.state import NodeState
from natpair.system import flows, nft
from natpair.system.echo import Answer, EchoPort, Kind

READ_SECONDS = 0.5
PROBE_SECONDS = 1.0
URGENT_SECONDS = 0.3
FAR_SECONDS = 0.25
DESTINATIONS_SECONDS = 5.0
_MOST_DESTINATIONS = 4
_HOPS_BEHIND = (2, 3, 4)
_ECHO_SECONDS = 60.0
"""Seconds between two tests whether any destination behind the gateway answers probes, until one has."""
REACHED_SECONDS = 3.0
_PROVED_SECONDS = 2.5


def grace(state: NodeState, said: PeerMessage | None) -> float:
    """Seconds after a change of role in which replies may still be on their way to the other node."""
    # If the peer got no replies either, the cause is not a slow fabric.
    return _PROVED_SECONDS if said is not None and said.unanswered else state.terms.hold + 1


class ReplyWatch:
    """`probe` knows the gateway and its MAC. Sets `health_due` if the result for a FIP changes."""

    def __init__(
        self,
        gateway: Gateway,
        node: str,
        probe: GatewayProbe,
        cell: StateCell,
        health_due: asyncio.Event,
    ) -> None:
        me = gateway.node_named(node)
        self._interface = me.public_interface
        self._own = me.public_address.ip
        self._fips = {str(fip): fip for fip in gateway.pair.fips}
        self._target = gateway.health.probe_target
        self._next_hop = probe.way_out
        self._cell = cell
        self._health_due = health_due
        self._port: EchoPort | None = None
        self._replies = self._fresh()
        self._verdicts: tuple[FipReplies, ...] = ()
        self._probed_at = self._far_at = self._listed_at = 0.0
        self._echo_at = -_ECHO_SECONDS
        self._destinations: tuple[IPv4Address, ...] = ()
        self._reached_at: float | None = None
        self._helping = False

    def _fresh(self) -> Replies:
        return Replies.of(self._fips, behind=self._target is not None)

    @property
    def verdicts(self) -> tuple[FipReplies, ...]:
        """The result for each FIP; empty on a node that is not active."""
        return self._verdicts

    @property
    def asking(self) -> tuple[IPv4Address, ...]:
        """What the peer should try: a FIP as a sender, or from its own address whoever does not answer our FIPs."""
        fips = [self._fips[one.fip] for one in self._verdicts if one.where is Where.FIP]
        if fips:
            return tuple(fips[:_MOST_DESTINATIONS])
        if not self._replies.suspect and not any(one.where for one in self._verdicts):
            return ()
        return self._destinations or ((self._target,) if self._target else ())

    @property
    def reached(self) -> bool | None:
        """Whether this standby reaches what its peer asked about; None if it was not asked or has not tried yet."""
        if not self._helping or self._reached_at is None:
            return None
        return time.monotonic() - self._reached_at < REACHED_SECONDS

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            now = time.monotonic()
            state = self._cell.get()
            before = self.asking, [(one.fip, one.state, one.where, one.elsewhere) for one in self._verdicts]
            said = state.peer.fresh(state.terms, now)
            if state.claims_active:
                self._replies = self._replies.with_peer(reaches=said is not None and said.reached is True)
                await self._serve(now, settled=now >= state.since + grace(state, said))
            elif said is not None and said.ask:
                self._help(said.ask)
            else:
                self._rest()
            if before != (self.asking, [(one.fip, one.state, one.where, one.elsewhere) for one in self._verdicts]):
                self._health_due.set()
            urgent = self._helping or self._replies.urgent(now)
            await asyncio.sleep(URGENT_SECONDS if urgent else READ_SECONDS)

    def _rest(self) -> None:
        self._replies, self._verdicts, self._destinations = self._fresh(), (), ()
        self._helping, self._reached_at = False, None
        self._close()

    async def _serve(self, now: float, *, settled: bool) -> None:
        self._helping = False
        self._hear(now)
        counts = nft.counters()
        read = {fip: (counts.get(f"passed_{fip}"), counts.get(f"back_{fip}")) for fip in self._fips}
        known = {fip: (out, back) for fip, (out, back) in read.items() if out is not None and back is not None}
        self._replies = self._replies.counted(known, now)
        self._verdicts = self._replies.verdicts(now, settled=settled)
        self._probe(now)
        await self._probe_far(now)
        await self._try_echoes(now)

    def _probe(self, now: float) -> None:
        """Send one round of probes if it is due and a FIP needs one. The socket is open only then."""
        hop, mac = self._next_hop()
        fips = self._replies.to_ask(now)
        target = self._target or hop
        if not fips or target is None or not mac or not self._open():
            if not fips:
                self._close()
            return
        if now - self._probed_at < (URGENT_SECONDS * 0.9 if self._replies.urgent(now) else PROBE_SECONDS * 0.9):
            return
        self._probed_at = now
        self._send(self._own, target, mac)
        for fip in fips:
            self._send(self._fips[fip], target, mac)
            if self._replies.tracks[fip].asked > 1:
                # Test who else has the FIP. The fabric sends this back to us, to a machine that answers, or nowhere.
                self._send(self._own, self._fips[fip], mac)
        self._replies = self._replies.asked(fips)

    async def _probe_far(self, now: float) -> None:
        """Probe the clients' destinations, and routers on the way, from the FIPs whose clients get no replies."""
        fips = self._replies.want_far(now)
        mac = self._next_hop()[1]
        pause = DESTINATIONS_SECONDS if all(map(self._replies.patient, fips)) else FAR_SECONDS
        if not fips or not mac or now - self._far_at < pause:
            if not fips and not any(one.where for one in self._verdicts):
                self._destinations = ()
            return
        self._far_at = now
        if not self._destinations or now - self._listed_at > DESTINATIONS_SECONDS:
            await self._list_destinations(now)
        for fip in fips if self._open() else ():
            for target in self._destinations:
                self._send(self._fips[fip], target, mac)
            for hops in _HOPS_BEHIND if self._destinations else ():
                self._send(self._fips[fip], self._destinations[0], mac, hops)
            self._replies = self._replies.asked_far(fip, len(self._destinations))

    async def _try_echoes(self, now: float) -> None:
        """While replies come back, find out whether a destination behind the gateway answers probes. Then later silence
        counts.
        """
        well = [fip for fip, track in self._replies.tracks.items() if track.proven(now)]
        if not well or self._replies.behind or self._replies.echoes or now - self._echo_at < _ECHO_SECONDS:
            return
        self._echo_at = now
        mac = self._next_hop()[1]
        await self._list_destinations(now)
        if mac and self._destinations and self._open():
            for target in self._destinations:
                self._send(self._fips[well[0]], target, mac)
            for hops in _HOPS_BEHIND:
                self._send(self._fips[well[0]], self._destinations[0], mac, hops)

    async def _list_destinations(self, now: float) -> None:
        self._listed_at = now
        with contextlib.suppress(OSError, NetlinkError):
            found = await flows.answered_destinations(_MOST_DESTINATIONS, {*self._fips.values()})
            # Known destinations stay in the list, even if their flow entries have ended.
            both = dict.fromkeys((*self._destinations, *found))
            self._destinations = tuple(both)[:_MOST_DESTINATIONS]

    def _help(self, targets: tuple[IPv4Address, ...]) -> None:
        """Probe from here what the active peer probes without an answer."""
        now = time.monotonic()
        if not self._helping:
            self._rest()
            self._helping = True
        self._hear(now)
        mac = self._next_hop()[1]
        if mac and self._open():
            self._reached_at = self._reached_at or -REACHED_SECONDS
            target = self._target or self._next_hop()[0]
            for asked in targets:
                if asked not in self._fips.values():
                    self._send(self._own, asked, mac)
                elif target is not None:
                    # Check whether the fabric sends the answers here.
                    self._send(asked, target, mac)

    def _send(self, asker: IPv4Address, target: IPv4Address, mac: bytes, hops: int = 64) -> None:
        if self._port is not None:
            self._port.ask(asker, target, mac, hops)

    def _hear(self, now: float) -> None:
        for answer in self._port.heard() if self._port is not None else ():
            self._note(answer, now)

    def _note(self, answer: Answer, now: float) -> None:
        hop = self._next_hop()[0]
        asker = str(answer.asker)
        if answer.kind is Kind.REQUEST:
            return
        if answer.kind is Kind.REPLY and str(answer.sender) in self._fips:
            self._replies = self._replies.claimed(str(answer.sender), str(answer.sender))
        elif answer.kind is Kind.REPLY and answer.target == (self._target or hop):
            self._replies = self._replies.answered(asker, now)
            self._reached_at = now if self._helping else None
        elif answer.sender != hop:
            # The answer came from a destination or a router behind the gateway, so the line works.
            self._replies = self._replies.answered_far(asker, now)
            self._reached_at = now if self._helping else None

    def _open(self) -> bool:
        if self._port is None:
            with contextlib.suppress(OSError):
                self._port = EchoPort(self._interface)
        return self._port is not None

    def _close(self) -> None:
        if self._port is not None:
            self._port.close()
            self._port = None
