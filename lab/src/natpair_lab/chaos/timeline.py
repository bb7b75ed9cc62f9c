"""Who owned what and when, computed from a history: pure arithmetic on intervals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from natpair_lab.chaos.history import History, Offer
from natpair_lab.drill.analysis import Interval, longest_gap_ns, overlap, union
from natpair_lab.drill.records import RouteChange

CLAIM_NS = 100_000_000
"""A VIP that is held for a shorter time was a claim, not a role."""


def subtract(whole: Sequence[Interval], holes: Sequence[Interval]) -> list[Interval]:
    """The parts of `whole` that none of `holes` covers."""
    left = list(whole)
    for a, b in holes:
        left = [piece for start, end in left for piece in ((start, min(end, a)), (max(start, b), end))]
        left = [(start, end) for start, end in left if end > start]
    return union(left)


def dark(history: History, node: str, *links: str) -> list[Interval]:
    """When a node had no power, or was cut off on one of `links`."""
    return union((d.from_ns, d.to_ns) for d in history.dark if d.node == node and d.link in ("power", *links))


def holds_vip(history: History, node: str) -> list[Interval]:
    """When a node's kernel had the VIP and the VLAN could reach it."""
    had: list[Interval] = []
    since = history.baseline_ns if node in history.vip_start else None
    for change in history.vips:
        if change.node != node:
            continue
        if change.owned and since is None:
            since = change.time_ns
        elif not change.owned and since is not None:
            had.append((since, change.time_ns))
            since = None
    if since is not None:
        had.append((since, history.end_ns))
    return subtract(had, dark(history, node, "vlan"))


def announces(history: History, node: str) -> list[Interval]:
    """When the route servers held a node's announcement as primary and the node was reachable there."""
    last = Offer(history.end_ns, ())
    said = ((a.time_ns, b.time_ns) for a, b in pairwise((*history.offers, last)) if node in a.nodes)
    return subtract(union(said), dark(history, node, "public"))


def both(history: History) -> list[Interval]:
    """When both nodes owned the VIP, or both announced themselves as primary."""
    one, other = history.nodes
    twice = [overlap(what(history, one), what(history, other)) for what in (holds_vip, announces)]
    return union(interval for intervals in twice for interval in intervals)


def best_path(history: History) -> list[tuple[int, int, tuple[str, ...]]]:
    """The fabric's route for the FIP as (from, to, nodes)."""
    start = RouteChange(history.baseline_ns, history.path_start)
    changes = [start, *history.routes, RouteChange(history.end_ns, ())]
    return [(a.time_ns, b.time_ns, a.nodes) for a, b in pairwise(changes) if b.time_ns > a.time_ns]


def misrouted(history: History) -> list[Interval]:
    """When exactly one node owned the VIP and the fabric sent replies only elsewhere, or nowhere."""
    one, other = history.nodes
    wrong: list[Interval] = []
    for node, rival in ((one, other), (other, one)):
        alone = subtract(holds_vip(history, node), holds_vip(history, rival))
        elsewhere = union((a, b) for a, b, nodes in best_path(history) if node not in nodes)
        wrong += overlap(alone, elsewhere)
    return union(wrong)


def longest_after(intervals: Iterable[Interval], moment_ns: int) -> int:
    """The longest part of the intervals after a given time; 0 if there is none."""
    return longest_gap_ns((max(a, moment_ns), b) for a, b in intervals if b > moment_ns)


def takings(history: History) -> int:
    """How often a node took the VIP after the event, while it could be reached on the VLAN, and kept it.

    A VIP that is given back within `CLAIM_NS` was a claim that the other node refused. A VIP that is away for no longer
    than that was never given up.
    """
    taken = 0
    for node in history.nodes:
        held = union((a, b + CLAIM_NS) for a, b in holds_vip(history, node))
        later = subtract([(a, b - CLAIM_NS) for a, b in held], [(0, history.event_ns)])
        dark_ends = {b for _, b in dark(history, node, "vlan")}
        taken += sum(1 for a, b in later if b - a > CLAIM_NS and a != history.event_ns and a not in dark_ends)
    return taken
