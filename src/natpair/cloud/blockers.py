"""What in the account stands in the way of a file, and what else a person should know. Pure.

A blocker is nothing that natpair could or should mend: it is said before the first change is made.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address

from natpair.cloud.desired import Wanted, WantedNode
from natpair.cloud.observed import Found, FoundNode
from natpair.linode.models import Address


@dataclass(frozen=True, slots=True)
class Remark:
    """A sentence about what is, and one about what to do."""

    text: str
    cure: str = ""


def blockers(wanted: Wanted, found: Found) -> tuple[Remark, ...]:
    """Everything because of which nothing may be changed."""
    return (
        *_squatters(found),
        *_made_by_hand(wanted),
        *_adoptions(wanted, found),
        *_fips(wanted, found),
        *_running(wanted, found),
    )


def remarks(wanted: Wanted, found: Found) -> tuple[Remark, ...]:
    """Everything else that is not as it should be, or will surprise."""
    return (*_plugs(wanted, found), *_changed(wanted, found), *_strays(found), *_nobody_logs_in(wanted))


def _squatters(found: Found) -> Iterator[Remark]:
    for one in found.squatters:
        cure = "rename or remove it, or adopt it: node.linode in gateway.toml"
        yield Remark(f"Linode {one.id} has the label {one.label} and is not natpair's", cure)
    if found.foreign_firewall:
        yield Remark(
            "a Cloud Firewall has the pair's label and is not natpair's", "rename it, or choose another cloud.stamp"
        )


def _made_by_hand(wanted: Wanted) -> Iterator[Remark]:
    # Without a stamp natpair has made nothing yet: an address in the file is that of a machine it does not know.
    for node in wanted.made:
        if wanted.stamp is None and node.public_address is not None:
            cure = f'node[{node.index}].linode = its number adopts that Linode; public_address = "auto" makes a new one'
            yield Remark(f"{node.name} has the address {node.public_address} and was not made by natpair", cure)


def _adoptions(wanted: Wanted, found: Found) -> Iterator[Remark]:
    for node, there in zip(wanted.nodes, found.nodes, strict=True):
        if node.adopted is None:
            continue
        if there is None:
            yield Remark(f"there is no Linode {node.adopted} to be {node.name}", f"mend node[{node.index}].linode")
        else:
            yield from _adoption(wanted, node, there)


def _adoption(wanted: Wanted, node: WantedNode, there: FoundNode) -> Iterator[Remark]:
    number, key = there.instance.id, f"node[{node.index}]"
    if there.instance.region != wanted.region:
        cure = "a pair lives in one region: adopt another Linode, or set bgp.region"
        yield Remark(f"Linode {number} is in {there.instance.region}, the pair in {wanted.region}", cure)
    own = {one.address for one in there.own}
    if not own:
        yield Remark(f"Linode {number} has no public IPv4 address", "give it one, or adopt another Linode")
    elif node.public_address is not None and node.public_address.ip not in own:
        cure = f'set {key}.public_address to one of {", ".join(map(str, sorted(own)))}, or to "auto"'
        yield Remark(f"{node.public_address.ip} is no address of Linode {number}", cure)
    slaac = there.public_address6
    if slaac is None:
        yield Remark(f"Linode {number} has no public IPv6 address", "the route servers are reached by it: enable IPv6")
    elif node.public_address6 is not None and node.public_address6.ip != slaac.ip:
        cure = f'set {key}.public_address6 to {slaac}, or to "auto"'
        yield Remark(f"{node.public_address6.ip} is not the IPv6 address of Linode {number}", cure)


def _fips(wanted: Wanted, found: Found) -> Iterator[Remark]:
    for index, fip in enumerate(wanted.fips):
        if fip is None:
            continue
        owner = found.owners.get(fip)
        if owner is None:
            cure = f'set pair.fips[{index}] to an address of the account, or to "auto" for a new one'
            yield Remark(f"{fip} is not an address of this account", cure)
        else:
            yield from _unfit(fip, owner, wanted)


def _unfit(fip: IPv4Address, owner: Address, wanted: Wanted) -> Iterator[Remark]:
    if owner.region != wanted.region:
        yield Remark(
            f"{fip} is in {owner.region}, the pair in {wanted.region}", "an address is shared within its region only"
        )
    elif owner.vpc_nat_1_1 is not None:
        yield Remark(f"{fip} stands for a VPC address", "such an address cannot be shared: choose another")
    elif owner.linode_id is None:
        yield Remark(
            f"{fip} is reserved and belongs to no Linode", "assign it to a Linode of the region, best to a node"
        )


def _running(wanted: Wanted, found: Found) -> Iterator[Remark]:
    for node in wanted.made:
        there = found.nodes[node.index]
        if there is None or any(tag.startswith(wanted.installed_prefix) for tag in there.instance.tags):
            continue
        if there.instance.status == "running":
            # Its tag may have been taken away by hand, and then a rebuild would destroy a node that serves.
            text = f"{node.name} (Linode {there.instance.id}) runs, but has no tag {wanted.installed_prefix}…"
            tag = f"{wanted.installed_prefix}{wanted.config_hash}"
            cure = f"if it may be rebuilt, shut it down; if it serves, give it the tag {tag}"
            yield Remark(text, cure)


def _plugs(wanted: Wanted, found: Found) -> Iterator[Remark]:
    for node, there in zip(wanted.nodes, found.nodes, strict=True):
        # One that is not set up yet is plugged in on the way.
        if there is None or (node.adopted is None and there.instance.status != "running"):
            continue
        shown = f"{node.name} (Linode {there.instance.id})"
        if wanted.cloud.vlan not in there.ports.vlans:
            cure = f"attach it as {node.vlan.address} while the Linode is off, or set cloud.vlan"
            yield Remark(f"{shown} is not attached to the VLAN {wanted.cloud.vlan}", cure)
        if there.ports.helper and node.adopted is not None:
            text = f"Network Helper of {shown} is on: at its next boot it would put the floating address onto eth0"
            yield Remark(text, "write a static network configuration there, then turn it off in Linode's Cloud Manager")


def _changed(wanted: Wanted, found: Found) -> Iterator[Remark]:
    for node in wanted.made:
        there = found.nodes[node.index]
        tags = there.instance.tags if there else ()
        hashes = [tag.removeprefix(wanted.installed_prefix) for tag in tags if tag.startswith(wanted.installed_prefix)]
        if hashes and wanted.config_hash is not None and wanted.config_hash not in hashes:
            text = (
                f"gateway.toml, or natpair, has changed since {node.name} was installed"
                f" (then {hashes[0]}, now {wanted.config_hash})"
            )
            cure = "a node is never rebuilt: copy the file to both nodes and run `natpair apply` there, standby first"
            yield Remark(text, cure)


def _strays(found: Found) -> Iterator[Remark]:
    for one in found.strays:
        text = f"Linode {one.label} ({one.id}) was made for this pair and is no node of the file"
        yield Remark(text, "`natpair cloud destroy` removes it too; or remove it in Linode's Cloud Manager")


def _nobody_logs_in(wanted: Wanted) -> Iterator[Remark]:
    if wanted.made and wanted.cloud.authorized_keys_file is None:
        text = "no ssh key is given: nobody can log in to the nodes, and the root password is not kept"
        yield Remark(text, "set cloud.authorized_keys_file")
