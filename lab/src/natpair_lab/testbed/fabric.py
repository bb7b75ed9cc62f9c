"""The provider's side of the lab: four route servers and the router that follows them, all BIRD.

Pure text: `configs` renders every file from the knobs and the share table; `testbed.world` writes them and reloads the
daemons. Each route server is a BIRD process of its own: several in one process cannot share the nodes as neighbours,
and each must be able to differ from the others for a moment, as on the real fabric.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from types import MappingProxyType

from natpair.core.model import Gateway
from natpair.core.regions import route_servers
from natpair_lab.testbed.init import Unit
from natpair_lab.testbed.topology import FABRIC_PUBLIC, FABRIC_TABLE, ROUTER_ADDRESS

FOLDER = "/run/fabric"
"""The folder of the fabric's files, in its own file system."""
ROUTER = "router"
FOLLOWER = "follower"
DELAY_FILE = "converge_ms"

Shares = Mapping[IPv4Address, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Knobs:
    """How this fabric behaves. The defaults are a fast fabric that decides as RFC 4271 says."""

    converge_ms: int = 0
    ignore_med: bool = False
    load_share: bool = False
    prefer_older: bool = False
    hold_sessions: bool = False
    """Refuse the BGP sessions of a node to which no FIP is shared."""


@dataclass(frozen=True, slots=True)
class FabricFiles:
    """The fabric's files by name, and the names of its BIRD processes."""

    files: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    daemons: tuple[str, ...] = ()


def all_shared(gateway: Gateway) -> dict[IPv4Address, tuple[str, ...]]:
    """Every FIP shared to both nodes, as after `natpair cloud apply`."""
    return {fip: tuple(node.name for node in gateway.node) for fip in gateway.pair.fips}


def server_names(gateway: Gateway) -> tuple[str, ...]:
    """rs1, rs2, …, one for each route server of the region."""
    return tuple(f"rs{n}" for n in range(1, len(route_servers(gateway)) + 1))


def configs(gateway: Gateway, knobs: Knobs, shares: Shares) -> FabricFiles:
    """Every file of the fabric."""
    servers = route_servers(gateway)
    names = server_names(gateway)
    files = {
        f"{name}.conf": _server(number, address, gateway, knobs, shares)
        for number, (name, address) in enumerate(zip(names, servers, strict=True), start=1)
    }
    files[f"{ROUTER}.conf"] = _router(names, servers, gateway, knobs)
    files[DELAY_FILE] = f"{knobs.converge_ms}\n"
    files["sessions.nft"] = _sessions(gateway, knobs, shares)
    return FabricFiles(MappingProxyType(files), (*names, ROUTER))


def units(gateway: Gateway, python: str, follower: str) -> tuple[Unit, ...]:
    """The fabric's services; `follower` is the path of `testbed/follower.py`."""
    birds = [
        Unit(name, ("bird", "-f", "-c", f"{FOLDER}/{name}.conf", "-s", control_socket(name)))
        for name in (*server_names(gateway), ROUTER)
    ]
    argv = (python, "-I", "-S", follower, str(FABRIC_TABLE), f"{FOLDER}/{DELAY_FILE}")
    sessions = Unit("sessions", ("nft", "-f", f"{FOLDER}/sessions.nft"), oneshot=True)
    return (sessions, *birds, Unit(FOLLOWER, argv))


def refused_nodes(gateway: Gateway, knobs: Knobs, shares: Shares) -> tuple[str, ...]:
    """The nodes whose BGP sessions this fabric refuses."""
    sharing = {name for nodes in shares.values() for name in nodes}
    return tuple(node.name for node in gateway.node if knobs.hold_sessions and node.name not in sharing)


def node_session(gateway: Gateway, node: str) -> str:
    """The name of a route server's BIRD protocol towards `node`."""
    return f"node_{gateway.bit_of(node)}"


def control_socket(daemon: str) -> str:
    """The control socket of a BIRD process, in the fabric's file system."""
    return f"/run/{daemon}.ctl"


def _server(number: int, address: IPv6Address, gateway: Gateway, knobs: Knobs, shares: Shares) -> str:
    parts = [_preamble(f"10.255.0.{number}", gateway)]
    for index, node in enumerate(gateway.node):
        shared = [fip for fip, nodes in shares.items() if node.name in nodes]
        parts.append(_import_filter(index, shared, ignore_med=knobs.ignore_med))
        parts.append(_neighbour(index, address, node.public_address6.ip, gateway, knobs))
    parts.append(_towards_router(address, gateway, knobs))
    return "\n".join(parts)


def _preamble(router_id: str, gateway: Gateway) -> str:
    # The nodes as host routes: a next hop may be in no subnet of the fabric's own (an address with /128).
    hosts = "\n".join(f'  route {n.public_address6.ip}/128 via "{FABRIC_PUBLIC}";' for n in gateway.node)
    return f"""\
log stderr all;
router id {router_id};
protocol device {{ scan time 10; }}
protocol direct {{ ipv6; interface "lo"; }}
protocol static nodes {{
  ipv6;
{hosts}
}}
"""


def _import_filter(index: int, shared: list[IPv4Address], *, ignore_med: bool) -> str:
    if not shared:
        return f"filter from_{index} {{ reject; }}\n"
    prefixes = ", ".join(f"{fip}/32" for fip in shared)
    # The provider's convention: 65000:1 marks the primary, 65000:2 the secondary of a shared address.
    return f"""\
filter from_{index} {{
  if ! (net ~ [ {prefixes} ]) then reject;
  bgp_local_pref = 50;
  if (65000, 2) ~ bgp_community then bgp_local_pref = 100;
  if (65000, 1) ~ bgp_community then bgp_local_pref = 200;
{"  bgp_med = 0;" if ignore_med else "  # MED counts as it came"}
  accept;
}}
"""


def _neighbour(index: int, address: IPv6Address, node: IPv6Address, gateway: Gateway, knobs: Knobs) -> str:
    bgp = gateway.bgp
    # hold time: the lower of both sides counts, so this value leaves the choice to the node. The error waits are 60 s
    # by default, during which BIRD refuses a peer that recovered long ago. import table: a changed share works at once,
    # and the node need not send its routes again.
    return f"""\
protocol bgp node_{index} {{
  local {address} as {bgp.peer_as};
  neighbor {node} as {bgp.local_as};
  strict bind yes;
  passive yes;
  multihop {bgp.multihop_ttl};
  hold time 240;
  error wait time 1, 1;
  error forget time 1;
  graceful restart off;
  long lived graceful restart off;
  prefer older {"on" if knobs.prefer_older else "off"};
  ipv4 {{
    import table on;
    import filter from_{index};
    export none;
    extended next hop on;
    gateway recursive;
    igp table master6;
  }};
}}
"""


def _towards_router(address: IPv6Address, gateway: Gateway, knobs: Knobs) -> str:
    return f"""\
protocol bgp to_router {{
  local {address} as {gateway.bgp.peer_as};
  neighbor {ROUTER_ADDRESS} as {gateway.bgp.peer_as};
  strict bind yes;
  passive yes;
  error wait time 1, 1;
  error forget time 1;
  graceful restart off;
  ipv4 {{
    import none;
    export all;
    next hop keep;
    extended next hop on;
    igp table master6;
    add paths {"tx" if knobs.load_share else "off"};
  }};
}}
"""


def _router(names: tuple[str, ...], servers: tuple[IPv6Address, ...], gateway: Gateway, knobs: Knobs) -> str:
    sessions = "\n".join(
        _towards_server(name, address, gateway, knobs) for name, address in zip(names, servers, strict=True)
    )
    return f"""\
{_preamble("10.255.0.254", gateway)}
protocol kernel {{
  kernel table {FABRIC_TABLE};
  persist;
  scan time 60;
  merge paths {"on" if knobs.load_share else "off"};
  ipv4 {{ import none; export all; }};
}}
{sessions}"""


def _towards_server(name: str, address: IPv6Address, gateway: Gateway, knobs: Knobs) -> str:
    return f"""\
protocol bgp {name} {{
  local {ROUTER_ADDRESS} as {gateway.bgp.peer_as};
  neighbor {address} as {gateway.bgp.peer_as};
  strict bind yes;
  connect delay time 1;
  connect retry time 1;
  error wait time 1, 1;
  error forget time 1;
  graceful restart off;
  ipv4 {{
    import all;
    export none;
    extended next hop on;
    gateway recursive;
    igp table master6;
    add paths {"rx" if knobs.load_share else "off"};
  }};
}}
"""


def _sessions(gateway: Gateway, knobs: Knobs, shares: Shares) -> str:
    """An nft ruleset that drops BGP of nodes without a share, if this fabric does that."""
    refused = [gateway.node_named(name).public_address6.ip for name in refused_nodes(gateway, knobs, shares)]
    rules = "".join(f"    ip6 saddr {address} tcp dport 179 drop\n" for address in refused)
    return f"""\
add table inet natpair_fabric
delete table inet natpair_fabric
table inet natpair_fabric {{
  chain sessions {{
    type filter hook input priority 0; policy accept;
{rules}  }}
}}
"""
