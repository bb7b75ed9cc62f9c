"""Faults of the provider: route servers that vanish, lie or hang up, a share that is revoked, names without answer."""

from __future__ import annotations

import json
from ipaddress import IPv4Network

from natpair.core.regions import route_servers
from natpair_lab.chaos.fault import UNTOUCHED, Fault, Limits
from natpair_lab.chaos.processes import NO_OUTAGE_MS
from natpair_lab.chaos.scene import Scene
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
_KEEPALIVE = 4


def no_bgp_of(scene: Scene, *nodes: str) -> None:
    """From now on no BGP packet of these nodes passes."""
    rules = [rule.format(scene.port(node, "public")) for node in nodes for rule in _BGP]
    scene.drop("public", *rules)


def active_without_servers(scene: Scene) -> None:
    """The active node loses all four route servers; the internet is fine."""
    no_bgp_of(scene, scene.active)
    scene.pass_time(10)


def some_servers_lost(scene: Scene) -> None:
    """One, two, then three of the four route servers cannot be reached by either node."""
    gone: list[str] = []
    for server in route_servers(scene.lab.gateway)[:3]:
        gone += [f"ip6 daddr {server} tcp dport 179", f"ip6 saddr {server} tcp sport 179"]
        scene.drop("public", *gone)
        scene.pass_time(2.5)
    scene.pass_time(4)


def all_servers_lost(scene: Scene) -> None:
    """Neither node reaches any route server, for longer than the hold time."""
    no_bgp_of(scene, *scene.lab.nodes)
    scene.pass_time(scene.lab.gateway.timing.bgp_hold_seconds + 3)
    scene.drop("public")


def sessions_reset(scene: Scene) -> None:
    """Every route server ends its session with the active node by an administrative reset."""
    session = node_session(scene.lab.gateway, scene.active)
    servers = server_names(scene.lab.gateway)
    for server in servers:
        bird(scene.lab.ref(FABRIC), server, f"restart {session}")

    def back() -> bool:
        shown = (bird(scene.lab.ref(FABRIC), server, "show protocols") for server in servers)
        return all(session in up_sessions(text) for text in shown)

    scene.pass_time(0.2)
    scene.check("sessions back", scene.wait(back, 10), 5000)


def bad_server(scene: Scene, *modes: str) -> list[dict[str, object]]:
    """Put a program of ours in the place of the last route server; what each session with a node was like."""
    gateway = scene.lab.gateway
    name, address = server_names(gateway)[-1], route_servers(gateway)[-1]
    scene.lab.service(FABRIC, name, "stop")
    scene.undo.append(lambda: scene.lab.service(FABRIC, name, "start"))
    networks = [IPv4Network("0.0.0.0/0"), gateway.private_network, IPv4Network(gateway.pair.fips[0])]
    routes = b"".join(bytes((n.prefixlen,)) + n.network_address.packed[: (n.prefixlen + 7) // 8] for n in networks)
    speaker = scene.start(FABRIC, "speaker", address, gateway.bgp.peer_as, routes.hex(), *modes)
    scene.pass_time(0.5)
    scene.wait(lambda: speaker.poll() is not None, 40)
    text = speaker.stdout.read().decode() if speaker.stdout is not None else ""
    said = [json.loads(line) for line in text.splitlines()]
    scene.require("sessions came about", any("error" not in one for one in said), f"{said}")
    return said


def nonsense(scene: Scene) -> None:
    """A route server sends a malformed OPEN, a malformed UPDATE, and a NOTIFICATION of 4 kB."""
    before = _pids(scene)
    bad_server(scene, "malformed-open", "malformed", "notification", "malformed-open", "malformed", "notification")
    scene.require("the speakers live", _pids(scene) == before, "a BGP speaker was started anew")


def _pids(scene: Scene) -> list[object]:
    names = {node: scene.service(node, "speaker") for node in scene.lab.nodes}
    return [s["pid"] for node in names for s in scene.lab.services(node)["services"] if s["name"] == names[node]]


def foreign_routes(scene: Scene) -> None:
    """A route server announces a default route, the private network, and the FIP."""
    before = {node: _routes(scene, node) for node in scene.lab.nodes}
    bad_server(scene, *["routes"] * 4)
    for node in scene.lab.nodes:
        scene.require(f"{node} imports nothing", _routes(scene, node) == before[node], "its routes have changed")


def _routes(scene: Scene, node: str) -> list[str]:
    return sorted(scene.run(node, "ip", "-4", "route", "show", "table", "all").splitlines())


def odd_hold_times(scene: Scene) -> None:
    """A route server wants a hold time of 3 s, of none, and of 65535 s."""
    said = bad_server(scene, *["hold:3", "hold:0", "hold:65535"] * 2)
    short = [one for one in said if one.get("mode") == "hold:3" and "heard" in one]
    kept = [one for one in short if list(one["heard"]).count(_KEEPALIVE) >= 2]  # type: ignore[call-overload]
    scene.require("3 s honoured", bool(kept), f"no second KEEPALIVE within 1.5 s: {short}")


def stale_routes(scene: Scene) -> None:
    """Do the nodes ask for graceful restart, which would keep the routes of a dead node?"""
    said = [one for one in bad_server(scene, *["hold:240"] * 4) if one.get("capabilities")]
    asked = {int(str(code)) for one in said for code in one["capabilities"]}  # type: ignore[attr-defined]
    scene.require("an OPEN was read", bool(asked), f"{said}")
    scene.require("no graceful restart", not asked & {_GRACEFUL_RESTART, _LONG_LIVED}, f"capabilities {sorted(asked)}")


def _only_standby(scene: Scene) -> None:
    fip = scene.lab.gateway.pair.fips[0]
    scene.undo.append(lambda: scene.lab.share(fip, scene.lab.nodes))
    scene.lab.share(fip, [scene.standby])


def share_revoked(scene: Scene) -> None:
    """The FIP is no longer shared to the active node; replies come to the standby, and somebody must say so."""
    _only_standby(scene)
    told = scene.alarm(("fabric-disagrees", "share-missing", "share-drift", "no-bgp"), 10)
    scene.check("alarm", told, 10_000, "no agent tells that the fabric prefers the standby")
    scene.pass_time(1)


def replies_at_standby(scene: Scene) -> None:
    """The fabric sends all replies to the standby for a while."""
    _only_standby(scene)
    scene.pass_time(5)


def no_names(scene: Scene) -> None:
    """DNS, the metadata service and the web are dead for both nodes, and a switchover is asked for."""
    dead = ("udp dport 53", "tcp dport { 53, 80, 443 }", "ip daddr 169.254.169.254")
    scene.drop("public", *dead)
    done, said = scene.command(scene.active, "/v1/switchover")
    scene.require("switchover", done, said)
    scene.pass_time(2)


_ASTRAY = Limits(transitions=0, path_ms=20_000)

FAULTS = (
    Fault(
        18,
        "active node loses all route servers, internet fine",
        active_without_servers,
        2000,
        limits=Limits(path_ms=9000),
    ),
    Fault(
        19,
        "1, 2, then 3 of 4 route servers lost",
        some_servers_lost,
        NO_OUTAGE_MS,
        invariants=UNTOUCHED,
        limits=Limits(transitions=0),
    ),
    Fault(
        20,
        "all route servers lost on both nodes, for longer than the hold time",
        all_servers_lost,
        9000,
        limits=Limits(transitions=0, path_ms=9000),
    ),
    Fault(
        24,
        "every route server resets its session with the active node",
        sessions_reset,
        1000,
        limits=Limits(path_ms=5000),
    ),
    Fault(25, "malformed OPEN and UPDATE, 4 kB NOTIFICATION", nonsense, NO_OUTAGE_MS, limits=Limits(transitions=0)),
    Fault(
        26, "a route server announces default, LAN and FIP", foreign_routes, NO_OUTAGE_MS, limits=Limits(transitions=0)
    ),
    Fault(
        27,
        "a route server wants hold times of 3, 0, 65535 s",
        odd_hold_times,
        NO_OUTAGE_MS,
        limits=Limits(transitions=0),
    ),
    Fault(28, "stale-route trap: graceful restart", stale_routes, NO_OUTAGE_MS, limits=Limits(transitions=0)),
    Fault(29, "share of the FIP revoked for the active node", share_revoked, NO_OUTAGE_MS, limits=_ASTRAY, agents=True),
    Fault(33, "DNS, metadata and web dead, and a switchover", no_names, NO_OUTAGE_MS, agents=True),
    Fault(62, "replies arrive at the standby", replies_at_standby, NO_OUTAGE_MS, invariants=UNTOUCHED, limits=_ASTRAY),
)
