"""Makes emulated accounts for a lab: an empty one, and one that already holds the lab's pair and its shares."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

from natpair.core.model import Gateway, Node
from natpair_lab.emulator import addresses, linodes
from natpair_lab.emulator.firewalls import NO_FIREWALL
from natpair_lab.emulator.model import Address, Linode, Purpose, Status
from natpair_lab.emulator.platform import REGIONS
from natpair_lab.emulator.state import Policy, Store, Timing
from natpair_lab.testbed import topology, userdata
from natpair_lab.testbed.cloudworld import Machine
from natpair_lab.testbed.topology import Topology

_VLAN = "natpair-lab"
_REGION = "us-ord"
_PLAN = "g6-nanode-1"


def empty(timing: Timing, internet: IPv4Network = topology.INTERNET_NETWORK) -> Store:
    """An empty account, whose addresses are not among those of the lab's internet."""
    pools = tuple(pool for pool in Policy().public_pools if not pool.overlaps(internet))
    return Store(timing=timing, policy=Policy(public_pools=pools))


def holding(gateway: Gateway, plan: Topology, timing: Timing) -> tuple[Store, dict[int, Machine]]:
    """An account with the two Linodes of `gateway`, running.

    The first owns every FIP, and all are shared to the second.
    """
    store = empty(timing, plan.internet_gateway.network)
    region = gateway.bgp.region if gateway.bgp.region in REGIONS else _REGION
    made = [_linode(store, node, region or _REGION) for node in gateway.node]
    owner, receiver = made
    for fip in gateway.pair.fips:
        store.addresses[fip] = _address(owner, fip)
    addresses.share(store, receiver, gateway.pair.fips)
    store.pending.clear()
    store.notices.clear()
    digest = userdata.digest(b"")
    machines = {
        linode.id: Machine(node.name, digest, store.view(linode))
        for linode, node in zip(made, gateway.node, strict=True)
    }
    return store, machines


def _linode(store: Store, node: Node, region: str) -> Linode:
    interfaces = [
        {"public": {}, "firewall_id": NO_FIREWALL},
        {"vlan": {"vlan_label": _VLAN, "ipam_address": str(node.private_address)}},
    ]
    body = {
        "label": node.name if len(node.name) >= 3 and node.name[0].isalpha() else f"lab-{node.name}",
        "region": region,
        "type": _PLAN,
        "image": "linode/debian12",
        "authorized_keys": ["ssh-ed25519 AAAA lab"],
        "interface_generation": "linode",
        "interfaces": interfaces,
        "network_helper": False,
        "tags": ["natpair"],
    }
    made = linodes.create(store, linodes.read_order(store, body))
    for address in store.owned(made.id):
        del store.addresses[address.address]
    linode = replace(store.linodes[made.id], slaac=node.public_address6.ip, status=Status.RUNNING)
    store.linodes[linode.id] = linode
    store.addresses[node.public_address.ip] = _address(linode, node.public_address.ip)
    return linode


def _address(linode: Linode, address: IPv4Address) -> Address:
    interface = next(one.id for one in linode.interfaces if one.purpose is Purpose.PUBLIC)
    return Address(address=address, region=linode.region, public=True, linode_id=linode.id, interface_id=interface)
