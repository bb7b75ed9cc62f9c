"""What is wrong with the packets of clients and the way of the replies: the fabric, the flows, others on the VLAN."""

# ruff: noqa: ARG001 - all judges share one signature, not all need the time
from __future__ import annotations

from natpair.core.condition import Kind, Severity
from natpair.core.state import NodeState

RELAY_PATIENCE = 6.0
"""Seconds a standby may relay before it is news: any fabric has converged by then."""


def _no_bgp(state: NodeState, now: float) -> str | None:
    if state.health.bgp_established:
        return None
    return f"none of {state.health.bgp_total} BGP sessions is Established"


def _some_bgp(state: NodeState, now: float) -> str | None:
    up, total = state.health.bgp_established, state.health.bgp_total
    return f"{up} of {total} BGP sessions are Established" if 0 < up < total else None


def _relaying(state: NodeState, now: float) -> str | None:
    seconds = state.health.relaying_seconds
    if state.claims_active or now - state.since < RELAY_PATIENCE or seconds < RELAY_PATIENCE:
        return None
    return f"packets for a FIP have come here, and not to {state.terms.peer}, for {seconds:.0f} s"


def _contested(state: NodeState, now: float) -> str | None:
    mac = state.health.contested
    return f"{mac} on the VLAN claims the VIP by ARP; it is claimed back each time" if mac else None


def _limited(state: NodeState, now: float) -> str | None:
    return "a client opens more flows than it may; the rest are refused" if state.health.limiting else None


_CRITICAL, _WARNING, _INFO = Severity.CRITICAL, Severity.WARNING, Severity.INFO

KINDS: tuple[Kind, ...] = (
    Kind(
        "no-bgp",
        "No session to any route server: the fabric cannot send traffic here.",
        _CRITICAL,
        "check the address share, then 'birdc show protocols'",
        _no_bgp,
    ),
    Kind(
        "bgp-degraded",
        "Some sessions are missing; one is enough to serve.",
        _WARNING,
        "'birdc -s /run/natpair/bird.ctl show protocols all'",
        _some_bgp,
    ),
    Kind(
        "fabric-disagrees",
        "This node is not active, and the fabric keeps sending it packets; they are relayed.",
        _WARNING,
        "see which node the route servers prefer, and why",
        _relaying,
    ),
    Kind(
        "vip-contested",
        "Somebody on the VLAN who is not of the pair answers ARP for the gateway address, by accident or to listen in.",
        _CRITICAL,
        "find the instance with this MAC and stop it",
        _contested,
    ),
    Kind(
        "client-limited",
        "A client has as many flows as nat.max_flows_per_client allows, or opens them faster than "
        "nat.new_flows_per_second_per_client. The others are not concerned.",
        _INFO,
        "'nft list set ip natpair clients_full' names who has too many; raise the limits if it is right",
        _limited,
    ),
)
