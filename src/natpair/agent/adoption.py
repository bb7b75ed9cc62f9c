"""Adoption: an agent that starts on a node which is already active continues without changing anything."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace

from natpair.agent import journal
from natpair.agent.cell import StateCell
from natpair.core.desired import Traffic
from natpair.core.machine import adopt, found_serving
from natpair.core.messages import Phase, VrrpRole
from natpair.core.state import NodeState
from natpair.errors import CommandFailed, DaemonError
from natpair.system import bird, nft


async def adopt_if_active(cell: StateCell, role: VrrpRole, events: journal.Events) -> None:
    """Adopt the node if an earlier agent of this boot left it active and Keepalived, whose `role` it is, is MASTER.

    Without a state.json of the earlier agent the kernel decides. Otherwise an active node would stop serving.
    """
    left, cause = journal.recall(), "adopted from an earlier agent"
    if role is VrrpRole.MASTER and not left.active:
        left, cause = await _found(cell.get()), "adopted as found: it has the VIP and translates"
    if left.active and role is VrrpRole.MASTER:
        state = adopt(cell.get(), left.epoch, time.monotonic(), boosted=left.boosted, fenced=left.fenced)
        cell.put(state)
        moved = {"before": Phase.BOOTING, "after": Phase.ACTIVE, "cause": cause}
        events.transition = journal.transition_id(node=state.terms.me, epoch=left.epoch)
        events.record("transition", epoch=left.epoch, **moved)


async def _found(state: NodeState) -> journal.Remembered:
    """What the kernel and BIRD show of a node whose Keepalived is MASTER."""
    ruleset, announced = None, None
    with contextlib.suppress(CommandFailed):
        ruleset = await nft.read()
    with contextlib.suppress(DaemonError):
        _, announced = await bird.reading()
    local = ruleset is not None and ruleset.traffic is Traffic.LOCAL
    epoch = found_serving(replace(state, vrrp=VrrpRole.MASTER), local=local, announced=announced)
    if epoch is None:
        return journal.Remembered()
    return journal.Remembered(active=True, epoch=epoch, handed=journal.recall().handed)
