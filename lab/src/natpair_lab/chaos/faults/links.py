"""Faults of a link: pulled, dead, one-way, lossy, slow, with a small MTU."""

from __future__ import annotations

from natpair.core.status import Role
from natpair_lab.chaos.context import LINKS, Context
from natpair_lab.chaos.fault import NO_OUTAGE_MS, STAYS, UNTOUCHED, Fault, Limits
from natpair_lab.chaos.observer import tracked
from natpair_lab.testbed.netns import batch
from natpair_lab.testbed.topology import CLIENT_INTERFACE, UPLINK, mac_of
from natpair_lab.testbed.world import Link

_SYNCED_RATIO = 0.95
_AWAY_SECONDS, _WELL_SECONDS = 3.0, 15.0


@Fault(11, "VLAN cable of the active node pulled", bound_ms=1200)
def vlan_down(context: Context) -> None:
    """The active node's VLAN cable is pulled."""
    context.link(context.active, "vlan", "down")


@Fault(12, "public cable of the active node pulled", bound_ms=1500)
def public_down(context: Context) -> None:
    """The active node's public cable is pulled."""
    context.link(context.active, "public", "down")


@Fault(
    13,
    "link of the active node fails with its carrier up: VLAN, then public",
    bound_ms=2000,
    limits=Limits(transitions=2),
)
def dead_links(context: Context) -> None:
    """The active node's VLAN link fails with its carrier up; after the repair, the public link of the active node."""
    for link in LINKS:
        _dead(context, link)


def _dead(context: Context, link: Link) -> None:
    context.link(context.active, link, "dead")
    context.pass_time(4)
    context.link(context.active, link, "up")
    context.wait_ready()


@Fault(14, "standby receives nothing from the active node on the VLAN", bound_ms=2000, limits=Limits(owners_ms=2000))
def standby_deaf(context: Context) -> None:
    """The standby receives nothing from the active node on the VLAN. The other direction works."""
    rule = f"iifname {context.port(context.active, 'vlan')} oifname {context.port(context.standby, 'vlan')}"
    context.drop("vlan", rule)
    context.pass_time(6)


@Fault(15, "active node receives nothing from the standby on the VLAN", bound_ms=NO_OUTAGE_MS, limits=STAYS)
def active_deaf(context: Context) -> None:
    """The active node receives nothing from the standby on the VLAN."""
    rule = f"iifname {context.port(context.standby, 'vlan')} oifname {context.port(context.active, 'vlan')}"
    context.drop("vlan", rule)
    context.pass_time(6)


@Fault(
    16, "VRRP adverts lost: 10 %, then 30 %", bound_ms=NO_OUTAGE_MS, limits=STAYS, scale="10 s each instead of an hour"
)
def adverts_lost(context: Context) -> None:
    """10 % of the VRRP adverts are lost for some time, then 30 %."""
    for per_mille in (100, 300):
        context.drop("vlan", f"ip protocol 112 numgen random mod 1000 < {per_mille}")
        context.pass_time(10)


@Fault(
    17,
    "VLAN cut between the nodes (split brain), then repaired",
    bound_ms=3000,
    scale="15 s; natpair drill partition takes 130 s",
)
def partition(context: Context) -> None:
    """The VLAN is cut between the two nodes; both can still reach the clients."""
    context.lab.partition(True)
    try:
        context.pass_time(15)
    finally:
        context.lab.partition(False)


@Fault(21, "peer link with 200 ms +- 100 delay, reordering and 5 % duplicates", bound_ms=NO_OUTAGE_MS, limits=STAYS)
def slow_and_disordered(context: Context) -> None:
    """Frames between the nodes take 100 to 300 ms, are reordered, and 5 % arrive twice."""
    ports = []
    for node in context.lab.nodes:
        interface = context.lab.gateway.node_named(node).private_interface
        ports.append(f"{context.lab.port(node, 'vlan')}={mac_of(node, interface)}")
    relay = context.start("vlan", "relay", *ports, 100, 300, 0.05)
    context.require("relay runs", relay.stdout is not None and relay.stdout.readline() == b"ready\n")
    context.lab.partition(True)  # the switch drops what the relay carries
    try:
        context.pass_time(8)
    finally:
        context.lab.partition(False)


@Fault(
    22,
    "peer link loses frames above 1400 bytes while 3000 flows begin",
    bound_ms=NO_OUTAGE_MS,
    limits=STAYS,
    agents=True,
)
def large_lost(context: Context) -> None:
    """Frames above 1400 bytes are lost between the nodes while many new flows have to be replicated."""
    one, other = (context.port(node, "vlan") for node in context.lab.nodes)
    rule = "iifname {} oifname {} meta length > 1400"
    context.drop("vlan", rule.format(one, other), rule.format(other, one))
    client, internet = context.lab.topology.clients[1][1].ip, context.lab.topology.internet[1].ip
    context.script(
        "client-2", "attack", "spray", "--source", client, "--target", internet, "--count", 3000, "--rate", 3000
    )

    def known() -> bool:
        have = [tracked(context.lab, node) for node in (context.active, context.standby)]
        return have[1] >= _SYNCED_RATIO * have[0] or any(context.conditions(node) for node in context.lab.nodes)

    context.pass_time(2)
    context.check(
        "a stall is reported, or there is none", context.wait(known, 10), 10_000, "no agent reports the missing flows"
    )
    context.pass_time(2)


@Fault(23, "MTU 9000 on the VLAN, 1500 on the uplink, 1280 on the path", bound_ms=NO_OUTAGE_MS, limits=STAYS)
def narrow_path(context: Context) -> None:
    """The private side has an MTU of 9000, the uplink 1500, and a hop on the path to the server only 1280."""
    for host, interface in _wide(context):
        context.run(host, "ip", "link", "set", interface, "mtu", "9000")
        context.undo.append(lambda h=host, i=interface: _narrow(context, h, i))  # type: ignore[misc]
    for host in ("client-1", *context.lab.nodes):
        batch([f"link set {context.lab.port(host, 'vlan')} mtu 9000"], netns=context.lab.switch_netns("vlan"))
    context.run("fabric", "ip", "link", "set", UPLINK, "mtu", "1280")
    context.undo.append(lambda: context.run("fabric", "ip", "link", "set", UPLINK, "mtu", "1500"))
    context.start("internet", "datagrams", "serve")
    context.pass_time(0.5)
    said = context.script("client-1", "datagrams", "upload", context.lab.topology.internet[0].ip, 3_000_000, 10)
    context.check("upload", said["ms"] if said["done"] else None, 5000, "3 MB did not get through in time")


@Fault(
    73,
    "network card of the standby appears late after its boot, then power cut of the active node",
    bound_ms=900,
    invariants=UNTOUCHED,
    agents=True,
    alone=True,
)
def late_cards(context: Context) -> None:
    """The standby boots without one card, which appears later: VLAN, then uplink. Then the active node loses power."""
    for link in LINKS:
        node = context.standby
        context.power_cut(node)
        context.boot(node, late=link)
        context.pass_time(_AWAY_SECONDS)
        context.lab.put_in(node, link, configured=True)
        well = context.wait(lambda node=node: _is_well(context, node), _WELL_SECONDS)  # type: ignore[misc]
        context.check(f"late card of the {link}: standby in sync", well, _WELL_SECONDS * 1000)
        context.wait_ready()
    context.may_be_felt()
    context.power_cut(context.active)


@Fault(
    74,
    "network card of the standby removed and added again, then power cut of the active node",
    bound_ms=900,
    invariants=UNTOUCHED,
    agents=True,
    alone=True,
)
def cards_made_anew(context: Context) -> None:
    """The standby's card is removed and added again: VLAN, then uplink. Then the active node loses power."""
    for link in LINKS:
        node = context.standby
        context.lab.take_out(node, link)
        context.pass_time(_AWAY_SECONDS)
        context.lab.put_in(node, link)
        well = context.wait(lambda node=node: _is_well(context, node), _WELL_SECONDS)  # type: ignore[misc]
        context.check(f"new card of the {link}: standby in sync", well, _WELL_SECONDS * 1000)
        context.wait_ready()
    context.may_be_felt()
    context.power_cut(context.active)


def _is_well(context: Context, node: str) -> bool:
    said = context.lab.status(node)
    return said is not None and said.role is Role.STANDBY and said.synced and not said.conditions


def _wide(context: Context) -> list[tuple[str, str]]:
    nodes = [(node.name, node.private_interface) for node in context.lab.gateway.node]
    return [("client-1", CLIENT_INTERFACE), *nodes]


def _narrow(context: Context, host: str, interface: str) -> None:
    context.run(host, "ip", "link", "set", interface, "mtu", "1500", check=False)
