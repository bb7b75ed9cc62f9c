"""Faults by neighbours on the VLAN: forged ARP, VRRP and sync packets, duplicate addresses, lost announcements."""

from __future__ import annotations

from natpair_lab.chaos.context import Context
from natpair_lab.chaos.fault import NO_OUTAGE_MS, STAYS, Fault
from natpair_lab.testbed.topology import CLIENT_INTERFACE

ATTACKER = "client-2"
_VRRP_GROUP = "224.0.0.18"


@Fault(51, "a client claims the VIP by ARP", bound_ms=5000, limits=STAYS, agents=True)
def vip_claimed(context: Context) -> None:
    """A client claims the VIP by gratuitous ARP several times."""
    vip = context.lab.gateway.pair.vip.ip
    context.script(ATTACKER, "attack", "garp", "--source", vip, "--count", 3, "--rate", 100)
    told = context.alarm(("vip-contested",), 5)
    context.check("alarm", told, 5000, "no agent reports that another host claims the VIP")


@Fault(52, "a client forges VRRP adverts", bound_ms=NO_OUTAGE_MS, limits=STAYS)
def adverts_forged(context: Context) -> None:
    """A client sends adverts of priority 255, 0 and of a wrong router id: from its own address, and from the peer's."""
    gateway = context.lab.gateway
    own, router = str(context.lab.topology.clients[1][1].ip), gateway.vrrp.router_id
    for target in (context.standby, context.active):
        address = str(gateway.node_named(target).private_address.ip)
        peer = str(gateway.peer_of(target).private_address.ip)
        for source, to in ((own, address), (own, _VRRP_GROUP), (peer, address)):
            for router_id, priority in ((router, 255), (router, 0), (router + 1, 255)):
                words = ("--source", source, "--target", to, "--vip", gateway.pair.vip.ip, "--router-id", router_id)
                context.script(
                    ATTACKER, "attack", "adverts", *words, "--priority", priority, "--count", 5, "--rate", 50
                )
    context.pass_time(1)


@Fault(53, "a client takes the standby's private address", bound_ms=NO_OUTAGE_MS, limits=STAYS, agents=True)
def address_doubled(context: Context) -> None:
    """A client takes the standby's private address and announces it."""
    address = context.lab.gateway.node_named(context.standby).private_address.ip
    context.run(ATTACKER, "ip", "address", "add", f"{address}/32", "dev", CLIENT_INTERFACE)
    words = ("address", "del", f"{address}/32", "dev", CLIENT_INTERFACE)
    context.undo.append(lambda: context.run(ATTACKER, "ip", *words, check=False))
    context.script(ATTACKER, "attack", "garp", "--source", address, "--count", 10, "--rate", 10)
    told = context.alarm(("address-doubled", "vip-contested", "private-path-silent", "claim-refused"), 5)
    context.check("alarm", told, 5000, "no agent reports that something is wrong on the VLAN")
    context.pass_time(4)


@Fault(54, "a client misses the gratuitous ARP", bound_ms=5000)
def announcement_missed(context: Context) -> None:
    """A client receives no ARP while the role moves, and keeps the VIP's old hardware address."""
    context.drop("vlan", f"oifname {context.port('client-1', 'vlan')} ether type arp")
    context.undo.append(lambda: context.drop("vlan"))
    if context.observer.agents_speak:
        context.order(context.active, "switchover")
    else:
        context.power_cut(context.active)
    context.pass_time(1.5)
    context.drop("vlan")


@Fault(67, "a client forges sync and heartbeat packets", bound_ms=NO_OUTAGE_MS, limits=STAYS)
def sync_forged(context: Context) -> None:
    """A client sends random data to the ports of replication and heartbeat, with the peer's source address."""
    gateway = context.lab.gateway
    before = _pids(context)
    for target in context.lab.nodes:
        to, peer = gateway.node_named(target).private_address.ip, gateway.peer_of(target).private_address.ip
        for port in (gateway.sync.port, gateway.heartbeat.port):
            words = ("--source", peer, "--target", to, "--port", port, "--count", 500, "--rate", 1000)
            context.script(ATTACKER, "attack", "garbage", *words)
    context.pass_time(2)
    context.require("the daemons keep running", _pids(context) == before, "a daemon was restarted")


@Fault(71, "a client announces itself as the IPv6 router", bound_ms=NO_OUTAGE_MS, limits=STAYS)
def routers_forged(context: Context) -> None:
    """A client announces itself as the IPv6 router to nodes that accept advertisements, as a kernel does by default."""
    for node in context.lab.nodes:
        private = context.lab.gateway.node_named(node).private_interface
        context.run(node, "sysctl", "-qw", f"net.ipv6.conf.{private}.accept_ra=1", check=False)
    context.script(ATTACKER, "attack", "routers", "--source", "-", "--count", 60, "--rate", 20)
    # BGP sessions live on for the hold time after they lose their path; wait slightly longer.
    context.pass_time(context.lab.gateway.timing.bgp_hold_seconds + 4)
    for node in context.lab.nodes:
        routes = context.run(node, "ip", "-6", "route", "show", "default")
        private = context.lab.gateway.node_named(node).private_interface
        context.require(f"routes of {node}", f"dev {private}" not in routes, routes)


@Fault(72, "a client forges VRRP adverts while the standby is off", bound_ms=NO_OUTAGE_MS, limits=STAYS)
def adverts_while_alone(context: Context) -> None:
    """The standby loses power for longer than the BGP hold time. Then a client sends adverts with its address."""
    gateway, router = context.lab.gateway, context.lab.gateway.vrrp.router_id
    address = gateway.node_named(context.active).private_address.ip
    peer = gateway.node_named(context.standby).private_address.ip
    context.power_cut(context.standby)
    context.pass_time(gateway.timing.bgp_hold_seconds + 3)
    words = ("--source", peer, "--target", address, "--vip", gateway.pair.vip.ip, "--router-id", router)
    context.script(ATTACKER, "attack", "adverts", *words, "--priority", 255, "--count", 250, "--rate", 50)
    held = context.run(context.active, "ip", "-4", "-o", "address")
    context.require("the VIP stays", f" {gateway.pair.vip.ip}/" in held, "the only node gave up the VIP")
    context.boot(context.standby)


def _pids(context: Context) -> dict[str, object]:
    services = [(n, s) for n in context.lab.nodes for s in context.lab.services(n)["services"]]
    return {f"{node} {service['name']}": service["pid"] for node, service in services}
