"""Computes a run's result from its records. Pure arithmetic: no clock, no files, no processes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

from natpair_lab.drill.pcap import Reset
from natpair_lab.drill.records import FlowRecord, Link, RunData, Seen, UdpRecord
from natpair_lab.drill.result import RunResult, Spread, Steps, Summary

LOST_AFTER_NS = 1_000_000_000
OLD_FLOW_NS = 2_000_000_000
STALLED_NS = 150_000_000
RESET_TRANSIT_NS = 5_000_000_000
PRIMARY = "65000:1"
SECONDARY = "65000:2"
_NS_PER_MS = 1_000_000
_SHOWN_GAP_NS = 20_000_000
_SHOWN_GAPS = 12

Interval = tuple[int, int]


def nearest_rank(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile: always one of the values; p99 of fewer than 100 is their maximum."""
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    return ordered[max(1, math.ceil(percent / 100 * len(ordered))) - 1]


def spread(values: Sequence[float]) -> Spread:
    """p50, p99 and maximum of `values`."""
    return Spread(nearest_rank(values, 50), nearest_rank(values, 99), max(values))


def reply_gaps(udp: UdpRecord, from_ns: int, to_ns: int) -> list[Interval]:
    """The silences between successive echo replies that overlap a window, as (start, end).

    A stream that stopped for good has a last gap up to its last packet. A stream whose first reply came late has a gap
    from its first packet: silence at an edge counts, too.
    """
    replies = sorted(time_ns for time_ns in udp.received_ns if time_ns)
    edges = [udp.sent_ns[0], *replies, udp.sent_ns[-1]] if udp.sent_ns else []
    gaps = [(start, end) for start, end in pairwise(edges) if end > start]
    return [(start, end) for start, end in gaps if end > from_ns and start < to_ns]


def longest_gap_ns(gaps: Iterable[Interval]) -> int:
    """The length of the longest gap; 0 if there is none."""
    return max((end - start for start, end in gaps), default=0)


def baseline_gap_ns(udp: UdpRecord, from_ns: int, to_ns: int) -> int:
    """The longest gap that lies entirely inside the undisturbed window."""
    inside = [gap for gap in reply_gaps(udp, from_ns, to_ns) if gap[0] >= from_ns and gap[1] <= to_ns]
    return longest_gap_ns(inside)


def packets_lost(udp: UdpRecord) -> int:
    """Packets without a reply within one second of being sent, over the whole run."""
    pairs = zip(udp.sent_ns, udp.received_ns, strict=True)
    return sum(1 for sent, received in pairs if not received or received - sent > LOST_AFTER_NS)


def recovered(data: RunData) -> bool:
    """Whether the stream worked at the end. If not, the outage is only known to be longer than what was measured."""
    return any(received > data.end_ns - LOST_AFTER_NS for received in data.udp.received_ns)


def addresses(udp: UdpRecord, event_ns: int) -> tuple[str, str]:
    """The stream's public address before the event and at its end; empty if no reply came at all."""
    before = [sighting.address for sighting in udp.seen if sighting.time_ns <= event_ns]
    echoed_after = any(received > event_ns for received in udp.received_ns)
    return (before[-1] if before else "", udp.seen[-1].address if udp.seen and echoed_after else "")


def fault_of(flow: FlowRecord, deadline_ns: int) -> str:
    """Why an opened flow counts as broken; empty if it does not."""
    if flow.changed_to:
        return "address changed"
    if flow.error:
        return flow.error
    if not flow.proven_ns or flow.proven_ns > deadline_ns:
        return "no answer"
    return ""


def connect_stalled(flow: FlowRecord, end_ns: int) -> bool:
    """Whether a new connection took more than 150 ms, or has been waiting for longer."""
    if flow.connect_error:
        return flow.connect_error == "ETIMEDOUT"
    return (flow.opened_ns or end_ns) - flow.started_ns > STALLED_NS


def connect_refused(flow: FlowRecord) -> bool:
    """Whether a new connection was refused: by a RST or an ICMP unreachable."""
    return flow.connect_error not in ("", "ETIMEDOUT")


def unexplained_resets(resets: Sequence[Seen[Reset]], own: frozenset[str]) -> list[Seen[Reset]]:
    """Resets that left a gateway without a matching reset having entered one.

    NAT keeps the remote endpoint and the sequence number, so an entering packet with the same tag and one equal
    endpoint is the same message. Entering at the peer counts, because a standby relays. Messages between the nodes
    themselves (`own` are their addresses) concern no client's flow, such as a heartbeat to an agent that has just died.
    """
    entered: dict[tuple[str, int, str, str], list[int]] = {}
    for seen in resets:
        if not seen.leaving:
            for key in _keys(seen.what):
                entered.setdefault(key, []).append(seen.time_ns)
    return [
        seen
        for seen in resets
        if seen.leaving
        and not {seen.what.sender, seen.what.receiver} <= own
        and not any(
            -_NS_PER_MS <= seen.time_ns - time_ns <= RESET_TRANSIT_NS
            for key in _keys(seen.what)
            for time_ns in entered.get(key, ())
        )
    ]


def _keys(reset: Reset) -> tuple[tuple[str, int, str, str], ...]:
    return (
        (reset.kind.value, reset.tag, "source", reset.source),
        (reset.kind.value, reset.tag, "destination", reset.destination),
    )


def vrrp_claims(data: RunData, node: str, hold_ns: int) -> list[Interval]:
    """When the node claimed to be master by VRRP. An advert counts for `hold_ns` unless it gives up the role."""
    claims: list[Interval] = []
    for seen in data.taps.adverts:
        if seen.node != node:
            continue
        if seen.what.priority == 0:
            claims = [(start, min(end, seen.time_ns)) for start, end in claims]
        else:
            claims.append((seen.time_ns, seen.time_ns + hold_ns))
    return union(claims)


def route_claims(data: RunData, node: str) -> list[Interval]:
    """When the node announced the FIPs as primary. The active node has done so since before the capture."""
    claims: list[Interval] = []
    since = data.baseline_from_ns if node == data.observed.active_before else None
    for seen in data.taps.updates:
        if seen.node != node or not (seen.what.announced or seen.what.withdrawn):
            continue
        primary = PRIMARY in seen.what.communities
        if primary and since is None:
            since = seen.time_ns
        elif not primary and since is not None:
            claims.append((since, seen.time_ns))
            since = None
    if since is not None:
        claims.append((since, data.end_ns))
    return union(claims)


def claims_of(data: RunData, node: str, hold_ns: int) -> list[Interval]:
    """When the node claimed the pair's addresses, by VRRP or by BGP. A node without power claims nothing."""
    claims = union([*vrrp_claims(data, node, hold_ns), *route_claims(data, node)])
    cut = data.cut_ns if node == data.victim else None
    if cut is None:
        return claims
    return union((start, min(end, cut)) for start, end in claims if start < cut)


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """The union of intervals, as disjoint intervals in order."""
    joined: list[Interval] = []
    for start, end in sorted(interval for interval in intervals if interval[1] > interval[0]):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


def overlap(one: Sequence[Interval], other: Sequence[Interval]) -> list[Interval]:
    """The time that both sets of intervals cover."""
    shared = ((max(a, c), min(b, d)) for a, b in one for c, d in other)
    return union(shared)


def role_changes(data: RunData) -> int:
    """How often the role moved, by the announcements on the wire: a node becomes primary that was not primary before.

    In a switchover both are primary for a moment, and may announce again with another MED: no change of role.
    """
    primaries, changes = {data.observed.active_before}, 0
    for seen in data.taps.updates:
        if PRIMARY in seen.what.communities:
            changes += seen.node not in primaries and seen.time_ns > data.event_ns
            primaries.add(seen.node)
        elif seen.what.announced or seen.what.withdrawn:
            primaries.discard(seen.node)
    return changes


def steps(data: RunData) -> Steps:
    """When each step of the survivor's takeover was first seen after the event; none if it was active already."""
    if data.survivor == data.observed.active_before:
        return Steps()
    adverts = (s.time_ns for s in data.taps.adverts if s.node == data.survivor and s.what.priority)
    updates = (s.time_ns for s in data.taps.updates if s.node == data.survivor and PRIMARY in s.what.communities)
    switched = (s.time_ns for s in data.steps if s.node == data.survivor and s.step == "traffic")
    routes = (change.time_ns for change in data.routes if data.survivor in change.nodes)
    learnt = (change.time_ns for change in data.neighbours if change.node == data.survivor)
    return Steps(*(_first_after(data.event_ns, times) for times in (adverts, switched, updates, routes, learnt)))


def fifo_to_update(data: RunData) -> float | None:
    """Milliseconds from Keepalived's MASTER line to the UPDATE on the wire, without the time of a challenge."""
    diary = [s for s in data.steps if s.node == data.survivor and s.time_ns >= data.event_ns]
    told = next((s.time_ns for s in diary if s.event == "fifo" and s.detail.get("role") == "MASTER"), None)
    entered = {str(s.detail.get("after")): s.time_ns for s in reversed(diary) if s.event == "transition"}
    sent = (s.time_ns for s in data.taps.updates if s.node == data.survivor and PRIMARY in s.what.communities)
    update = next((time_ns for time_ns in sorted(sent) if told is not None and time_ns >= told), None)
    if told is None or update is None:
        return None
    asked = entered["active"] - entered["challenging"] if {"active", "challenging"} <= entered.keys() else 0
    return to_ms(update - told - max(asked, 0))


def _first_after(event_ns: int, times: Iterable[int]) -> float | None:
    later = [time_ns for time_ns in times if time_ns >= event_ns]
    return to_ms(min(later) - event_ns) if later else None


def to_ms(nanoseconds: int) -> float:
    """Nanoseconds as milliseconds, rounded to the microsecond."""
    return round(nanoseconds / _NS_PER_MS, 3)


def analyse(data: RunData) -> RunResult:
    """The result of one run."""
    after = reply_gaps(data.udp, data.event_ns, data.end_ns)
    outage = to_ms(longest_gap_ns(after))
    baseline = to_ms(baseline_gap_ns(data.udp, data.baseline_from_ns, data.event_ns))
    before_address, after_address = addresses(data.udp, data.event_ns)
    old, young = _flow_faults(data)
    both = overlap(*(claims_of(data, node, data.advert_hold_ns) for node in (data.victim, data.survivor)))
    seen = data.observed
    return RunResult(
        victim=data.victim,
        survivor=data.survivor,
        outage_ms=outage,
        baseline_gap_ms=baseline,
        excess_ms=round(outage - baseline, 3),
        packets_sent=len(data.udp.sent_ns),
        packets_per_second=rate(data.udp),
        packets_lost=packets_lost(data.udp),
        flows_total=len(old),
        flows_broken=sum(1 for fault in old if fault),
        young_flows_total=len(young),
        young_flows_broken=sum(1 for fault in young if fault),
        new_total=len(data.connections),
        new_refused=sum(1 for flow in (*data.flows, *data.connections) if connect_refused(flow)),
        stalled_new=sum(1 for flow in data.connections if connect_stalled(flow, data.end_ns)),
        slowest_new_ms=to_ms(max(((f.opened_ns or data.end_ns) - f.started_ns for f in data.connections), default=0)),
        resets=len(unexplained_resets(data.taps.resets, data.own_addresses)),
        leaked_packets=sum(1 for leak in data.taps.leaks if leak.link is Link.PUBLIC and leak.leaving),
        address_before=before_address,
        address_after=after_address,
        steps_ms=steps(data),
        fifo_to_update_ms=fifo_to_update(data),
        role_changes=role_changes(data),
        wrong_active=int(seen.active_after != data.expected_active),
        two_claimants_ms=to_ms(longest_gap_ns(both)),
        two_claimants_total_ms=to_ms(sum(end - start for start, end in both)),
        standby_synced=seen.standby_synced,
        repaired_ms=_since_event(data, seen.repaired_ns),
        rejoined_ms=_since_event(data, seen.rejoined_ns),
        moved_back_ms=_since_event(data, seen.moved_back_ns),
        recovered=recovered(data),
        refused=seen.refused,
        refusals=seen.refusals,
        taps_lost=data.taps.lost,
        gaps_ms=_shown_gaps(data, after, max(_SHOWN_GAP_NS, int(baseline * _NS_PER_MS))),
        broken=dict(Counter(fault for fault in (*old, *young) if fault)),
    )


def _since_event(data: RunData, time_ns: int | None) -> float | None:
    return None if time_ns is None else to_ms(time_ns - data.event_ns)


def _shown_gaps(data: RunData, gaps: Sequence[Interval], above_ns: int) -> tuple[tuple[float, float], ...]:
    """The longest silences that exceed the undisturbed noise; the timeline shows them."""
    long = sorted((gap for gap in gaps if gap[1] - gap[0] > above_ns), key=lambda gap: gap[0] - gap[1])
    return tuple(
        (to_ms(start - data.event_ns), to_ms(end - data.event_ns)) for start, end in sorted(long[:_SHOWN_GAPS])
    )


def rate(udp: UdpRecord) -> float:
    """Packets per second over the whole stream."""
    if len(udp.sent_ns) < 2:
        return 0.0
    return round((len(udp.sent_ns) - 1) * 1e9 / (udp.sent_ns[-1] - udp.sent_ns[0]), 1)


def _flow_faults(data: RunData) -> tuple[list[str], list[str]]:
    """The faults ("" = alive) of the flows at least 2 s old at the event, and of the younger ones."""
    old: list[str] = []
    young: list[str] = []
    for flow in (*data.flows, *data.connections):
        if flow.opened_ns and flow.opened_ns < data.probe_ns:
            group = old if flow.opened_ns <= data.event_ns - OLD_FLOW_NS else young
            fault = fault_of(flow, data.answer_by_ns)
            group.append(f"{flow.kind}: {fault}" if fault else "")
    return old, young


def summarise(runs: Sequence[RunResult]) -> Summary:
    """Summarise all runs; ValueError if there are none."""
    total = sum(run.flows_total for run in runs)
    broken = sum(run.flows_broken for run in runs)
    waits = [run.fifo_to_update_ms for run in runs if run.fifo_to_update_ms is not None]
    return Summary(
        runs=len(runs),
        victims=tuple(run.victim for run in runs),
        outage_ms=spread([run.outage_ms for run in runs]),
        excess_ms=spread([run.excess_ms for run in runs]),
        fifo_to_update_ms=spread(waits) if waits else None,
        packets_sent=sum(run.packets_sent for run in runs),
        packets_lost=sum(run.packets_lost for run in runs),
        flows_total=total,
        flows_broken=broken,
        flows_broken_ratio=round(broken / total, 6) if total else 1.0,
        resets=sum(run.resets for run in runs),
        leaked_packets=sum(run.leaked_packets for run in runs),
    )
