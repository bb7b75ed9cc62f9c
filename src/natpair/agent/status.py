"""The status of a running agent: the core's snapshot of its state, and what the agent's parts have read."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from natpair.agent.applies import Applies
from natpair.agent.cell import StateCell
from natpair.agent.executor import Executor
from natpair.agent.journal import Events
from natpair.agent.peerlink import PeerLink
from natpair.agent.reconciler import Reconciler
from natpair.agent.repairer import Repairs
from natpair.agent.sources import Sources
from natpair.core.history import history, last_transition
from natpair.core.snapshot import announced, snapshot
from natpair.core.status import Status


@dataclass(frozen=True, slots=True)
class StatusReader:
    """Builds the status from the agent's parts. `rendered` is the digest of what this version of natpair renders."""

    cell: StateCell
    reconciler: Reconciler
    sources: Sources
    repairs: Repairs
    link: PeerLink
    events: Events
    executor: Executor
    applies: Applies
    rendered: str

    def status(self) -> Status:
        """What follows from the state, and what was read back of the machine."""
        seen = self.reconciler.observed
        return replace(
            snapshot(self.cell.get(), time.monotonic()),
            time=time.time(),
            rendered=self.rendered,
            traffic=seen.ruleset.traffic.value if seen.ruleset else "none",
            announcement=announced(seen.announcement) if seen.announcement else None,
            counters=self.sources.counters,
            trouble=self.reconciler.trouble,
            foreign_changes=self.reconciler.foreign_changes,
            repairs=tuple(self.repairs.latest),
            rejected_heartbeats=self.link.rejected,
            events_dropped=self.events.dropped,
            last_transition=self.executor.last_transition or last_transition(self.events.recent),
            history=history(self.events.recent, time.time()),
            unconfirmed=self.applies.status(),
        )
