"""The topology of the lab as data: its hosts, cables and addresses.

Everything is derived from a `Gateway`, so that the lab boots from the user's own file. Pure: nothing here touches the
kernel; `testbed.netns` and `testbed.world` make it real.

                 internet (.10-.13)
                     │ 198.51.100.0/24
                  fabric: default gateway of the nodes, four route servers, their follower
                     │
                ═════╪═════════ public switch
                 │       │
               node A  node B
                 │       │
                ═╪═══════╪═╪═══╪═ VLAN switch
                         client-1 client-2
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    ip_interface,
)
from itertools import islice

from natpair.core.model import Gateway, Node
from natpair.core.regions import route_servers
from natpair.errors import LabError
from natpair_lab.testbed.machine import node_settings

VLAN = "vlan"
PUBLIC = "public"
FABRIC = "fabric"
INTERNET = "internet"
CLIENTS = ("client-1", "client-2")
SWITCHES = (VLAN, PUBLIC)
RESERVED_NAMES = frozenset({VLAN, PUBLIC, FABRIC, INTERNET, *CLIENTS})

BRIDGE = "br0"
UPLINK = "internet0"
CLIENT_INTERFACE = "eth0"
FABRIC_PUBLIC = "public0"
LINK_LOCAL_GATEWAY = IPv6Interface("fe80::1/64")
ROUTER_ADDRESS = IPv6Address("fd6e:6174:7061:6972::1")
"""The fabric router's own address on lo, at which it talks to the route servers."""

FABRIC_TABLE = 100
"""The fabric's routing table of best paths; only its BIRD writes it."""
FABRIC_RULE = 1000
"""Preference of the rule that makes that table effective at once; absent on a slow fabric."""
LAST_METRIC = 1_000_000
"""Metric of the routes that discard packets for a FIP that no node announces."""

INTERNET_NETWORK = IPv4Network("198.51.100.0/24")
"""The network of the internet host, unless the pair has addresses in it."""
_INTERNET_CANDIDATES = (str(INTERNET_NETWORK), "203.0.113.0/24", "192.0.2.0/24", "198.18.0.0/24")
_INTERNET_HOSTS = (10, 11, 12, 13)
_API_HOST = 20
_FIRST_CLIENT_OFFSET = 101
_NAME_LIMIT = 15  # IFNAMSIZ less the closing NUL

Address = IPv4Interface | IPv6Interface


class Design(StrEnum):
    """The design of the pair in the lab: natpair's, or the classic one."""

    NATPAIR = "natpair"
    CLASSIC = "classic"


class HostKind(StrEnum):
    """What a host of the lab is for; decides how its namespaces look."""

    NODE = "node"
    CLIENT = "client"
    FABRIC = "fabric"
    INTERNET = "internet"
    SWITCH = "switch"


@dataclass(frozen=True, slots=True)
class Host:
    """One machine of the lab. It has lines for `ip -batch` that configure it, and sysctls without `/proc/sys/`."""

    name: str
    kind: HostKind
    ip_lines: tuple[str, ...] = ()
    sysctls: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class End:
    """One end of a virtual cable: an interface of a host."""

    host: str
    interface: str
    mac: str


@dataclass(frozen=True, slots=True)
class Link:
    """A virtual cable. If `far` is a switch, its interface is a port of the bridge."""

    near: End
    far: End


@dataclass(frozen=True, slots=True)
class Topology:
    """The whole network. Hosts are in boot order: those that others need come first."""

    gateway: Gateway
    hosts: tuple[Host, ...]
    links: tuple[Link, ...]
    clients: tuple[tuple[str, IPv4Interface], ...]
    internet: tuple[IPv4Interface, ...]
    internet_gateway: IPv4Interface
    fabric_public: tuple[Address, ...]
    design: Design = Design.NATPAIR

    @property
    def api(self) -> IPv4Interface:
        """Where nodes reach the emulated API if it is served: an additional address of the internet host."""
        return api_address(self.internet_gateway.network)

    def without_nodes(self) -> Topology:
        """The network before any node is switched on."""
        nodes = {host.name for host in self.hosts if host.kind is HostKind.NODE}
        hosts = tuple(host for host in self.hosts if host.name not in nodes)
        return replace(self, hosts=hosts, links=tuple(link for link in self.links if link.near.host not in nodes))

    def host(self, name: str) -> Host:
        """The host called `name`; LabError with all names if there is none."""
        for host in self.hosts:
            if host.name == name:
                return host
        raise LabError(f"the lab has no host {name}", fix="one of: " + ", ".join(h.name for h in self.hosts))

    def links_of(self, host: str) -> tuple[Link, ...]:
        """The cables that have an end in `host`."""
        return tuple(link for link in self.links if host in (link.near.host, link.far.host))

    def port(self, host: str, switch: str) -> str:
        """The switch-side interface of `host`'s cable to `switch`; LabError if there is none."""
        for link in self.links:
            if link.near.host == host and link.far.host == switch:
                return link.far.interface
        raise LabError(f"{host} has no cable to the {switch} switch")


def build(gateway: Gateway, design: Design = Design.NATPAIR) -> Topology:
    """The network around the pair of `gateway`; LabError if its addresses leave no room for one."""
    _refuse_reserved_names(gateway)
    clients = _client_addresses(gateway)
    internet_network = _internet_network(gateway)
    internet = tuple(_at(internet_network, offset) for offset in _INTERNET_HOSTS)
    internet_gateway = _at(internet_network, 1)
    fabric_public = _fabric_public_addresses(gateway)
    return Topology(
        gateway=gateway,
        hosts=(
            _switch(VLAN),
            _switch(PUBLIC),
            _fabric(gateway, internet_gateway, fabric_public),
            _internet_host(internet, internet_gateway),
            *(_client(name, address, gateway) for name, address in clients),
            *(_node(node, gateway) for node in gateway.node),
        ),
        links=tuple(_links(gateway)),
        clients=clients,
        internet=internet,
        internet_gateway=internet_gateway,
        fabric_public=fabric_public,
        design=design,
    )


def api_address(internet: IPv4Network) -> IPv4Interface:
    """The address of an emulated API in the network of the internet host."""
    return _at(internet, _API_HOST)


def mac_of(*names: str) -> str:
    """A unicast, locally administered MAC that is always the same for the same names."""
    digest = hashlib.sha256("/".join(names).encode()).digest()
    return ":".join(f"{byte:02x}" for byte in (0x02, *digest[:5]))


def interface_name(host: str) -> str:
    """`host` as the name of a switch port: shortened with a digest if it exceeds the kernel's 15 characters."""
    if len(host) <= _NAME_LIMIT:
        return host
    digest = hashlib.sha256(host.encode()).hexdigest()[:4]
    return f"{host[: _NAME_LIMIT - 5]}-{digest}"


def bridge_lines(switch: str) -> tuple[str, ...]:
    """The lines that make a namespace a switch. The MAC is fixed: by default a bridge takes the lowest of its ports,
    and would change it when that port leaves."""
    return (
        f"link add {BRIDGE} address {mac_of(switch, BRIDGE)} type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
        f"link set {BRIDGE} up",
        "link set lo up",
    )


def _refuse_reserved_names(gateway: Gateway) -> None:
    taken = [node.name for node in gateway.node if node.name in RESERVED_NAMES]
    if taken:
        raise LabError(
            f"the lab has a host {taken[0]} of its own",
            fix=f"name the node anything but {', '.join(sorted(RESERVED_NAMES))}",
        )


def _client_addresses(gateway: Gateway) -> tuple[tuple[str, IPv4Interface], ...]:
    network = gateway.private_network
    used = {gateway.pair.vip.ip, *(node.private_address.ip for node in gateway.node)}
    preferred = (network.network_address + _FIRST_CLIENT_OFFSET + n for n in range(len(CLIENTS)))
    fits = [a for a in preferred if a in network and a != network.broadcast_address and a not in used]
    free = list(islice(_free_hosts(network, used | set(fits)), len(CLIENTS)))
    addresses = (fits + free)[: len(CLIENTS)]
    if len(addresses) < len(CLIENTS):
        fix = "use a private subnet of /29 or larger"
        raise LabError(f"{network} has no room for two clients beside the pair", fix=fix)
    interfaces = (IPv4Interface(f"{address}/{network.prefixlen}") for address in addresses)
    return tuple(zip(CLIENTS, interfaces, strict=True))


def _free_hosts(network: IPv4Network, used: set[IPv4Address]) -> Iterator[IPv4Address]:
    return (address for address in network.hosts() if address not in used)


def _internet_network(gateway: Gateway) -> IPv4Network:
    taken = [gateway.private_network, *(node.public_address.network for node in gateway.node)]
    taken += [IPv4Network(fip) for fip in gateway.pair.fips]
    for candidate in map(IPv4Network, _INTERNET_CANDIDATES):
        if not any(candidate.overlaps(network) for network in taken):
            return candidate
    raise LabError("no documentation network is left for the lab's internet host")


def _at(network: IPv4Network, offset: int) -> IPv4Interface:
    return IPv4Interface(f"{network.network_address + offset}/{network.prefixlen}")


def _fabric_public_addresses(gateway: Gateway) -> tuple[Address, ...]:
    """One gateway address for each public subnet of a node, IPv4 and IPv6, plus the link-local one."""
    found: dict[str, Address] = {}
    for node in gateway.node:
        four, six = _gateway4(node, gateway), _gateway6(node, gateway)
        found[str(four.network)] = four
        found[str(six.network)] = six
    found[str(LINK_LOCAL_GATEWAY.network)] = LINK_LOCAL_GATEWAY
    return tuple(found.values())


def _gateway4(node: Node, gateway: Gateway) -> IPv4Interface:
    network = node.public_address.network
    wanted = gateway.health.public_gateway
    used = {n.public_address.ip for n in gateway.node} | set(gateway.pair.fips)
    address = wanted if wanted is not None and wanted in network else next(_free_hosts(network, used), None)
    if address is None or network.prefixlen > 30:
        raise LabError(
            f"the public subnet {network} of {node.name} has no room for a default gateway",
            fix="give public_address the prefix length of its subnet, such as /24",
        )
    return IPv4Interface(f"{address}/{network.prefixlen}")


def _gateway6(node: Node, gateway: Gateway) -> IPv6Interface:
    network = node.public_address6.network
    used = {n.public_address6.ip for n in gateway.node}
    if network.prefixlen >= 127:  # a bare address: only the link-local gateway can serve it
        return LINK_LOCAL_GATEWAY
    address = next(address for address in network.hosts() if address not in used)
    return IPv6Interface(f"{address}/{network.prefixlen}")


def _switch(name: str) -> Host:
    # No IPv6 on ports and bridge, so that a switch sends nothing of its own.
    quiet = (("net/ipv6/conf/all/disable_ipv6", "1"), ("net/ipv6/conf/default/disable_ipv6", "1"))
    return Host(name, HostKind.SWITCH, (), quiet)


_ENDPOINT_SYSCTLS = (
    # Ten thousand flows to one server port need more than the default 28,232 source ports.
    ("net/ipv4/ip_local_port_range", "1024 65535"),
    ("net/core/somaxconn", "65535"),
    ("net/ipv4/tcp_max_syn_backlog", "65535"),
    ("net/ipv4/conf/all/accept_redirects", "0"),
)

_ROUTER_SYSCTLS = (
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv6/conf/all/forwarding", "1"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/all/send_redirects", "0"),
    # One hash over addresses and ports, as provider routers share load.
    ("net/ipv4/fib_multipath_hash_policy", "1"),
)


def _interface_sysctls(interfaces: Iterable[str], *, router: bool = False) -> tuple[tuple[str, str], ...]:
    """Settings of clients, fabric and internet hosts, per interface: these hosts send nothing that no test asked for.

    Setting "all" is not enough: the kernel takes the maximum of both.
    """
    settings = [("ipv6", "accept_dad", "0"), ("ipv6", "accept_ra", "0")]
    if router:
        # A packet with a private source must stay visible, so the fabric checks no sources.
        settings += [("ipv4", "rp_filter", "0"), ("ipv4", "send_redirects", "0")]
    return tuple((f"net/{family}/conf/{i}/{key}", value) for i in interfaces for family, key, value in settings)


def _up(interface: str, addresses: Iterable[Address]) -> Iterator[str]:
    yield f"link set {interface} up"
    for address in addresses:
        yield f"addr add {address} dev {interface}" + (" nodad" if address.version == 6 else "")


def _fabric(gateway: Gateway, internet_gateway: IPv4Interface, public: tuple[Address, ...]) -> Host:
    servers = [ip_interface(address) for address in (*route_servers(gateway), ROUTER_ADDRESS)]
    lines = [
        *_up("lo", servers),
        *_up(FABRIC_PUBLIC, public),
        *_up(UPLINK, [internet_gateway]),
        f"rule add pref {FABRIC_RULE} lookup {FABRIC_TABLE}",
        # Packets to an address that nobody announces are dropped silently, as on a provider's router without a route.
        *(f"route add blackhole {fip}/32 metric {LAST_METRIC}" for fip in gateway.pair.fips),
    ]
    for node in gateway.node:
        if node.public_address6.network.prefixlen >= 127:
            lines.append(f"route replace {node.public_address6.ip}/128 dev {FABRIC_PUBLIC}")
    interfaces = _interface_sysctls((FABRIC_PUBLIC, UPLINK), router=True)
    return Host(FABRIC, HostKind.FABRIC, tuple(lines), (*_ROUTER_SYSCTLS, *interfaces))


def _internet_host(addresses: tuple[IPv4Interface, ...], gateway: IPv4Interface) -> Host:
    lines = (*_up("lo", ()), *_up("eth0", addresses), f"route add default via {gateway.ip}")
    return Host(INTERNET, HostKind.INTERNET, lines, (*_ENDPOINT_SYSCTLS, *_interface_sysctls(["eth0"])))


def _client(name: str, address: IPv4Interface, gateway: Gateway) -> Host:
    lines = (*_up("lo", ()), *_up(CLIENT_INTERFACE, [address]), f"route add default via {gateway.pair.vip.ip}")
    return Host(name, HostKind.CLIENT, lines, (*_ENDPOINT_SYSCTLS, *_interface_sysctls([CLIENT_INTERFACE])))


def _node(node: Node, gateway: Gateway) -> Host:
    six = _gateway6(node, gateway).ip
    lines = (
        *_up("lo", ()),
        *_up(node.private_interface, [node.private_address]),
        *_up(node.public_interface, [node.public_address, node.public_address6]),
        f"route add default via {_gateway4(node, gateway).ip} dev {node.public_interface}",
        f"route add default via {six} dev {node.public_interface}",
    )
    return Host(node.name, HostKind.NODE, lines, node_settings((node.private_interface, node.public_interface)))


def _cable(host: str, interface: str, switch: str) -> Link:
    port = interface_name(host)
    return Link(End(host, interface, mac_of(host, interface)), End(switch, port, mac_of(switch, port)))


def _links(gateway: Gateway) -> Iterator[Link]:
    yield _cable(FABRIC, FABRIC_PUBLIC, PUBLIC)
    yield Link(End(FABRIC, UPLINK, mac_of(FABRIC, UPLINK)), End(INTERNET, "eth0", mac_of(INTERNET, "eth0")))
    for client in CLIENTS:
        yield _cable(client, CLIENT_INTERFACE, VLAN)
    for node in gateway.node:
        yield _cable(node.name, node.private_interface, VLAN)
        yield _cable(node.name, node.public_interface, PUBLIC)
