"""The world derived from a gateway, and its picture."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Interface

import pytest

from natpair.config.load import parse
from natpair.core.model import Gateway
from natpair.errors import LabError
from natpair_lab.testbed import topology
from natpair_lab.testbed.picture import draw


def changed(gateway: Gateway, **pair: object) -> Gateway:
    return gateway.model_copy(update={"pair": gateway.pair.model_copy(update=pair)})


def with_nodes(gateway: Gateway, *changes: dict[str, object]) -> Gateway:
    nodes = tuple(n.model_copy(update=c) for n, c in zip(gateway.node, changes, strict=True))
    return gateway.model_copy(update={"node": nodes})


def test_the_example_has_the_addresses_the_documents_speak_of(gateway):
    plan = topology.build(gateway)
    assert [(name, str(a)) for name, a in plan.clients] == [
        ("client-1", "192.168.1.101/24"),
        ("client-2", "192.168.1.102/24"),
    ]
    assert [str(a.ip) for a in plan.internet] == [f"198.51.100.{n}" for n in (10, 11, 12, 13)]
    assert [str(a) for a in plan.fabric_public] == ["203.0.113.1/24", "2001:db8:100::1/64", "fe80::1/64"]


def test_every_cable_has_its_own_ports_and_macs(gateway):
    links = topology.build(gateway).links
    ends = [end for link in links for end in (link.near, link.far)]
    assert len({(e.host, e.interface) for e in ends}) == len(ends)
    assert len({e.mac for e in ends}) == len(ends)
    assert all(int(e.mac[:2], 16) & 3 == 2 for e in ends)  # unicast, locally administered


def test_the_same_name_has_the_same_mac_at_each_boot():
    assert topology.mac_of("nat-a", "eth0") == topology.mac_of("nat-a", "eth0")
    assert topology.mac_of("nat-a", "eth0") != topology.mac_of("nat-b", "eth0")


def test_long_names_stay_apart_in_fifteen_characters():
    one, other = (topology.interface_name(f"nat-gateway-frankfurt-{x}") for x in "ab")
    assert one != other
    assert len(one) == len(other) == 15
    assert topology.interface_name("nat-a") == "nat-a"


def test_a_small_private_net_gives_the_clients_what_is_free():
    # .0 net, .1 VIP, .2 and .3 nodes, .4 and .5 free, .7 broadcast
    text = """
[pair]
vip = "192.168.1.1/29"
fips = ["192.0.2.221"]
[[node]]
name = "a"
private_address = "192.168.1.2/29"
public_address = "203.0.113.3/24"
public_address6 = "2001:db8::3/64"
[[node]]
name = "b"
private_address = "192.168.1.3/29"
public_address = "203.0.113.4/24"
public_address6 = "2001:db8::4/64"
[bgp]
region = "us-ord"
"""
    plan = topology.build(parse(text))
    assert [str(a) for _, a in plan.clients] == ["192.168.1.4/29", "192.168.1.5/29"]


def test_a_private_net_without_room_for_clients_is_refused(gateway):
    tiny = changed(gateway, vip=gateway.pair.vip.__class__("192.168.1.1/30"))
    with pytest.raises(LabError, match="no room for two clients"):
        topology.build(tiny)


def test_the_internet_keeps_out_of_the_users_networks(gateway):
    taken = changed(gateway, fips=(IPv4Address("198.51.100.7"),))
    assert str(topology.build(taken).internet[0]) == "192.0.2.10/24"


def test_the_health_probes_gateway_is_the_fabrics_address(gateway):
    probing = gateway.model_copy(
        update={"health": gateway.health.model_copy(update={"public_gateway": IPv4Address("203.0.113.254")})}
    )
    assert str(topology.build(probing).fabric_public[0]) == "203.0.113.254/24"


def test_nodes_in_different_public_subnets_each_have_a_gateway(gateway):
    four = gateway.node[0].public_address.__class__
    apart = with_nodes(gateway, {}, {"public_address": four("192.0.2.130/25")})
    assert "192.0.2.129/25" in map(str, topology.build(apart).fabric_public)


def test_a_bare_ipv6_address_is_routed_by_the_link_local_gateway(gateway):
    bare = with_nodes(gateway, {"public_address6": IPv6Interface("2001:db8:100::3/128")}, {})
    plan = topology.build(bare)
    assert "route add default via fe80::1 dev eth0" in plan.host("nat-a").ip_lines
    assert "route replace 2001:db8:100::3/128 dev public0" in plan.host("fabric").ip_lines


def test_a_public_address_without_its_subnet_is_refused(gateway):
    four = gateway.node[0].public_address.__class__
    with pytest.raises(LabError, match="no room for a default gateway"):
        topology.build(with_nodes(gateway, {"public_address": four("203.0.113.3/32")}, {}))


@pytest.mark.parametrize("name", ["vlan", "public", "fabric", "internet", "client-1"])
def test_a_node_cannot_have_a_name_of_the_labs_own(gateway, name):
    with pytest.raises(LabError, match=name):
        topology.build(with_nodes(gateway, {"name": name}, {}))


def test_an_unknown_host_is_answered_with_those_there_are(gateway):
    with pytest.raises(LabError) as refused:
        topology.build(gateway).host("nat-c")
    assert "nat-a, nat-b" in refused.value.fix


def test_the_picture_shows_every_name_and_address(gateway):
    plan = topology.build(gateway)
    shown = draw(plan, {"nat-a": "active", "nat-b": "standby"})
    for word in ("active", "standby", "192.168.1.1", "192.0.2.221", "203.0.113.4", "client-2", "198.51.100.13"):
        assert word in shown
    assert shown.isascii()
    assert not re.search(r"[ ]+$", shown, re.MULTILINE)
