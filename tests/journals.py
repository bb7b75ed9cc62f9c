"""Lines of the agents' journals as tests need them: a switchover as the giver and the taker wrote it."""

from __future__ import annotations

from typing import Any


def line(time: float, event: str, node: str = "nat-a", **fields: Any) -> dict[str, Any]:
    return {"time": time, "node": node, "event": event, "transition": f"{node}-20-{time:g}", **fields}


def move(time: float, before: str, after: str, node: str = "nat-a", **fields: Any) -> dict[str, Any]:
    usual = {"cause": f"why {after}", "epoch": 20, "peer_epoch": 19}
    return line(time, "transition", node, before=before, after=after, **(usual | fields))


GIVER = [
    line(9.0, "fifo", role="MASTER"),
    line(99.99, "asked", verb="switchover", force=False),
    move(100.0, "active", "handing-over"),
    move(100.5, "handing-over", "standby", peer_epoch=23),
    line(100.6, "step", step="traffic-relay", took_ms=4.25),
    line(101.6, "fifo", role="MASTER"),
]
TAKER = [
    move(100.1, "standby", "preparing", "nat-b", epoch=23, peer_epoch=20),
    line(100.3, "fifo", "nat-b", role="MASTER"),
    move(100.31, "preparing", "active", "nat-b", epoch=23, peer_epoch=20),
    line(100.4, "step", "nat-b", step="conntrackd-complete", ok=False),
    line(102.0, "peer-active", "nat-b", peer="nat-a", epoch=26),
    line(150.0, "step", "nat-b", step="conntrackd-bulk", ok=True),
]
