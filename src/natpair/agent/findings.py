"""Puts together what the tasks have found: the facts of a node's health that `Sources` does not read itself."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

from natpair.agent.daemons import Daemons
from natpair.agent.disk import Disks
from natpair.agent.flow_samples import SyncWatch
from natpair.agent.lookout import Lookout
from natpair.agent.peerlink import PeerLink
from natpair.agent.repairer import Repairer
from natpair.agent.replies import ReplyWatch
from natpair.agent.tasks import TaskBoundary
from natpair.agent.vlan import Vlan
from natpair.core.state import Health


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
        sampled, lacking = self.sync.lacking()
        established, total = self.daemons.bgp
        seen = self.lookout.seen
        return replace(
            health,
            conntrackd=self.daemons.conntrackd,
            cached=self.daemons.cached,
            bgp_established=established,
            bgp_total=total,
            plain_sessions=self.daemons.plain_sessions,
            astray=self.repairer.astray,
            barred=self.repairer.barred,
            sampled=sampled,
            lacking=lacking,
            mac=self.vlan.mac,
            contested=self.vlan.contest.by(),
            twice=self.vlan.twice.found(),
            **disk_facts(self.disks, now),
            failed_parts=self.boundary.failed(),
            foreign_version=self.link.foreign_version,
            keys_differ=self.link.keys_differ,
            large_lost=self.link.large_lost,
            clock_ahead=self.link.clock_ahead,
            replies=self.replies.verdicts,
            asking=self.replies.asking,
            reached=self.replies.reached,
            most_flows=seen.most_flows,
            refusing=seen.refusing,
            overflowing=seen.overflowing,
            crowd=seen.crowd,
            key_mode=seen.key_mode,
            key_missing=seen.key_missing,
            misplaced=seen.misplaced,
            rollback_at=seen.rollback_at,
        )


def disk_facts(disks: Disks, now: float) -> dict[str, Any]:
    """What has not answered, or was refused; nothing while all is well."""
    stall = disks.stalled(now)
    if stall is not None:
        return {"disk_path": stall.path, "disk_seconds": stall.seconds}
    refused = next(iter(disks.var.failures().values()), "")
    return {"disk_path": disks.var.path, "disk_error": refused} if refused else {}
