"""What the account has of a pair, read at one time; nothing is remembered from an earlier look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv6Interface

from natpair.cloud.desired import Wanted, WantedNode
from natpair.errors import ApiError
from natpair.linode.bodies import DeviceKind, Generation
from natpair.linode.client import LinodeClient
from natpair.linode.models import Address, Firewall, FirewallDevice, Instance, InstanceAddresses, PlacementGroup
from natpair.linode.ports import Ports, ports_of

_NOT_FOUND = 404


@dataclass(frozen=True, slots=True)
class FoundNode:
    """A Linode that is, or is to be, one of the nodes."""

    instance: Instance
    addresses: InstanceAddresses
    ports: Ports

    @property
    def own(self) -> tuple[Address, ...]:
        """The public IPv4 addresses it owns, in the platform's order, reserved ones last."""
        return (*self.addresses.ipv4.public, *self.addresses.ipv4.reserved)

    @property
    def shared(self) -> frozenset[IPv4Address]:
        """The addresses shared to it."""
        return frozenset(address.address for address in self.addresses.ipv4.shared)

    @property
    def public_address6(self) -> IPv6Interface | None:
        """The SLAAC address."""
        slaac = self.addresses.ipv6.slaac if self.addresses.ipv6 else None
        return IPv6Interface(f"{slaac.address}/{slaac.prefix}") if slaac else None

    @property
    def legacy(self) -> bool:
        """Whether its interfaces are in its configuration profile."""
        return self.instance.interface_generation != Generation.LINODE.value

    @property
    def behind(self) -> tuple[DeviceKind, int | None]:
        """What a firewall is attached to."""
        return (DeviceKind.LINODE, self.instance.id) if self.legacy else (DeviceKind.INTERFACE, self.ports.public)


@dataclass(frozen=True, slots=True)
class Found:
    """The account as far as it concerns the pair.

    `nodes` in the order of the file, None where there is none. `strays` carry the stamp and are no node of the file.
    `squatters` have a label of ours without the stamp. `owners` has the file's FIPs that are the account's.
    """

    nodes: tuple[FoundNode | None, ...]
    group: PlacementGroup | None = None
    firewall: Firewall | None = None
    devices: tuple[FirewallDevice, ...] = ()
    owners: Mapping[IPv4Address, Address] = field(default_factory=dict)
    strays: tuple[Instance, ...] = ()
    squatters: tuple[Instance, ...] = ()
    foreign_firewall: bool = False

    @property
    def nothing(self) -> bool:
        """Whether the account has nothing that natpair created."""
        return not (any(self.nodes) or self.group or self.firewall or self.strays)


def interface_of(address: Address) -> IPv4Interface:
    """An address with the length of its network."""
    return IPv4Interface(f"{address.address}/{address.prefix or 24}")


async def observe(client: LinodeClient, wanted: Wanted) -> Found:
    """Read everything that concerns `wanted`. An adopted Linode that does not exist is None. Raise ApiError."""
    everything = await client.instances()
    ours = [one for one in everything if wanted.stamp is not None and wanted.tag in one.tags]
    matched = [_match(wanted, node, everything, ours) for node in wanted.nodes]
    numbers = {one.id for one in matched if one is not None}
    labels = {node.label for node in wanted.made}
    firewall = await _firewall(client, wanted)
    ours_is_it = firewall is not None and wanted.tag in firewall.tags
    return Found(
        nodes=tuple([await _node(client, one) if one else None for one in matched]),
        group=next(iter(await client.placement_groups(label=wanted.label)), None) if wanted.stamp else None,
        firewall=firewall if ours_is_it else None,
        devices=await client.firewall_devices(firewall.id) if firewall and ours_is_it else (),
        owners=await _owners(client, wanted),
        strays=tuple(one for one in ours if one.id not in numbers),
        squatters=tuple(one for one in everything if one.label in labels and one not in ours),
        foreign_firewall=firewall is not None and not ours_is_it,
    )


def _match(
    wanted: Wanted, node: WantedNode, everything: list[Instance] | tuple[Instance, ...], ours: list[Instance]
) -> Instance | None:
    if node.adopted is not None:
        return next((one for one in everything if one.id == node.adopted), None)
    # By tag, not by label, because people rename Linodes.
    return next((one for one in ours if wanted.node_tag(node) in one.tags), None)


async def _firewall(client: LinodeClient, wanted: Wanted) -> Firewall | None:
    return next(iter(await client.firewalls(label=wanted.label)), None) if wanted.stamp else None


async def _node(client: LinodeClient, instance: Instance) -> FoundNode | None:
    try:
        addresses = await client.addresses(instance.id)
        ports = await ports_of(client, instance)
    except ApiError as error:
        # It was deleted while we were reading.
        if error.status == _NOT_FOUND:
            return None
        raise
    return FoundNode(instance, addresses, ports)


async def _owners(client: LinodeClient, wanted: Wanted) -> dict[IPv4Address, Address]:
    owners = {}
    for fip in wanted.known_fips:
        try:
            owners[fip] = await client.address(fip)
        except ApiError as error:
            if error.status != _NOT_FOUND:
                raise
    return owners
