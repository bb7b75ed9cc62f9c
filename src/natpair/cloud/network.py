"""The static network of a node as systemd-networkd reads it: Network Helper is off, so these files are all there is.

Pure. Linode's own helper would put the shared address onto eth0 with a prefix length of 24, which cuts the node off
from that network. networkd is told to leave alone what natpair and Keepalived put onto the interfaces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from natpair.core.model import Node

_FOLDER = "/etc/systemd/network"
_HEAD = "# Written by natpair cloud apply.\n"


@dataclass(frozen=True, slots=True)
class Uplink:
    """A node's public network according to the platform: its router, and the resolvers of the region."""

    gateway: IPv4Address
    resolvers: tuple[IPv4Address | IPv6Address, ...] = ()


@dataclass(frozen=True, slots=True)
class Seed:
    """A file that a new machine gets at its first boot, readable only by root."""

    path: str
    text: str


def network_files(node: Node, uplink: Uplink) -> tuple[Seed, ...]:
    """The files that configure the node's two interfaces."""
    public, private = node.public_interface, node.private_interface
    return (
        # The first file that matches wins: these names sort before the image's own and before netplan's.
        Seed(f"{_FOLDER}/00-natpair-{public}.network", _public(node, uplink)),
        Seed(f"{_FOLDER}/00-natpair-{private}.network", _private(node)),
        Seed("/etc/systemd/networkd.conf.d/natpair.conf", _networkd()),
        Seed("/etc/cloud/cloud.cfg.d/99-natpair.cfg", _HEAD + "network: {config: disabled}\n"),
        Seed("/etc/natpair/resolv.conf", _resolvers(uplink)),
    )


def _public(node: Node, uplink: Uplink) -> str:
    network = [
        f"Address={node.public_address}",
        f"Gateway={uplink.gateway}",
        *(f"DNS={resolver}" for resolver in uplink.resolvers),
        "DHCP=no",
        # The route servers are reached from the address that the node gives itself (EUI-64), and it must not change.
        "IPv6AcceptRA=yes",
        "IPv6PrivacyExtensions=no",
        "KeepConfiguration=static",
    ]
    return _file([("Match", [f"Name={node.public_interface}"]), ("Network", network)])


def _private(node: Node) -> str:
    network = [
        f"Address={node.private_address}",
        "DHCP=no",
        "IPv6AcceptRA=no",
        "LinkLocalAddressing=no",
        # Keepalived's VIP outlives a restart of networkd.
        "KeepConfiguration=static",
    ]
    # A VLAN that is down must not delay the boot; the agent reports it.
    link = ["RequiredForOnline=no"]
    return _file([("Match", [f"Name={node.private_interface}"]), ("Link", link), ("Network", network)])


def _networkd() -> str:
    # Otherwise networkd removes the blackhole routes of the FIPs when it starts.
    return _file([("Network", ["ManageForeignRoutes=no", "ManageForeignRoutingPolicyRules=no"])])


def _resolvers(uplink: Uplink) -> str:
    return _HEAD + "".join(f"nameserver {resolver}\n" for resolver in uplink.resolvers)


def _file(sections: Sequence[tuple[str, Sequence[str]]]) -> str:
    return _HEAD + "".join(f"\n[{name}]\n" + "".join(f"{line}\n" for line in lines) for name, lines in sections)
