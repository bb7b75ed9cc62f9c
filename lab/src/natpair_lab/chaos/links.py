"""Faults of a cable: pulled, dead, deaf in one direction, lossy, slow, too small."""

from __future__ import annotations

from natpair_lab.chaos.eyes import tracked
from natpair_lab.chaos.fault import UNTOUCHED, Fault, Limits
from natpair_lab.chaos.processes import NO_OUTAGE_MS
from natpair_lab.chaos.scene import LEGS, Scene
from natpair_lab.testbed.netns import batch
from natpair_lab.testbed.topology import CLIENT_INTERFACE, UPLINK, mac_of
from natpair_lab.testbed.world import Leg

_SYNCED_RATIO = 0.95
_AWAY_SECONDS, _WELL_SECONDS = 3.0, 15.0


def vlan_down(scene: Scene) -> None:
    """The active node's VLAN cable is pulled."""
    scene.link(scene.active, "vlan", "down")


def public_down(scene: Scene) -> None:
    """The active node's public cable is pulled."""
    scene.link(scene.active, "public", "down")


def dead_legs(scene: Scene) -> None:
    """The VLAN leg of the active node dies with its carrier up; then, after mending, the public leg of the active."""
    for leg in LEGS:
        _dead(scene, leg)


def _dead(scene: Scene, leg: Leg) -> None:
    scene.link(scene.active, leg, "dead")
    scene.pass_time(4)
    scene.link(scene.active, leg, "up")
    scene.wait_ready()


def standby_deaf(scene: Scene) -> None:
    """The standby hears nothing of the active node on the VLAN; the other direction works."""
    rule = f"iifname {scene.port(scene.active, 'vlan')} oifname {scene.port(scene.standby, 'vlan')}"
    scene.drop("vlan", rule)
    scene.pass_time(6)


def active_deaf(scene: Scene) -> None:
    """The active node hears nothing of the standby on the VLAN."""
    rule = f"iifname {scene.port(scene.standby, 'vlan')} oifname {scene.port(scene.active, 'vlan')}"
    scene.drop("vlan", rule)
    scene.pass_time(6)


def adverts_lost(scene: Scene) -> None:
    """Of VRRP's adverts, one in ten is lost for a while, then three in ten."""
    for per_mille in (100, 300):
        scene.drop("vlan", f"ip protocol 112 numgen random mod 1000 < {per_mille}")
        scene.pass_time(10)


def partition(scene: Scene) -> None:
    """The VLAN is cut between the two nodes; both still reach the clients."""
    scene.lab.partition(True)
    try:
        scene.pass_time(15)
    finally:
        scene.lab.partition(False)


def slow_and_disordered(scene: Scene) -> None:
    """Between the nodes frames take 100 to 300 ms, overtake each other, and one in twenty comes twice."""
    ports = []
    for node in scene.lab.nodes:
        interface = scene.lab.gateway.node_named(node).private_interface
        ports.append(f"{scene.lab.port(node, 'vlan')}={mac_of(node, interface)}")
    relay = scene.start("vlan", "relay", *ports, 100, 300, 0.05)
    scene.require("relay runs", relay.stdout is not None and relay.stdout.readline() == b"ready\n")
    scene.lab.partition(True)  # the switch drops what the relay carries
    try:
        scene.pass_time(8)
    finally:
        scene.lab.partition(False)


def large_lost(scene: Scene) -> None:
    """Between the nodes frames above 1400 bytes vanish, while many new flows want to be replicated."""
    one, other = (scene.port(node, "vlan") for node in scene.lab.nodes)
    rule = "iifname {} oifname {} meta length > 1400"
    scene.drop("vlan", rule.format(one, other), rule.format(other, one))
    client, internet = scene.lab.topology.clients[1][1].ip, scene.lab.topology.internet[1].ip
    scene.script(
        "client-2", "attack", "spray", "--source", client, "--target", internet, "--count", 3000, "--rate", 3000
    )

    def known() -> bool:
        have = [tracked(scene.lab, node) for node in (scene.active, scene.standby)]
        return have[1] >= _SYNCED_RATIO * have[0] or any(scene.conditions(node) for node in scene.lab.nodes)

    scene.pass_time(2)
    scene.check("stall told, or no stall", scene.wait(known, 10), 10_000, "flows are missing and nobody says so")
    scene.pass_time(2)


def narrow_path(scene: Scene) -> None:
    """The private side has 9000 bytes, the uplink 1500, and somewhere beyond only 1280 pass."""
    for host, interface in _wide(scene):
        scene.run(host, "ip", "link", "set", interface, "mtu", "9000")
        scene.undo.append(lambda h=host, i=interface: _narrow(scene, h, i))  # type: ignore[misc]
    for host in ("client-1", *scene.lab.nodes):
        batch([f"link set {scene.lab.port(host, 'vlan')} mtu 9000"], netns=scene.lab.switch_netns("vlan"))
    scene.run("fabric", "ip", "link", "set", UPLINK, "mtu", "1280")
    scene.undo.append(lambda: scene.run("fabric", "ip", "link", "set", UPLINK, "mtu", "1500"))
    scene.start("internet", "datagrams", "serve")
    scene.pass_time(0.5)
    said = scene.script("client-1", "datagrams", "upload", scene.lab.topology.internet[0].ip, 3_000_000, 10)
    scene.check("upload", said["ms"] if said["done"] else None, 5000, "3 MB did not get through in time")


def late_cards(scene: Scene) -> None:
    """The standby boots without a card, which comes later: VLAN, then uplink; then the active node loses power."""
    for leg in LEGS:
        node = scene.standby
        scene.power_cut(node)
        scene.boot(node, late=leg)
        scene.pass_time(_AWAY_SECONDS)
        scene.lab.put_in(node, leg, configured=True)
        well = scene.wait(lambda node=node: _is_well(scene, node), _WELL_SECONDS)  # type: ignore[misc]
        scene.check(f"late card of the {leg}: standby in sync", well, _WELL_SECONDS * 1000)
        scene.wait_ready()
    scene.may_be_felt()
    scene.power_cut(scene.active)


def cards_made_anew(scene: Scene) -> None:
    """The standby's card is unplugged and plugged again: VLAN, then uplink; then the active node loses power."""
    for leg in LEGS:
        node = scene.standby
        scene.lab.take_out(node, leg)
        scene.pass_time(_AWAY_SECONDS)
        scene.lab.put_in(node, leg)
        well = scene.wait(lambda node=node: _is_well(scene, node), _WELL_SECONDS)  # type: ignore[misc]
        scene.check(f"new card of the {leg}: standby in sync", well, _WELL_SECONDS * 1000)
        scene.wait_ready()
    scene.may_be_felt()
    scene.power_cut(scene.active)


def _is_well(scene: Scene, node: str) -> bool:
    said = scene.lab.status(node) or {}
    return said.get("role") == "standby" and bool(said.get("synced")) and not said.get("conditions")


def _wide(scene: Scene) -> list[tuple[str, str]]:
    nodes = [(node.name, node.private_interface) for node in scene.lab.gateway.node]
    return [("client-1", CLIENT_INTERFACE), *nodes]


def _narrow(scene: Scene, host: str, interface: str) -> None:
    scene.run(host, "ip", "link", "set", interface, "mtu", "1500", check=False)


FAULTS = (
    Fault(
        73,
        "a card of the standby comes late after its boot, then power cut of the active node",
        late_cards,
        900,
        invariants=UNTOUCHED,
        agents=True,
    ),
    Fault(
        74,
        "a card of the standby unplugged and plugged again, then power cut of the active node",
        cards_made_anew,
        900,
        invariants=UNTOUCHED,
        agents=True,
    ),
    Fault(11, "VLAN cable of the active node pulled", vlan_down, 1200),
    Fault(12, "public cable of the active node pulled", public_down, 1500),
    Fault(
        13,
        "a leg of the active node dead with its carrier up: VLAN, then public",
        dead_legs,
        2000,
        limits=Limits(transitions=2),
    ),
    Fault(14, "standby deaf to the active node on the VLAN", standby_deaf, 2000, limits=Limits(owners_ms=2000)),
    Fault(15, "active node deaf to the standby on the VLAN", active_deaf, NO_OUTAGE_MS, limits=Limits(transitions=0)),
    Fault(
        16,
        "VRRP adverts lost: 10 %, then 30 %",
        adverts_lost,
        NO_OUTAGE_MS,
        limits=Limits(transitions=0),
        scale="10 s each in place of an hour",
    ),
    Fault(
        17,
        "VLAN cut between the nodes (split brain), then healed",
        partition,
        3000,
        scale="15 s; natpair drill partition does 130 s",
    ),
    Fault(
        21,
        "peer link with 200 ms +- 100, disorder and 5 % duplicates",
        slow_and_disordered,
        NO_OUTAGE_MS,
        limits=Limits(transitions=0),
    ),
    Fault(
        22,
        "peer link loses frames above 1400 bytes while 3000 flows begin",
        large_lost,
        NO_OUTAGE_MS,
        limits=Limits(transitions=0),
        agents=True,
    ),
    Fault(
        23,
        "MTU 9000 inside, 1500 on the uplink, 1280 on the way",
        narrow_path,
        NO_OUTAGE_MS,
        limits=Limits(transitions=0),
    ),
)
