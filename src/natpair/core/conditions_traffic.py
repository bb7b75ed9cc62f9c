"""What is wrong with the packets of clients and the way of the replies: the fabric, the flows, others on the VLAN."""

# ruff: noqa: ARG001 - all checks share one signature, not all need the time
from __future__ import annotations

from natpair.core.capacity import CROWDED, PORTS
from natpair.core.comparison import may_help
from natpair.core.condition import Kind, Severity
from natpair.core.replies import FipReplies, Where
from natpair.core.state import NodeState

_NEARLY_ALL = 0.95
RELAY_PATIENCE = 6.0
"""Seconds a standby may relay before it is news: any fabric has converged by then."""


def _no_bgp(state: NodeState, now: float) -> str | None:
    if state.health.bgp.established:
        return None
    return f"none of {state.health.bgp.total} BGP sessions is Established"


def _some_bgp(state: NodeState, now: float) -> str | None:
    up, total = state.health.bgp.established, state.health.bgp.total
    return f"{up} of {total} BGP sessions are Established" if 0 < up < total else None


def _no_replies(state: NodeState, now: float) -> str | None:
    silent = [one for one in state.health.silent if not one.elsewhere] if state.claims_active else []
    if not silent:
        return None
    text = "; ".join(_why_silent(state, one) for one in silent)
    return f"{text}; {_who_serves(state, now)}"


def _replies_missing(state: NodeState, now: float) -> str | None:
    found = [one for one in state.health.suspected if not one.elsewhere] if state.claims_active else []
    return "; ".join(_what_is_missing(state, one) for one in found) or None


def _what_is_missing(state: NodeState, one: FipReplies) -> str:
    head = f"nothing has come back for {one.fip} for more than a second"
    if one.where is Where.LINE:
        return f"{head}: the gateway answers, and nothing that clients talk to behind it does"
    if one.where is Where.TARGET:
        return f"{head}, nor for the own address of {state.terms.me}"
    return f"{head}, and the own address of {state.terms.me} is answered"


def _why_silent(state: NodeState, one: FipReplies) -> str:
    head = f"nothing comes back for {one.fip}"
    if one.where is Where.LINE:
        return f"{head}: the gateway answers, and nothing that clients talk to behind it does"
    if one.where is Where.TARGET:
        return f"{head}, nor for the own address of {state.terms.me}: the line is cut beyond the gateway"
    lacks = [lack.why for lack in state.account.lacks if lack.fip == one.fip]
    if lacks:
        return f"{head}: it {lacks[0]}"
    if not state.health.bgp.established:
        return f"{head}: there is no BGP session"
    return (
        f"{head} though {state.health.bgp.established} BGP sessions stand and the own address is answered: it is not "
        "shared here, or the route servers do not take its route, or another machine announces it"
    )


def _who_serves(state: NodeState, now: float) -> str:
    said, peer = state.peer.fresh(state.terms, now), state.terms.peer
    if said is None or not said.ready:
        return f"{peer} cannot take over"
    if said.unanswered:
        return f"{peer} had no replies either: the role stays"
    return f"{peer} is about to take over" if may_help(state, said) else f"{peer} gets none either: the role stays"


def _elsewhere(state: NodeState, now: float) -> str | None:
    fips = [one.fip for one in state.health.replies if one.elsewhere] if state.claims_active else []
    return f"a machine that is not of this pair answers for {', '.join(fips)}: its packets go there" if fips else None


def _ports_exhausted(state: NodeState, now: float) -> str | None:
    if not state.health.table.refusing:
        return None
    crowd = state.health.table.crowd
    return f"new flows find no free port: {crowd}" if crowd else "new flows find no free port"


def _ports_filling(state: NodeState, now: float) -> str | None:
    crowd = state.health.table.crowd
    if crowd is None or state.health.table.refusing or crowd.about < CROWDED * PORTS:
        return None
    return f"{crowd}; it has {PORTS:,} ports for them"


def _table_filling(state: NodeState, now: float) -> str | None:
    flows, most = state.health.flows, state.health.table.most_flows
    if state.health.table.overflowing:
        return f"the flow table is full ({flows:,} of {most:,}): packets of new flows are dropped"
    if not most or flows < CROWDED * most:
        return None
    return f"the flow table holds {flows:,} of {most:,} flows ({100 * flows // most} %)"


def _table_full(state: NodeState, now: float) -> bool:
    return state.health.table.overflowing or state.health.flows >= _NEARLY_ALL * state.health.table.most_flows


def _plain_sessions(state: NodeState, now: float) -> str | None:
    names = state.health.bgp.plain_sessions
    if not names:
        return None
    return f"{', '.join(names)} did not offer IPv4 routes over IPv6 (RFC 8950): what is announced there reaches nobody"


def _relaying(state: NodeState, now: float) -> str | None:
    seconds = state.health.relaying_seconds
    if state.claims_active or now - state.since < RELAY_PATIENCE or seconds < RELAY_PATIENCE:
        return None
    return f"packets for a FIP have come here, and not to {state.terms.peer}, for {seconds:.0f} s"


def _contested(state: NodeState, now: float) -> str | None:
    mac = state.health.addresses.contested
    return f"{mac} on the VLAN claims the VIP by ARP; it is claimed back each time" if mac else None


def _limited(state: NodeState, now: float) -> str | None:
    return "a client opens more flows than it may; the rest are refused" if state.health.table.limiting else None


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
        "no-replies",
        "Packets of clients, or probes, leave under a FIP and nothing comes back for it. The peer takes over if it "
        "gets answers.",
        _CRITICAL,
        "share the FIP to both nodes; see what is announced ('birdc -s /run/natpair/bird.ctl show route export rs1'), "
        "who else announces it, and whether the line behind the gateway works",
        _no_replies,
        told=True,
    ),
    Kind(
        "replies-missing",
        "For a FIP nothing has come back for a moment. The node looks closer: after some seconds this ends, or becomes "
        "`no-replies`.",
        _WARNING,
        "wait some seconds; if it comes again and again, look for lost packets between this node and the provider",
        _replies_missing,
        told=True,
    ),
    Kind(
        "fip-announced-elsewhere",
        "Another machine has a FIP as its own address and gets the packets for it. A switchover does not help.",
        _CRITICAL,
        "find the machine that announces the FIP (a forgotten one with lelastic or FRR?) and stop it",
        _elsewhere,
        told=True,
    ),
    Kind(
        "ports-exhausted",
        "The kernel finds no free port for new flows of clients: one FIP has too many to one destination.",
        _CRITICAL,
        "add a FIP to pair.fips: each has ports of its own; or let clients keep connections open",
        _ports_exhausted,
        told=True,
    ),
    Kind(
        "flow-table-filling",
        "The flow table holds 80 % of what it may. Critical from 95 % on, or when packets are dropped for it.",
        _CRITICAL,
        "raise nat.max_flows; 'conntrack -L' shows who has the flows",
        _table_filling,
        _table_full,
        _WARNING,
        told=True,
    ),
    Kind(
        "ports-filling",
        "One FIP has used 80 % of its ports to one destination, to go by a sample.",
        _WARNING,
        "add a FIP to pair.fips before it has used all",
        _ports_filling,
        told=True,
    ),
    Kind(
        "no-extended-next-hop",
        "A route server lacks RFC 8950, without which a FIP is announced with a next hop that it cannot use.",
        _WARNING,
        "this fabric does not fit natpair, which speaks BGP over IPv6: see docs/linode-compat.md",
        _plain_sessions,
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
