"""Faults of the provider: route servers that vanish, misbehave or close sessions, a revoked share, dead DNS."""

from __future__ import annotations

import json
from ipaddress import IPv4Network

from natpair.core.regions import route_servers
from natpair_lab.chaos.context import Context
from natpair_lab.chaos.fault import NO_OUTAGE_MS, STAYS, UNTOUCHED, Fault, Limits
from natpair_lab.testbed.fabric import node_session, server_names
from natpair_lab.testbed.routers import bird, up_sessions
from natpair_lab.testbed.topology import FABRIC

_BGP = (
    "iifname {0} tcp dport 179",
    "iifname {0} tcp sport 179",
    "oifname {0} tcp dport 179",
    "oifname {0} tcp sport 179",
)
_GRACEFUL_RESTART, _LONG_LIVED = 64, 71
_MISROUTED = Limits(transitions=0, path_ms=20_000)
_KEEPALIVE = 4


def no_bgp_of(context: Context, *nodes: str) -> None:
    """Drop all BGP packets of these nodes from now on."""
    rules = [rule.format(context.port(node, "public")) for node in nodes for rule in _BGP]
    context.drop("public", *rules)


@Fault(18, "active node loses all route servers, but not the internet", bound_ms=2000, limits=Limits(path_ms=9000))
def active_without_servers(context: Context) -> None:
    """The active node cannot reach any of the four route servers; the internet still works."""
    no_bgp_of(context, context.active)
    context.pass_time(10)


@Fault(19, "1, 2, then 3 of 4 route servers lost", bound_ms=NO_OUTAGE_MS, invariants=UNTOUCHED, limits=STAYS)
def some_servers_lost(context: Context) -> None:
    """Neither node can reach one, then two, then three of the four route servers."""
    gone: list[str] = []
    for server in route_servers(context.lab.gateway)[:3]:
        gone += [f"ip6 daddr {server} tcp dport 179", f"ip6 saddr {server} tcp sport 179"]
        context.drop("public", *gone)
        context.pass_time(2.5)
    context.pass_time(4)


@Fault(
    20,
    "all route servers lost on both nodes, for longer than the hold time",
    bound_ms=9000,
    limits=Limits(transitions=0, path_ms=9000),
)
def all_servers_lost(context: Context) -> None:
    """Neither node can reach any route server for longer than the hold time."""
    no_bgp_of(context, *context.lab.nodes)
    context.pass_time(context.lab.gateway.timing.bgp_hold_seconds + 3)
    context.drop("public")


@Fault(24, "every route server resets its session with the active node", bound_ms=1000, limits=Limits(path_ms=5000))
def sessions_reset(context: Context) -> None:
    """Every route server ends its session with the active node by an administrative reset."""
    session = node_session(context.lab.gateway, context.active)
    servers = server_names(context.lab.gateway)
    for server in servers:
        bird(context.lab.ref(FABRIC), server, f"restart {session}")

    def back() -> bool:
        shown = (bird(context.lab.ref(FABRIC), server, "show protocols") for server in servers)
        return all(session in up_sessions(text) for text in shown)

    context.pass_time(0.2)
    context.check("sessions back", context.wait(back, 10), 5000)


def bad_server(context: Context, *modes: str) -> list[dict[str, object]]:
    """Replace the last route server by a program of ours; returns what each session with a node was like."""
    gateway = context.lab.gateway
    name, address = server_names(gateway)[-1], route_servers(gateway)[-1]
    context.lab.service(FABRIC, name, "stop")
    context.undo.append(lambda: context.lab.service(FABRIC, name, "start"))
    networks = [IPv4Network("0.0.0.0/0"), gateway.private_network, IPv4Network(gateway.pair.fips[0])]
    routes = b"".join(bytes((n.prefixlen,)) + n.network_address.packed[: (n.prefixlen + 7) // 8] for n in networks)
    speaker = context.start(FABRIC, "speaker", address, gateway.bgp.peer_as, routes.hex(), *modes)
    context.pass_time(0.5)
    context.wait(lambda: speaker.poll() is not None, 40)
    text = speaker.stdout.read().decode() if speaker.stdout is not None else ""
    said = [json.loads(line) for line in text.splitlines()]
    context.require("sessions were established", any("error" not in one for one in said), f"{said}")
    return said


@Fault(25, "malformed OPEN and UPDATE, 4 kB NOTIFICATION", bound_ms=NO_OUTAGE_MS, limits=STAYS)
def nonsense(context: Context) -> None:
    """A route server sends a malformed OPEN, a malformed UPDATE and a NOTIFICATION of 4 kB."""
    before = _pids(context)
    bad_server(context, "malformed-open", "malformed", "notification", "malformed-open", "malformed", "notification")
    context.require("the speakers keep running", _pids(context) == before, "a BGP speaker was restarted")


def _pids(context: Context) -> list[object]:
    name = context.lab.parts.speaker
    return [s["pid"] for node in context.lab.nodes for s in context.lab.services(node)["services"] if s["name"] == name]


@Fault(26, "a route server announces default, LAN and FIP", bound_ms=NO_OUTAGE_MS, limits=STAYS)
def foreign_routes(context: Context) -> None:
    """A route server announces a default route, the private network, and the FIP."""
    before = {node: _routes(context, node) for node in context.lab.nodes}
    bad_server(context, *["routes"] * 4)
    for node in context.lab.nodes:
        context.require(f"{node} imports nothing", _routes(context, node) == before[node], "its routes have changed")


def _routes(context: Context, node: str) -> list[str]:
    return sorted(context.run(node, "ip", "-4", "route", "show", "table", "all").splitlines())


@Fault(27, "a route server proposes hold times of 3, 0, 65535 s", bound_ms=NO_OUTAGE_MS, limits=STAYS)
def odd_hold_times(context: Context) -> None:
    """A route server proposes hold times of 3 s, 0 and 65535 s."""
    said = bad_server(context, *["hold:3", "hold:0", "hold:65535"] * 2)
    short = [one for one in said if one.get("mode") == "hold:3" and "heard" in one]
    kept = [one for one in short if list(one["heard"]).count(_KEEPALIVE) >= 2]  # type: ignore[call-overload]
    context.require("3 s honoured", bool(kept), f"no second KEEPALIVE within 1.5 s: {short}")


@Fault(28, "stale-route trap: graceful restart", bound_ms=NO_OUTAGE_MS, limits=STAYS)
def stale_routes(context: Context) -> None:
    """Checks that the nodes do not ask for graceful restart, which would keep the routes of a dead node."""
    said = [one for one in bad_server(context, *["hold:240"] * 4) if one.get("capabilities")]
    asked = {int(str(code)) for one in said for code in one["capabilities"]}  # type: ignore[attr-defined]
    context.require("an OPEN was read", bool(asked), f"{said}")
    context.require(
        "no graceful restart", not asked & {_GRACEFUL_RESTART, _LONG_LIVED}, f"capabilities {sorted(asked)}"
    )


def _only_standby(context: Context) -> None:
    fip = context.lab.gateway.pair.fips[0]
    context.undo.append(lambda: context.lab.share(fip, context.lab.nodes))
    context.lab.share(fip, [context.standby])


@Fault(29, "share of the FIP removed for the active node", bound_ms=NO_OUTAGE_MS, limits=_MISROUTED, agents=True)
def share_revoked(context: Context) -> None:
    """The FIP is no longer shared to the active node. Replies go to the standby, and an agent must report it."""
    _only_standby(context)
    told = context.alarm(("fabric-disagrees", "share-missing", "share-drift", "no-bgp"), 10)
    context.check("alarm", told, 10_000, "no agent reports that the fabric prefers the standby")
    context.pass_time(1)


@Fault(62, "replies arrive at the standby", bound_ms=NO_OUTAGE_MS, invariants=UNTOUCHED, limits=_MISROUTED)
def replies_at_standby(context: Context) -> None:
    """The fabric sends all replies to the standby for some time."""
    _only_standby(context)
    context.pass_time(5)


@Fault(33, "DNS, metadata and web unreachable, and a switchover", bound_ms=NO_OUTAGE_MS, agents=True)
def no_names(context: Context) -> None:
    """Neither node can reach DNS, the metadata service or the web, and an operator asks for a switchover."""
    dead = ("udp dport 53", "tcp dport { 53, 80, 443 }", "ip daddr 169.254.169.254")
    context.drop("public", *dead)
    done, said = context.order(context.active, "switchover")
    context.require("switchover", done, said)
    context.pass_time(2)
