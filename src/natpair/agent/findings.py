"""Adds to a health reading what other tasks have found and `Sources` does not read itself."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from natpair.agent.daemons import Daemons
from natpair.agent.disk import Disks
from natpair.agent.flow_samples import SyncWatch
from natpair.agent.lookout import Lookout
from natpair.agent.peerlink import PeerLink
from natpair.agent.repairer import Repairer
from natpair.agent.replies import ReplyWatch
from natpair.agent.tasks import TaskBoundary
from natpair.agent.vlan import Vlan
from natpair.core.health import AddressReading, BgpSessions, DiskTrouble, Health, HeartbeatReading


@dataclass(frozen=True, slots=True)
class Findings:
    """The parts that know something about the node's health."""

    disks: Disks
    daemons: Daemons
    repairer: Repairer
    sync: SyncWatch
    vlan: Vlan
    link: PeerLink
    replies: ReplyWatch
    lookout: Lookout
    boundary: TaskBoundary

    def add_to(self, health: Health) -> Health:
        """`health` with what these parts have found."""
        now = time.monotonic()
        sampled, missing = self.sync.missing()
        established, total = self.daemons.bgp
        seen = self.lookout.seen
        return replace(
            health,
            conntrackd=self.daemons.conntrackd,
            cached=self.daemons.cached,
            bgp=BgpSessions(established, total, self.daemons.plain_sessions),
            table=replace(
                health.table,
                most_flows=seen.most_flows,
                refusing=seen.refusing,
                overflowing=seen.overflowing,
                crowd=seen.crowd,
            ),
            sync=replace(health.sync, sampled=sampled, missing=missing),
            heartbeats=HeartbeatReading(
                self.link.foreign_version,
                self.link.keys_differ,
                seen.key_mode,
                seen.key_missing,
                self.link.clock_ahead,
                self.link.large_lost,
            ),
            addresses=AddressReading(self.vlan.contest.by() or None, seen.misplaced, self.vlan.twice.found()),
            disk=disk_trouble(self.disks, now),
            mac=self.vlan.mac,
            unrepaired=self.repairer.unrepaired,
            barred=self.repairer.barred,
            failed_parts=self.boundary.failed(),
            replies=self.replies.verdicts,
            asking=self.replies.asking,
            reached=self.replies.reached,
            rollback_at=seen.rollback_at,
        )


def disk_trouble(disks: Disks, now: float) -> DiskTrouble | None:
    """The disk that has not answered or could not be written; None if all disks work."""
    stall = disks.stalled(now)
    if stall is not None:
        return DiskTrouble(stall.path, seconds=stall.seconds)
    refused = next(iter(disks.var.failures().values()), None)
    return None if refused is None else DiskTrouble(disks.var.path, error=refused)
