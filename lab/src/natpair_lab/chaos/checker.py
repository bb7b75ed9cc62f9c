"""The checker: I1 to I13 as functions of a history. Pure, and independent of the pair's own code.

Each returns a `Finding`: the figure, the bound, and what to look at. If a history misses what an invariant needs, the
finding says so and does not hold: no data is no proof.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

from natpair_lab.chaos import timeline
from natpair_lab.chaos.fault import Fault, Invariant, Limits
from natpair_lab.chaos.history import History, unlike_a_pair
from natpair_lab.drill.analysis import (
    OLD_FLOW_NS,
    connect_refused,
    fault_of,
    longest_gap_ns,
    overlap,
    packets_lost,
    reply_gaps,
    to_ms,
    unexplained_resets,
    union,
)
from natpair_lab.drill.pcap import Reset, ResetKind
from natpair_lab.drill.records import Leak, Link, Seen

NEW_SLACK_MS = 500.0
ANSWER_WITHIN_NS = 10_000_000_000
STATUS_LAG_MS = 1500.0
_PROHIBITED = 13
_SHOWN = 3
_NO_VIP = "no observer saw which node had the VIP"


@dataclass(frozen=True, slots=True)
class Finding:
    """The check of one invariant. `value` None: it could not be checked, which counts as not held."""

    invariant: str
    held: bool
    value: float | None
    bound: float
    unit: str
    detail: str = ""


def check(history: History, fault: Fault) -> tuple[Finding, ...]:
    """Check every invariant that the fault names."""
    return tuple(_RULES[invariant](history, fault) for invariant in fault.invariants)


def outage_ms(history: History) -> float:
    """The longest silence of the echo stream that overlaps the time after the event."""
    return to_ms(longest_gap_ns(reply_gaps(history.udp, history.event_ns, history.end_ns)))


def _finding(
    invariant: Invariant, value: float | None, bound: float, unit: str, detail: Iterable[str] | str = ""
) -> Finding:
    words = detail if isinstance(detail, str) else "; ".join(list(detail)[:_SHOWN])
    return Finding(invariant.value, value is not None and value <= bound, value, bound, unit, words)


def leaks(history: History, _fault: Fault) -> Finding:
    """I1: from the taps on the public switch."""
    private = [seen for seen in history.taps.leaks if seen.leaving]
    seen = [*private, *(alien for alien in history.aliens if not _same(alien, private))]
    return _finding(Invariant.LEAK, len(seen), 0, "packets", (f"{s.node} sent from {s.what.source}" for s in seen))


def _same(alien: Seen[Leak], private: Iterable[Seen[Leak]]) -> bool:
    return any(alien.what == other.what and alien.node == other.node for other in private)


def owners(history: History, fault: Fault) -> Finding:
    """I2: kernels and route servers."""
    if not history.vip_seen or not history.offers:
        missing = "no observer read the route servers" if history.vip_seen else _NO_VIP
        return _finding(Invariant.OWNERS, None, fault.limits.owners_ms, "ms", missing)
    longest = timeline.longest_after(timeline.both(history), history.event_ns)
    return _finding(Invariant.OWNERS, to_ms(longest), fault.limits.owners_ms, "ms")


def path(history: History, fault: Fault) -> Finding:
    """I3: the kernel that has the VIP against the fabric's route."""
    if not history.vip_seen:
        return _finding(Invariant.PATH, None, fault.limits.path_ms, "ms", _NO_VIP)
    longest = timeline.longest_after(timeline.misrouted(history), history.event_ns)
    return _finding(Invariant.PATH, to_ms(longest), fault.limits.path_ms, "ms")


def flows(history: History, fault: Fault) -> Finding:
    """I4: flows that were at least 2 s old at the event and were asked for proof after the injection."""
    limits = fault.limits
    old = [
        flow
        for flow in (*history.flows, *history.connections)
        if flow.opened_ns and flow.opened_ns <= history.event_ns - OLD_FLOW_NS and flow.kind in limits.flow_kinds
    ]
    if not old:
        return _finding(Invariant.FLOWS, None, limits.broken_ratio, "of flows", "no flow was old enough to be checked")
    deadline = max(history.calm_ns, history.probe_ns) + ANSWER_WITHIN_NS
    broken = [f"{flow.kind}: {why}" for flow in old if (why := fault_of(flow, deadline))]
    detail = [f"{len(broken)} of {len(old)}", *sorted(set(broken))] if broken else ""
    return _finding(Invariant.FLOWS, round(len(broken) / len(old), 6), limits.broken_ratio, "of flows", detail)


def resets(history: History, _fault: Fault) -> Finding:
    """I5: resets that left a node without a matching reset having entered one.

    Two kinds do not count: the answer to one of our clients that is over its limit (RFC 5508 REQ-8, RFC 6888 REQ-4),
    and the end of a node's own connection, from its own address, to the provider's API.
    """
    unexplained = unexplained_resets(history.taps.resets, history.own_addresses | history.provider)
    found = [seen for seen in unexplained if not (seen.link is Link.VLAN and _prohibited(seen.what))]
    detail = (f"{seen.node}: {seen.what.kind} {seen.what.source} to {seen.what.destination}" for seen in found)
    return _finding(Invariant.RESETS, len(found), 0, "packets", detail)


def _prohibited(reset: Reset) -> bool:
    """ICMP 3/13, "communication administratively prohibited".

    The code is in the byte before the packet's identification.
    """
    return reset.kind is ResetKind.ICMP_UNREACHABLE and reset.tag >> 16 == _PROHIBITED


def unique(history: History, _fault: Fault) -> Finding:
    """I6: the public address and port seen by servers, for flows that lived at the same time."""
    lives: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for flow in (*history.flows, *history.connections):
        if flow.address and flow.opened_ns:
            lives.setdefault((flow.address, flow.server), []).append((flow.opened_ns, flow.error_ns or history.end_ns))
    clashes = [
        f"{address} to {server}"
        for (address, server), spans in lives.items()
        if any(a[1] > b[0] for a, b in pairwise(sorted(spans)))
    ]
    if not lives:
        return _finding(Invariant.UNIQUE, None, 0, "mappings", "no server saw a flow")
    return _finding(Invariant.UNIQUE, len(clashes), 0, "mappings", clashes)


def new_connections(history: History, fault: Fault) -> Finding:
    """I7: the longest time without a new connection; none may be refused.

    The clients open no more connections after they were asked for proof, so the time after that does not count.
    """
    bound = fault.bound_ms + NEW_SLACK_MS if fault.limits.new_ms is None else fault.limits.new_ms
    opened = sorted(flow.opened_ns for flow in history.connections if flow.opened_ns)
    if not any(history.baseline_ns <= moment <= history.event_ns for moment in opened):
        return _finding(Invariant.NEW, None, bound, "ms", "no new connection was opened before the event")
    refused = sum(1 for flow in history.connections if connect_refused(flow) and flow.started_ns >= history.event_ns)
    edges = [*opened, max(history.probe_ns, history.event_ns)]
    longest = to_ms(longest_gap_ns((a, b) for a, b in pairwise(sorted(edges)) if b > history.event_ns))
    if refused:
        return Finding(Invariant.NEW.value, False, longest, bound, "ms", f"{refused} were refused")
    return _finding(Invariant.NEW, longest, bound, "ms")


def fip_only(history: History, fault: Fault) -> Finding:
    """I8: every client address that the servers saw."""
    grace = (history.event_ns, history.event_ns + int(fault.limits.fip_grace_ms * 1e6))
    seen = [(moment.time_ns, moment.address) for moment in history.udp.seen]
    for flow in (*history.flows, *history.connections):
        seen += [(flow.opened_ns, address) for address in (flow.address, flow.changed_to) if address]
    wrong = [
        address
        for time_ns, address in seen
        if address.rpartition(":")[0] not in history.fips and not grace[0] <= time_ns < grace[1]
    ]
    if not seen:
        return _finding(Invariant.FIP_ONLY, None, 0, "sightings", "no server saw anybody")
    return _finding(Invariant.FIP_ONLY, len(wrong), 0, "sightings", sorted(set(wrong)))


def recovers(history: History, fault: Fault) -> Finding:
    """I9: the time from the start of the repair to a complete pair with its flows on both nodes. Few role changes."""
    after, limits = history.aftermath, fault.limits
    bound = limits.recover_seconds * 1000
    value = None if after.ready_ns is None else to_ms(max(0, after.ready_ns - history.repair_ns))
    wrong = unlike_a_pair(after)
    taken = timeline.takings(history)
    if taken > limits.transitions:
        wrong.append(f"the VIP was taken {taken} times, {limits.transitions} are allowed")
    if value is None:
        wrong.append("the pair did not get ready again")
    finding = _finding(Invariant.RECOVERS, value, bound, "ms", wrong)
    return Finding(finding.invariant, finding.held and not wrong, value, bound, "ms", finding.detail)


def status(history: History, _fault: Fault) -> Finding:
    """I10: how long an agent's role and the kernel disagreed."""
    if not history.agents_speak:
        return _finding(Invariant.STATUS, 0, STATUS_LAG_MS, "ms", "this design reports no status")
    unresponsive = set(history.nodes) - {seen.node for seen in history.statuses}
    if unresponsive:
        return _finding(
            Invariant.STATUS, None, STATUS_LAG_MS, "ms", f"{' and '.join(sorted(unresponsive))} said nothing"
        )
    wrong = [interval for node in history.nodes for interval in _lies(history, node)]
    return _finding(Invariant.STATUS, to_ms(longest_gap_ns(wrong)), STATUS_LAG_MS, "ms")


def _lies(history: History, node: str) -> list[tuple[int, int]]:
    """The times in which a node's agent reported another role than its kernel shows."""
    said = [seen for seen in history.statuses if seen.node == node]
    claimed = union(
        (a.time_ns, b.time_ns)
        for a, b in pairwise(said)
        # The agent was not heard for longer than one poll takes, so at that time it reported nothing.
        if a.role == "active" and b.time_ns - a.time_ns < 1_000_000_000
    )
    silent = timeline.subtract([(history.baseline_ns, history.end_ns)], union(_heard(history, node)))
    real = timeline.holds_vip(history, node)
    differ = [*timeline.subtract(claimed, real), *timeline.subtract(real, claimed)]
    checked = timeline.subtract(union(differ), [*silent, *timeline.dark(history, node, "vlan")])
    return overlap(checked, [(history.event_ns, history.end_ns)])


def _heard(history: History, node: str) -> Iterable[tuple[int, int]]:
    said = [seen.time_ns for seen in history.statuses if seen.node == node]
    return ((a, b) for a, b in pairwise(said) if b - a < 1_000_000_000)


def untouched(history: History, _fault: Fault) -> Finding:
    """I11: packets of the stream that were lost and roles that moved, until the fault may take effect."""
    if not history.udp.sent_ns or not history.vip_seen:
        return _finding(Invariant.UNTOUCHED, None, 0, "packets", _NO_VIP if history.udp.sent_ns else "no stream")
    calm = history if history.felt_ns is None else _before(history, history.felt_ns)
    lost, taken = packets_lost(calm.udp), timeline.takings(calm)
    detail = f"the VIP was taken {taken} times" if taken else ""
    return Finding(Invariant.UNTOUCHED.value, not lost and not taken, lost, 0, "packets", detail)


def _before(history: History, moment_ns: int) -> History:
    """What was sent and what moved before a given time."""
    sent = sum(1 for at in history.udp.sent_ns if at < moment_ns)
    udp = replace(history.udp, sent_ns=history.udp.sent_ns[:sent], received_ns=history.udp.received_ns[:sent])
    return replace(history, udp=udp, vips=tuple(v for v in history.vips if v.time_ns < moment_ns))


def bounded(history: History, fault: Fault) -> Finding:
    """I12: what the nodes used before and after. A node that booted in between counts from zero."""
    before = {use.node: use for use in history.before}
    unreadable = set(history.nodes) - (before.keys() & {use.node for use in history.after})
    if unreadable:
        nodes = " and ".join(sorted(unreadable))
        return _finding(Invariant.BOUNDED, None, fault.limits.rss_growth_kb, "kB", f"no observer read {nodes}")
    worst, wrong = 0, []
    for use in history.after:
        old = before[use.node]
        worst = max(worst, use.rss_kb - old.rss_kb)
        wrong += _grown(use.node, fault.limits, use.flows - old.flows, use.log_bytes - old.log_bytes)
    finding = _finding(Invariant.BOUNDED, worst, fault.limits.rss_growth_kb, "kB", wrong)
    return Finding(finding.invariant, finding.held and not wrong, worst, finding.bound, "kB", finding.detail)


def served(history: History, fault: Fault) -> Finding:
    """I13: the longest silence of the stream in which one and the same node had power and both links all the time.

    No other reason that keeps a node from serving excuses the pair. A fault that hits both nodes says so in its limits.
    """
    if not history.udp.sent_ns:
        return _finding(Invariant.SERVED, None, fault.limits.served_ms, "ms", "no stream")
    silent = reply_gaps(history.udp, history.event_ns, history.end_ns)
    longest, who = 0, ""
    for node in history.nodes:
        able = timeline.subtract([(history.event_ns, history.end_ns)], timeline.dark(history, node, "vlan", "public"))
        # Pair by pair: silences touch each other and would count as one if they were joined.
        gap = longest_gap_ns((max(a, c), min(b, d)) for a, b in silent for c, d in able)
        longest, who = max((longest, who), (gap, node))
    detail = f"{who} could have served" if to_ms(longest) > fault.limits.served_ms else ""
    return _finding(Invariant.SERVED, to_ms(longest), fault.limits.served_ms, "ms", detail)


def _grown(node: str, limits: Limits, flows_more: int, bytes_more: int) -> list[str]:
    wrong = []
    if flows_more > limits.flows_growth:
        wrong.append(f"{node}: {flows_more} flows more")
    if bytes_more > limits.log_growth_bytes:
        wrong.append(f"{node}: {bytes_more} bytes of log more")
    return wrong


Rule = Callable[[History, Fault], Finding]

_RULES: Mapping[Invariant, Rule] = {
    Invariant.LEAK: leaks,
    Invariant.OWNERS: owners,
    Invariant.PATH: path,
    Invariant.FLOWS: flows,
    Invariant.RESETS: resets,
    Invariant.UNIQUE: unique,
    Invariant.NEW: new_connections,
    Invariant.FIP_ONLY: fip_only,
    Invariant.RECOVERS: recovers,
    Invariant.STATUS: status,
    Invariant.UNTOUCHED: untouched,
    Invariant.BOUNDED: bounded,
    Invariant.SERVED: served,
}
