"""Checks whether a node's configuration matches what the platform gave its Linode. Pure.

On the platform a node with the wrong address boots and cannot be reached. In the lab it does not boot, and its event
says why.
"""

from __future__ import annotations

from collections.abc import Iterator

from natpair.core.model import Gateway, Node
from natpair.core.regions import DCIDS
from natpair.errors import LabError
from natpair_lab.emulator.world import LinodeView


def require(linode: LinodeView, gateway: Gateway, name: str) -> None:
    """LabError with every difference between `linode` and the node `name` of `gateway`."""
    node = gateway.node_named(name)
    complaints = [*_ports(linode, node), *_addresses(linode, node), *_region(linode, gateway)]
    if linode.network_helper:
        complaints.append("Network Helper is on, and would rewrite its network configuration")
    if complaints:
        raise LabError(f"{linode.label} does not match the configuration of {name}: {'; '.join(complaints)}")


def vlan_of(linode: LinodeView) -> str | None:
    """The VLAN to which a Linode is connected."""
    return next((port.vlan for port in linode.ports if port.vlan is not None), None)


def _ports(linode: LinodeView, node: Node) -> Iterator[str]:
    public = next((port for port in linode.ports if port.vlan is None), None)
    vlan = next((port for port in linode.ports if port.vlan is not None), None)
    for key, wanted, port in (
        ("public_interface", node.public_interface, public),
        ("private_interface", node.private_interface, vlan),
    ):
        if port is None:
            yield f"it has no interface for {key} {wanted}"
        elif port.name != wanted:
            yield f"{key} is {wanted}, the Linode's is {port.name}"
    if vlan is not None and vlan.ipam not in ("", str(node.private_address)):
        yield f"private_address is {node.private_address}, the VLAN interface says {vlan.ipam}"


def _addresses(linode: LinodeView, node: Node) -> Iterator[str]:
    owned = {address.ip: address for address in linode.public_ipv4}
    given = owned.get(node.public_address.ip)
    if given is None:
        has = ", ".join(map(str, linode.public_ipv4)) or "none"
        yield f"public_address is {node.public_address}, the Linode has {has}"
    elif (router := given.network.network_address + 1) not in node.public_address.network:
        yield f"the default gateway {router} is not in the network of public_address {node.public_address}"
    if node.public_address6.ip != linode.slaac.ip:
        yield f"public_address6 is {node.public_address6}, the Linode's SLAAC address is {linode.slaac}"


def _region(linode: LinodeView, gateway: Gateway) -> Iterator[str]:
    bgp = gateway.bgp
    if not bgp.route_servers and bgp.region in DCIDS and bgp.region != linode.region:
        yield f"bgp.region is {bgp.region}, the Linode is in {linode.region}"
