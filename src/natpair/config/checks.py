"""Rules between fields and between the nodes. Each rule is a small generator of problems over the gateway.

The gateway may be partial: attributes are missing if the file was wrong there. A rule stops at a missing attribute,
because that problem is reported already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from difflib import get_close_matches
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import PurePosixPath

from natpair.config.places import near_region
from natpair.core.model import Gateway, Node
from natpair.core.regions import DCIDS
from natpair.errors import Problem

Rule = Callable[[Gateway], Iterator[Problem]]
NodeRule = Callable[[Gateway, int, Node], Iterator[Problem]]

_LONGEST_SUBNET = 30
_BGP_PORT = 179

# RFC 1918, and RFC 6598 (carrier-grade NAT): the internet has no route to these.
_PRIVATE = tuple(map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")))
# A VLAN may also use these: no host on the internet has such an address, so clients lose no destination.
_NOBODYS = tuple(map(IPv4Network, ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "198.18.0.0/15")))
_RESERVED = tuple(map(IPv4Network, ("0.0.0.0/8", "240.0.0.0/4")))


def cross_check(gateway: Gateway, *, partial: bool = False) -> list[Problem]:
    """Every problem that the rules find in `gateway`. Attributes may be missing only if it is `partial`."""
    problems: list[Problem] = []
    for found in _all_rules(gateway):
        try:
            problems.extend(found)  # keeps the problems found before a missing field
        except AttributeError:
            if not partial:
                raise
    return problems


def _all_rules(gateway: Gateway) -> Iterator[Iterator[Problem]]:
    for rule in _RULES:
        yield rule(gateway)
    for index, node in enumerate(gateway.node):
        for node_rule in _NODE_RULES:
            yield node_rule(gateway, index, node)


def _usable(address: IPv4Interface, key: str) -> Iterator[Problem]:
    network = address.network
    if not _has_subnet(address):
        accepted = f'the address with the prefix length of its subnet, such as "{address.ip}/24"'
        yield Problem(key, str(address), "has no usable subnet; the prefix length may be missing", accepted)
    elif address.ip in {network.network_address, network.broadcast_address}:
        accepted = f"{network.network_address + 1} to {network.broadcast_address - 1}"
        yield Problem(key, str(address), "is the network or broadcast address of its subnet", accepted)
    if _no_host(address.ip):
        yield Problem(key, str(address), "is not a host address", "a unicast address")


def _has_subnet(address: IPv4Interface) -> bool:
    return address.network.prefixlen <= _LONGEST_SUBNET


def _no_host(address: IPv4Address) -> bool:
    odd = address.is_multicast or address.is_loopback or address.is_link_local
    return odd or any(address in network for network in _RESERVED)


def _vip_is_usable(gateway: Gateway) -> Iterator[Problem]:
    yield from _usable(gateway.pair.vip, "pair.vip")


def _vlan_is_not_public(gateway: Gateway) -> Iterator[Problem]:
    network = gateway.private_network
    if _no_host(gateway.pair.vip.ip) or any(network.subnet_of(free) for free in (*_PRIVATE, *_NOBODYS)):
        return
    message = f"{network} is public address space: clients could not reach the real owners of these addresses"
    yield Problem("pair.vip", str(gateway.pair.vip), message, "a subnet of 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16")


def _vip_and_nodes_agree(gateway: Gateway) -> Iterator[Problem]:
    """Report the VIP, and not the nodes, if both nodes are in one subnet and the VIP is not."""
    vip, shared = gateway.pair.vip, _shared_network(gateway)
    if shared is None or not _has_subnet(vip) or shared == vip.network:
        return
    names = " and ".join(node.name for node in gateway.node)
    if vip.ip in shared:
        message = f"has a different prefix length from {names}, which have /{shared.prefixlen}"
        yield Problem("pair.vip", str(vip), message, f"{vip.ip}/{shared.prefixlen}")
    else:
        yield Problem("pair.vip", str(vip), f"is outside the subnet of {names}", f"an address in {shared}")


def _shared_network(gateway: Gateway) -> IPv4Network | None:
    addresses = [getattr(node, "private_address", None) for node in gateway.node]  # None: refused already
    networks = {address.network if address and _has_subnet(address) else None for address in addresses}
    return networks.pop() if len(networks) == 1 and len(addresses) > 1 else None


def _fips_are_distinct(gateway: Gateway) -> Iterator[Problem]:
    for index, fip in enumerate(gateway.pair.fips):
        if fip in gateway.pair.fips[:index]:
            yield Problem(f"pair.fips[{index}]", str(fip), "is listed twice", "list each floating address once")


def _fips_are_public(gateway: Gateway) -> Iterator[Problem]:
    network = gateway.private_network
    for index, fip in enumerate(gateway.pair.fips):
        key = f"pair.fips[{index}]"
        if fip in network:
            yield Problem(key, str(fip), f"is in the private subnet {network}", "a public address outside this subnet")
        elif any(fip in private for private in _PRIVATE):
            message = "is a private address: replies from the internet cannot reach it"
            yield Problem(key, str(fip), message, "a public address that the provider shares to both nodes")
        if _no_host(fip):
            yield Problem(key, str(fip), "is not a host address", "a unicast address")


def _fips_are_not_nodes(gateway: Gateway) -> Iterator[Problem]:
    for index, node in enumerate(gateway.node):
        if node.public_address.ip in gateway.pair.fips:
            key = f"node[{index}].public_address"
            accepted = "the node's own public address, not a floating address"
            yield Problem(key, str(node.public_address), "is one of pair.fips", accepted)


def _preferred_is_a_node(gateway: Gateway) -> Iterator[Problem]:
    prefer, names = gateway.pair.prefer, [node.name for node in gateway.node]
    if prefer is not None and prefer not in names:
        close = get_close_matches(prefer, names, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        yield Problem("pair.prefer", prefer, "is not a node of this pair", f"{hint}one of {', '.join(names)}")
    if prefer is None and gateway.pair.failback_seconds is not None:
        seconds = str(gateway.pair.failback_seconds)
        yield Problem(
            "pair.failback_seconds", seconds, "needs pair.prefer, which is not set", "set pair.prefer to a node's name"
        )


def _nodes_are_distinct(gateway: Gateway) -> Iterator[Problem]:
    first = gateway.node[0] if gateway.node else None
    for index, node in enumerate(gateway.node[1:], start=1):
        for field in ("name", "private_address", "public_address", "public_address6"):
            yield from _not_equal(first, node, index, field)


def _not_equal(first: Node | None, node: Node, index: int, field: str) -> Iterator[Problem]:
    mine, other = getattr(node, field, None), getattr(first, field, None)
    mine_ip, other_ip = getattr(mine, "ip", mine), getattr(other, "ip", other)
    if mine_ip is not None and mine_ip == other_ip:
        yield Problem(
            f"node[{index}].{field}", str(mine), "is the same on both nodes", "a different value for each node"
        )


def _route_servers_known(gateway: Gateway) -> Iterator[Problem]:
    if gateway.bgp.route_servers:
        return
    region = gateway.bgp.region
    if region is None:
        accepted = 'a region, such as region = "us-ord", or route_servers = [IPv6 addresses]'
        yield Problem("bgp", "", "has neither a region nor route servers", accepted)
    elif region not in DCIDS:
        close = near_region(region)
        hint = f"did you mean {close}? " if close else ""
        accepted = (
            f"{hint}one of {', '.join(DCIDS)}; for any other region, find its data centre id N in the table of"
            " Linode's guide on configuring failover or ask Linode support, and set"
            " bgp.route_servers to 2600:3c0f:N:34::1 to ::4"
        )
        yield Problem("bgp.region", region, "natpair does not know the route servers of this region", accepted)


def _route_servers_are_distinct(gateway: Gateway) -> Iterator[Problem]:
    servers = gateway.bgp.route_servers
    own = {node.public_address6.ip for node in gateway.node}
    for index, server in enumerate(servers):
        key = f"bgp.route_servers[{index}]"
        if server in servers[:index]:
            yield Problem(key, str(server), "is listed twice", "list each route server once")
        if server in own:
            yield Problem(key, str(server), "is a node's own address", "the address of a route server")


def _autonomous_systems_differ(gateway: Gateway) -> Iterator[Problem]:
    if gateway.bgp.local_as == gateway.bgp.peer_as:
        accepted = "two different numbers; on Linode 65001 for the nodes and 65000 for the route servers"
        yield Problem("bgp.local_as", str(gateway.bgp.local_as), "is the same as bgp.peer_as", accepted)


def _hold_fits_profile(gateway: Gateway) -> Iterator[Problem]:
    hold, detect = gateway.bgp.hold_seconds, gateway.timing.detect_ms
    if hold is not None and hold * 1000 <= detect:
        message = f"is not longer than VRRP's detection time (profile {gateway.pair.profile}: {detect} ms)"
        yield Problem("bgp.hold_seconds", str(hold), message, f"more than {detect / 1000:g}")


def _ports_are_distinct(gateway: Gateway) -> Iterator[Problem]:
    sync, heartbeat = gateway.sync.port, gateway.heartbeat.port
    if sync == heartbeat:
        set_here = "port" in gateway.sync.model_fields_set and "port" not in gateway.heartbeat.model_fields_set
        key, other = ("sync.port", "heartbeat.port") if set_here else ("heartbeat.port", "sync.port")
        default = f" (the default of {other})" if set_here else ""
        yield Problem(key, str(sync), f"is the same port as {other}{default}", "two different UDP ports")
    for key, port in (("sync.port", sync), ("heartbeat.port", heartbeat)):
        if port == _BGP_PORT:
            yield Problem(key, str(port), "is the port of BGP", "another UDP port, such as 3780")


def _management_leaves_bgp_alone(gateway: Gateway) -> Iterator[Problem]:
    for index, port in enumerate(gateway.firewall.management_tcp_ports):
        if port == _BGP_PORT:
            key = f"firewall.management_tcp_ports[{index}]"
            yield Problem(key, str(port), "would open BGP to hosts other than the route servers", "any port except 179")


def _key_file_is_absolute(gateway: Gateway) -> Iterator[Problem]:
    path = gateway.heartbeat.key_file
    if not PurePosixPath(path).is_absolute():
        yield Problem("heartbeat.key_file", path, "is not an absolute path", "a path such as /etc/natpair/pair.key")


def _watch_has_a_token(gateway: Gateway) -> Iterator[Problem]:
    watch, file = gateway.watch, gateway.linode.token_file
    enabled = watch.enabled  # missing if it is not a bool; that problem is reported already
    if watch.model_fields_set and "enabled" not in watch.model_fields_set:
        yield Problem(
            "watch", "", "has keys but not enabled, which turns the watch on or off", "enabled = true or false"
        )
    if not enabled:
        return
    if file is None or not PurePosixPath(file).is_absolute():
        accepted = 'an absolute path such as "/etc/natpair/linode.token"; an agent reads no token from the environment'
        yield Problem("linode.token_file", file or "", "is required by watch.enabled", accepted)
    lead, interval = watch.maintenance_lead_seconds, watch.interval_seconds
    if lead < 3 * interval:
        message = f"is shorter than three intervals of watch.interval_seconds = {interval}"
        yield Problem("watch.maintenance_lead_seconds", str(lead), message, f"at least {3 * interval}")


def _refresh_below_udp_timeout(gateway: Gateway) -> Iterator[Problem]:
    refresh, udp = gateway.sync.refresh_seconds, gateway.nat.udp_seconds
    if refresh * 2 > udp:
        message = f"the standby's copies would expire: they are kept for nat.udp_seconds = {udp}"
        accepted = f"at most {udp // 2}, so that one refresh may be lost"
        yield Problem("sync.refresh_seconds", str(refresh), message, accepted)


def _gateway_is_reachable(gateway: Gateway) -> Iterator[Problem]:
    probe = gateway.health.public_gateway
    if probe is None:
        return
    for node in gateway.node:
        if probe not in node.public_address.network or probe == node.public_address.ip:
            accepted = f"the router in {node.public_address.network}"
            yield Problem(
                "health.public_gateway",
                str(probe),
                f"is not in the subnet of {node.name}, or is its own address",
                accepted,
            )
            return


def _node_addresses_usable(_: Gateway, index: int, node: Node) -> Iterator[Problem]:
    yield from _usable(node.private_address, f"node[{index}].private_address")
    yield from _usable(node.public_address, f"node[{index}].public_address")


def _node_address6_usable(_: Gateway, index: int, node: Node) -> Iterator[Problem]:
    address = node.public_address6
    if address.ip.is_link_local or address.ip.is_multicast or address.ip.is_loopback or address.ip.is_unspecified:
        accepted = "the node's global IPv6 address, which is used for BGP with the route servers"
        yield Problem(f"node[{index}].public_address6", str(address), "is not a global address", accepted)


def _node_in_private_network(gateway: Gateway, index: int, node: Node) -> Iterator[Problem]:
    key, network = f"node[{index}].private_address", gateway.private_network
    address = node.private_address
    blamed = (shared := _shared_network(gateway)) is not None and shared != network  # the VIP is reported instead
    if address.ip == gateway.pair.vip.ip:
        yield Problem(key, str(address), "is the VIP", "the node's own address; the VIP moves between the nodes")
    if blamed or not _has_subnet(gateway.pair.vip) or not _has_subnet(address):
        return
    if address.ip not in network:
        yield Problem(key, str(address), "is outside the VIP's subnet", f"an address in {network}")
    elif address.network.prefixlen != network.prefixlen:
        accepted = f"{address.ip}/{network.prefixlen}"
        yield Problem(key, str(address), "has a different prefix length from pair.vip", accepted)


def _node_sides_disjoint(gateway: Gateway, index: int, node: Node) -> Iterator[Problem]:
    public = node.public_address.network
    if public.overlaps(gateway.private_network) and public.prefixlen <= _LONGEST_SUBNET:
        message = f"its subnet {public} overlaps the private subnet {gateway.private_network}"
        accepted = "two subnets that do not overlap"
        yield Problem(f"node[{index}].public_address", str(node.public_address), message, accepted)


def _node_interfaces_differ(_: Gateway, index: int, node: Node) -> Iterator[Problem]:
    if node.private_interface == node.public_interface:
        key = f"node[{index}].private_interface"
        yield Problem(key, node.private_interface, "is also the public interface", "the interface on the VLAN")
    for field in ("private_interface", "public_interface"):
        name: str = getattr(node, field)
        if name == "lo":
            yield Problem(
                f"node[{index}].{field}", name, "is the loopback interface", "a network interface such as eth1"
            )


_RULES: tuple[Rule, ...] = (
    _vip_is_usable,
    _vlan_is_not_public,
    _vip_and_nodes_agree,
    _fips_are_distinct,
    _fips_are_public,
    _fips_are_not_nodes,
    _preferred_is_a_node,
    _nodes_are_distinct,
    _route_servers_known,
    _route_servers_are_distinct,
    _autonomous_systems_differ,
    _hold_fits_profile,
    _ports_are_distinct,
    _management_leaves_bgp_alone,
    _key_file_is_absolute,
    _watch_has_a_token,
    _refresh_below_udp_timeout,
    _gateway_is_reachable,
)
_NODE_RULES: tuple[NodeRule, ...] = (
    _node_addresses_usable,
    _node_address6_usable,
    _node_in_private_network,
    _node_sides_disjoint,
    _node_interfaces_differ,
)
