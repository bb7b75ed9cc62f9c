"""What a gateway.toml requires of the account: names, labels, tags, sizes. Pure.

Every label and tag carries the stamp, so that "did natpair make it?" is answered by the account itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Interface

from natpair.cloud.firewall import firewall_rules
from natpair.config.auto import AUTO, Draft
from natpair.core.model import Cloud, Gateway, InterfaceGeneration, Node, config_hash
from natpair.errors import ConfigError, Problem
from natpair.linode.bodies import Generation, PlacementPolicy, VlanAttachment
from natpair.linode.models import FirewallRules

_CREATED_INTERFACES = (("public_interface", "eth0"), ("private_interface", "eth1"))


@dataclass(frozen=True, slots=True)
class WantedNode:
    """One node. `adopted` is the number of a Linode that is there already; addresses are None while not known."""

    index: int
    name: str
    label: str
    adopted: int | None
    vlan: VlanAttachment
    public_address: IPv4Interface | None
    public_address6: IPv6Interface | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """The whole of what the account shall have. `stamp` None: not chosen yet, so nothing can have been made.

    `config_hash` None: something is still open in the file.
    """

    pair: str
    stamp: str | None
    region: str
    cloud: Cloud
    nodes: tuple[WantedNode, ...]
    fips: tuple[IPv4Address | None, ...]
    rules: FirewallRules | None
    config_hash: str | None

    @property
    def tag(self) -> str:
        """The tag of everything that natpair created for this pair."""
        return f"natpair-{self.stamp}"

    @property
    def label(self) -> str:
        """The label of the firewall and of the placement group."""
        return self.tag

    def node_tag(self, node: WantedNode) -> str:
        """The tag that says which node a Linode is."""
        return f"{self.tag}-{node.name}"

    @property
    def installed_prefix(self) -> str:
        """The prefix of the tag that marks an installed Linode, which must not be rebuilt."""
        return f"{self.tag}-installed-"

    @property
    def generation(self) -> Generation:
        """Which kind of interfaces new nodes get."""
        return Generation(self.cloud.generation.value)

    @property
    def placement(self) -> PlacementPolicy:
        """How strictly the nodes are kept on different hosts."""
        return PlacementPolicy(self.cloud.placement.value)

    @property
    def made(self) -> tuple[WantedNode, ...]:
        """The nodes that natpair creates; the others are adopted."""
        return tuple(node for node in self.nodes if node.adopted is None)

    @property
    def known_fips(self) -> tuple[IPv4Address, ...]:
        """The floating addresses that are known."""
        return tuple(fip for fip in self.fips if fip is not None)


def wanted_of(draft: Draft, *, undoing: bool = False) -> Wanted:
    """What `draft` asks for. Raise ConfigError with everything that Linode cannot do, unless `undoing`."""
    problems = [] if undoing else list(_problems(draft))
    if problems:
        raise ConfigError("gateway.toml", problems)
    gateway, autos = draft.gateway, draft.autos
    region = gateway.bgp.region or ""
    return Wanted(
        pair=gateway.pair.name,
        stamp=gateway.cloud.stamp,
        region=region,
        cloud=gateway.cloud,
        nodes=tuple(_node(gateway, index, node, autos) for index, node in enumerate(gateway.node)),
        fips=tuple(None if f"pair.fips[{i}]" in autos else fip for i, fip in enumerate(gateway.pair.fips)),
        rules=firewall_rules(gateway, open_keys=autos) if gateway.cloud.firewall else None,
        config_hash=None if autos or gateway.cloud.stamp is None else config_hash(gateway),
    )


def _node(gateway: Gateway, index: int, node: Node, autos: frozenset[str]) -> WantedNode:
    return WantedNode(
        index=index,
        name=node.name,
        label=_label(node.name, gateway.cloud.stamp),
        adopted=node.linode,
        vlan=VlanAttachment(gateway.cloud.vlan, node.private_address),
        public_address=None if f"node[{index}].public_address" in autos else node.public_address,
        public_address6=None if f"node[{index}].public_address6" in autos else node.public_address6,
    )


def _label(name: str, stamp: str | None) -> str:
    """A label that the platform accepts: it begins with a letter and has no two hyphens in a row."""
    first = "" if name[:1].isalpha() else "node-"
    return re.sub("-+", "-", f"{first}{name}-{stamp}")


def _problems(draft: Draft) -> Iterator[Problem]:
    gateway = draft.gateway
    if gateway.bgp.region is None:
        yield Problem(
            "bgp.region", "", "is missing; it is the region of the Linodes", 'a region, such as region = "us-ord"'
        )
    made = [(index, node) for index, node in enumerate(gateway.node) if node.linode is None]
    if made and gateway.install.source is None:
        accepted = "a URL of natpair's wheel or archive, or a path in the image"
        yield Problem("install.source", "", "is missing; new nodes install natpair from it", accepted)
    for index, node in made:
        for key, name in _CREATED_INTERFACES:
            if getattr(node, key) != name:
                message = "is not the interface of a new Linode"
                yield Problem(f"node[{index}].{key}", getattr(node, key), message, f'"{name}"')
    numbers = [node.linode for node in gateway.node]
    if numbers[0] is not None and numbers[0] == numbers[1]:
        yield Problem("node[1].linode", str(numbers[1]), "is the same on both nodes", "two different Linodes")
    if not made:
        yield from _nothing_to_allocate_on(draft)


def _nothing_to_allocate_on(draft: Draft) -> Iterator[Problem]:
    # Addresses have no tags, so natpair recognises an allocated address only by the Linode that owns it.
    for index in range(len(draft.gateway.pair.fips)):
        key = f"pair.fips[{index}]"
        if key in draft.autos:
            accepted = "an address that you have allocated; natpair allocates no address to an adopted Linode"
            yield Problem(key, AUTO, "cannot be allocated, because both nodes are adopted", accepted)


def legacy(wanted: Wanted) -> bool:
    """Whether new nodes have their interfaces in a configuration profile."""
    return wanted.cloud.generation is InterfaceGeneration.LEGACY
