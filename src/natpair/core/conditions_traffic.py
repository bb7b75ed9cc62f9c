"""What is wrong with clients' packets and their replies: the fabric, the flow table, other machines on the VLAN."""

# ruff: noqa: ARG001 - all checks share one signature, not all need the time
from __future__ import annotations

from natpair.core.capacity import CROWDED, PORTS
from natpair.core.comparison import may_help
from natpair.core.condition import Kind, Severity
from natpair.core.replies import FipReplies, Where
from natpair.core.state import NodeState

_NEARLY_ALL = 0.95
RELAY_PATIENCE = 6.0
"""Seconds a standby may relay before it is reported. Any fabric has converged by then."""


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
        return f"{head}: the gateway answers, but no destination behind it does"
    if one.where is Where.TARGET:
        return f"{head}, nor for {state.terms.me}'s own address"
    return f"{head}, but replies to {state.terms.me}'s own address come back"


def _why_silent(state: NodeState, one: FipReplies) -> str:
    head = f"nothing comes back for {one.fip}"
    if one.where is Where.LINE:
        return f"{head}: the gateway answers, but no destination behind it does"
    if one.where is Where.TARGET:
        return f"{head}, nor for {state.terms.me}'s own address: the line is cut beyond the gateway"
    lacks = [lack.why for lack in state.account.lacks if lack.fip == one.fip]
    if lacks:
        return f"{head}: it {lacks[0]}"
    if not state.health.bgp.established:
        return f"{head}: there is no BGP session"
    return (
        f"{head} although {state.health.bgp.established} BGP sessions are up and replies to the own address come back: "
        "the FIP is not shared to this node, the route servers reject its route, or another machine announces it"
    )


def _who_serves(state: NodeState, now: float) -> str:
    said, peer = state.peer.fresh(state.terms, now), state.terms.peer
    if said is None or not said.ready:
        return f"{peer} cannot take over"
    if said.unanswered:
        return f"{peer} got no replies either: the role stays here"
    return f"{peer} is about to take over" if may_help(state, said) else f"{peer} gets none either: the role stays here"


def _elsewhere(state: NodeState, now: float) -> str | None:
    fips = [one.fip for one in state.health.replies if one.elsewhere] if state.claims_active else []
    return f"a machine outside this pair answers for {', '.join(fips)} and gets the packets" if fips else None


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
    return f"{', '.join(names)} did not offer IPv4 routes over IPv6 (RFC 8950): announcements there have no effect"


def _relaying(state: NodeState, now: float) -> str | None:
    seconds = state.health.relaying_seconds
    if state.claims_active or now - state.since < RELAY_PATIENCE or seconds < RELAY_PATIENCE:
        return None
    return f"packets for a FIP have arrived here instead of on {state.terms.peer} for {seconds:.0f} s"


def _contested(state: NodeState, now: float) -> str | None:
    mac = state.health.addresses.contested
    return f"{mac} on the VLAN claims the VIP by ARP; this node claims it back each time" if mac else None


def _limited(state: NodeState, now: float) -> str | None:
    return "a client exceeds its flow limit; its further flows are refused" if state.health.table.limiting else None


_CRITICAL, _WARNING, _INFO = Severity.CRITICAL, Severity.WARNING, Severity.INFO

KINDS: tuple[Kind, ...] = (
    Kind(
        "no-bgp",
        "No BGP session to any route server is up, so the fabric cannot send traffic here.",
        _CRITICAL,
        "check the address share, then 'birdc show protocols'",
        _no_bgp,
    ),
    Kind(
        "no-replies",
        "Clients' packets or probes leave with a FIP as source, and nothing comes back. The peer takes over if it gets "
        "replies.",
        _CRITICAL,
        "share the FIP to both nodes; check what is announced ('birdc -s /run/natpair/bird.ctl show route export "
        "rs1'), whether another machine announces it, and whether the line behind the gateway works",
        _no_replies,
        told=True,
    ),
    Kind(
        "replies-missing",
        "No replies have come back for a FIP for more than a second. The node probes more often. Within seconds this "
        "ends or becomes `no-replies`.",
        _WARNING,
        "wait some seconds; if it keeps coming back, look for lost packets between this node and the provider",
        _replies_missing,
        told=True,
    ),
    Kind(
        "fip-announced-elsewhere",
        "Another machine has a FIP as its own address and gets the packets for it. A switchover does not help.",
        _CRITICAL,
        "find the machine that announces the FIP (maybe a forgotten one with lelastic or FRR) and stop it",
        _elsewhere,
        told=True,
    ),
    Kind(
        "ports-exhausted",
        "The kernel finds no free port for new flows: one FIP has too many flows to one destination.",
        _CRITICAL,
        "add a FIP to pair.fips, because each has its own ports; or let clients reuse connections",
        _ports_exhausted,
        told=True,
    ),
    Kind(
        "flow-table-filling",
        "The flow table is 80 % full. It is critical from 95 % on, or when packets are dropped.",
        _CRITICAL,
        "raise nat.max_flows; 'conntrack -L' shows who has the flows",
        _table_filling,
        _table_full,
        _WARNING,
        told=True,
    ),
    Kind(
        "ports-filling",
        "A sample shows that one FIP has used 80 % of its ports to one destination.",
        _WARNING,
        "add a FIP to pair.fips before all ports are used",
        _ports_filling,
        told=True,
    ),
    Kind(
        "no-extended-next-hop",
        "A route server does not support RFC 8950, so it cannot use the next hop of a FIP that is announced over IPv6.",
        _WARNING,
        "natpair needs route servers that take IPv4 routes over IPv6: see docs/linode-compat.md",
        _plain_sessions,
    ),
    Kind(
        "bgp-degraded",
        "Some BGP sessions are down. One is enough to serve.",
        _WARNING,
        "'birdc -s /run/natpair/bird.ctl show protocols all'",
        _some_bgp,
    ),
    Kind(
        "fabric-disagrees",
        "This node is not active, but the fabric keeps sending it packets. It relays them to the active node.",
        _WARNING,
        "find out which node the route servers prefer, and why",
        _relaying,
    ),
    Kind(
        "vip-contested",
        "A machine outside the pair answers ARP for the VIP on the VLAN, by accident or to intercept traffic.",
        _CRITICAL,
        "find the instance with this MAC and stop it",
        _contested,
    ),
    Kind(
        "client-limited",
        "A client has as many flows as nat.max_flows_per_client allows, or opens them faster than "
        "nat.new_flows_per_second_per_client. Other clients are not affected.",
        _INFO,
        "'nft list set ip natpair clients_full' lists clients with too many flows; raise the limits if intended",
        _limited,
    ),
)
