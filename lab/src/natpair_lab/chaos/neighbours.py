"""Faults by neighbours on the VLAN: forged ARP, VRRP and sync packets, doubled addresses, lost announcements."""

from __future__ import annotations

from natpair_lab.chaos.fault import Fault, Limits
from natpair_lab.chaos.processes import NO_OUTAGE_MS
from natpair_lab.chaos.scene import Scene
from natpair_lab.testbed.topology import CLIENT_INTERFACE

ATTACKER = "client-2"
_VRRP_GROUP = "224.0.0.18"


def vip_claimed(scene: Scene) -> None:
    """A client claims the VIP by gratuitous ARP, a few times."""
    vip = scene.lab.gateway.pair.vip.ip
    scene.script(ATTACKER, "attack", "garp", "--source", vip, "--count", 3, "--rate", 100)
    told = scene.alarm(("vip-contested",), 5)
    scene.check("alarm", told, 5000, "no agent tells that somebody else claims the VIP")


def adverts_forged(scene: Scene) -> None:
    """A client sends adverts of priority 255, 0, and of a wrong router id: as itself, and in the peer's name."""
    gateway = scene.lab.gateway
    own, router = str(scene.lab.topology.clients[1][1].ip), gateway.vrrp.router_id
    for target in (scene.standby, scene.active):
        address = str(gateway.node_named(target).private_address.ip)
        peer = str(gateway.peer_of(target).private_address.ip)
        for source, to in ((own, address), (own, _VRRP_GROUP), (peer, address)):
            for router_id, priority in ((router, 255), (router, 0), (router + 1, 255)):
                words = ("--source", source, "--target", to, "--vip", gateway.pair.vip.ip, "--router-id", router_id)
                scene.script(ATTACKER, "attack", "adverts", *words, "--priority", priority, "--count", 5, "--rate", 50)
    scene.pass_time(1)


def address_doubled(scene: Scene) -> None:
    """A client takes the standby's private address and announces it."""
    address = scene.lab.gateway.node_named(scene.standby).private_address.ip
    scene.run(ATTACKER, "ip", "address", "add", f"{address}/32", "dev", CLIENT_INTERFACE)
    words = ("address", "del", f"{address}/32", "dev", CLIENT_INTERFACE)
    scene.undo.append(lambda: scene.run(ATTACKER, "ip", *words, check=False))
    scene.script(ATTACKER, "attack", "garp", "--source", address, "--count", 10, "--rate", 10)
    told = scene.alarm(("address-doubled", "vip-contested", "private-path-silent", "claim-refused"), 5)
    scene.check("alarm", told, 5000, "no agent tells that something is wrong on the VLAN")
    scene.pass_time(4)


def announcement_missed(scene: Scene) -> None:
    """A client hears no ARP while the role moves, and keeps the old hardware address of the VIP."""
    scene.drop("vlan", f"oifname {scene.port('client-1', 'vlan')} ether type arp")
    scene.undo.append(lambda: scene.drop("vlan"))
    if scene.eyes.agents_speak:
        scene.command(scene.active, "/v1/switchover")
    else:
        scene.power_cut(scene.active)
    scene.pass_time(1.5)
    scene.drop("vlan")


def sync_forged(scene: Scene) -> None:
    """A client sends noise to the ports of replication and heartbeat, in the peer's name."""
    gateway = scene.lab.gateway
    before = _pids(scene)
    for target in scene.lab.nodes:
        to, peer = gateway.node_named(target).private_address.ip, gateway.peer_of(target).private_address.ip
        for port in (gateway.sync.port, gateway.heartbeat.port):
            words = ("--source", peer, "--target", to, "--port", port, "--count", 500, "--rate", 1000)
            scene.script(ATTACKER, "attack", "garbage", *words)
    scene.pass_time(2)
    scene.require("the daemons live", _pids(scene) == before, "a daemon was started anew")


def routers_forged(scene: Scene) -> None:
    """A client calls itself the IPv6 router, to nodes that take advertisements, as the kernel of a machine does."""
    for node in scene.lab.nodes:
        private = scene.lab.gateway.node_named(node).private_interface
        scene.run(node, "sysctl", "-qw", f"net.ipv6.conf.{private}.accept_ra=1", check=False)
    scene.script(ATTACKER, "attack", "routers", "--source", "-", "--count", 60, "--rate", 20)
    # As long as BGP sessions that have lost their way live on, and a little longer.
    scene.pass_time(scene.lab.gateway.timing.bgp_hold_seconds + 4)
    for node in scene.lab.nodes:
        routes = scene.run(node, "ip", "-6", "route", "show", "default")
        private = scene.lab.gateway.node_named(node).private_interface
        scene.require(f"routes of {node}", f"dev {private}" not in routes, routes)


def adverts_while_alone(scene: Scene) -> None:
    """The standby is without power for longer than anybody would keep its place; then a client speaks in its name."""
    gateway, router = scene.lab.gateway, scene.lab.gateway.vrrp.router_id
    address = gateway.node_named(scene.active).private_address.ip
    peer = gateway.node_named(scene.standby).private_address.ip
    scene.power_cut(scene.standby)
    scene.pass_time(gateway.timing.bgp_hold_seconds + 3)
    words = ("--source", peer, "--target", address, "--vip", gateway.pair.vip.ip, "--router-id", router)
    scene.script(ATTACKER, "attack", "adverts", *words, "--priority", 255, "--count", 250, "--rate", 50)
    held = scene.run(scene.active, "ip", "-4", "-o", "address")
    scene.require("the VIP stays", f" {gateway.pair.vip.ip}/" in held, "the only node has let go of it")
    scene.boot(scene.standby)


def _pids(scene: Scene) -> dict[str, object]:
    services = [(n, s) for n in scene.lab.nodes for s in scene.lab.services(n)["services"]]
    return {f"{node} {service['name']}": service["pid"] for node, service in services}


_STAYS = Limits(transitions=0)

FAULTS = (
    Fault(51, "a client claims the VIP by ARP", vip_claimed, 5000, limits=_STAYS, agents=True),
    Fault(52, "a client forges VRRP adverts", adverts_forged, NO_OUTAGE_MS, limits=_STAYS),
    Fault(
        53, "a client takes the standby's private address", address_doubled, NO_OUTAGE_MS, limits=_STAYS, agents=True
    ),
    Fault(54, "a client misses the gratuitous ARP", announcement_missed, 5000),
    Fault(71, "a client calls itself the IPv6 router", routers_forged, NO_OUTAGE_MS, limits=_STAYS),
    Fault(
        72, "a client forges VRRP adverts while the standby is away", adverts_while_alone, NO_OUTAGE_MS, limits=_STAYS
    ),
    Fault(67, "a client forges sync and heartbeat packets", sync_forged, NO_OUTAGE_MS, limits=_STAYS),
)
