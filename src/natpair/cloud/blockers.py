"""Blockers and remarks: what in the account prevents a file from being applied, and what else to know. Pure.

A blocker is a problem that natpair cannot or should not fix. It is reported before the first change.
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
    """A sentence about the state, and one about what to do."""

    text: str
    fix: str = ""


def blockers(wanted: Wanted, found: Found) -> tuple[Remark, ...]:
    """Every problem that prevents changes."""
    return (
        *_squatters(found),
        *_made_by_hand(wanted),
        *_adoptions(wanted, found),
        *_fips(wanted, found),
        *_running(wanted, found),
    )


def remarks(wanted: Wanted, found: Found) -> tuple[Remark, ...]:
    """Everything else that is wrong or surprising."""
    return (*_plugs(wanted, found), *_changed(wanted, found), *_strays(found), *_nobody_logs_in(wanted))


def _squatters(found: Found) -> Iterator[Remark]:
    for one in found.squatters:
        fix = "rename or remove it, or adopt it with node.linode in gateway.toml"
        yield Remark(f"Linode {one.id} has the label {one.label}, but natpair did not create it", fix)
    if found.foreign_firewall:
        yield Remark(
            "a Cloud Firewall has the pair's label, but natpair did not create it",
            "rename it, or choose another cloud.stamp",
        )


def _made_by_hand(wanted: Wanted) -> Iterator[Remark]:
    # Without a stamp, natpair has created nothing yet: an address in the file is that of a machine it does not know.
    for node in wanted.made:
        if wanted.stamp is None and node.public_address is not None:
            fix = f'set node[{node.index}].linode to adopt that Linode, or public_address = "auto" to create a new one'
            yield Remark(f"{node.name} has the address {node.public_address}, but natpair did not create it", fix)


def _adoptions(wanted: Wanted, found: Found) -> Iterator[Remark]:
    for node, there in zip(wanted.nodes, found.nodes, strict=True):
        if node.adopted is None:
            continue
        if there is None:
            text = f"Linode {node.adopted}, which is to be {node.name}, does not exist"
            yield Remark(text, f"correct node[{node.index}].linode")
        else:
            yield from _adoption(wanted, node, there)


def _adoption(wanted: Wanted, node: WantedNode, there: FoundNode) -> Iterator[Remark]:
    number, key = there.instance.id, f"node[{node.index}]"
    if there.instance.region != wanted.region:
        fix = "adopt a Linode in the pair's region, or change bgp.region"
        yield Remark(f"Linode {number} is in {there.instance.region}, but the pair is in {wanted.region}", fix)
    own = {one.address for one in there.own}
    if not own:
        yield Remark(f"Linode {number} has no public IPv4 address", "give it one, or adopt another Linode")
    elif node.public_address is not None and node.public_address.ip not in own:
        fix = f'set {key}.public_address to one of {", ".join(map(str, sorted(own)))}, or to "auto"'
        yield Remark(f"{node.public_address.ip} is not an address of Linode {number}", fix)
    slaac = there.public_address6
    if slaac is None:
        yield Remark(f"Linode {number} has no public IPv6 address", "enable IPv6, which is needed for BGP")
    elif node.public_address6 is not None and node.public_address6.ip != slaac.ip:
        fix = f'set {key}.public_address6 to {slaac}, or to "auto"'
        yield Remark(f"{node.public_address6.ip} is not the IPv6 address of Linode {number}", fix)


def _fips(wanted: Wanted, found: Found) -> Iterator[Remark]:
    for index, fip in enumerate(wanted.fips):
        if fip is None:
            continue
        owner = found.owners.get(fip)
        if owner is None:
            fix = f'set pair.fips[{index}] to an address of the account, or to "auto" for a new one'
            yield Remark(f"{fip} is not an address of this account", fix)
        else:
            yield from _unfit(fip, owner, wanted)


def _unfit(fip: IPv4Address, owner: Address, wanted: Wanted) -> Iterator[Remark]:
    if owner.region != wanted.region:
        yield Remark(
            f"{fip} is in {owner.region}, but the pair is in {wanted.region}",
            "choose an address of the pair's region; addresses can only be shared within a region",
        )
    elif owner.vpc_nat_1_1 is not None:
        yield Remark(f"{fip} is a 1:1 NAT address of a VPC", "choose another address; this kind cannot be shared")
    elif owner.linode_id is None:
        yield Remark(
            f"{fip} is reserved but assigned to no Linode", "assign it to a Linode in the region, preferably a node"
        )


def _running(wanted: Wanted, found: Found) -> Iterator[Remark]:
    for node in wanted.made:
        there = found.nodes[node.index]
        if there is None or any(tag.startswith(wanted.installed_prefix) for tag in there.instance.tags):
            continue
        if there.instance.status == "running":
            # If somebody removed its tag, a rebuild would destroy a node in service.
            text = f"{node.name} (Linode {there.instance.id}) is running, but has no tag {wanted.installed_prefix}…"
            tag = f"{wanted.installed_prefix}{wanted.config_hash}"
            fix = f"if it may be rebuilt, shut it down; if it is in service, add the tag {tag}"
            yield Remark(text, fix)


def _plugs(wanted: Wanted, found: Found) -> Iterator[Remark]:
    for node, there in zip(wanted.nodes, found.nodes, strict=True):
        # A node that is not installed yet is attached during installation.
        if there is None or (node.adopted is None and there.instance.status != "running"):
            continue
        shown = f"{node.name} (Linode {there.instance.id})"
        if wanted.cloud.vlan not in there.ports.vlans:
            fix = f"attach it with address {node.vlan.address} while the Linode is off, or correct cloud.vlan"
            yield Remark(f"{shown} is not attached to the VLAN {wanted.cloud.vlan}", fix)
        if there.ports.helper and node.adopted is not None:
            text = f"Network Helper of {shown} is on: at the next boot it would add the floating address to eth0"
            yield Remark(text, "write a static network configuration there, then turn it off in Cloud Manager")


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
            fix = "copy the file to both nodes and run `natpair apply` there, standby first (a node is never rebuilt)"
            yield Remark(text, fix)


def _strays(found: Found) -> Iterator[Remark]:
    for one in found.strays:
        text = f"Linode {one.label} ({one.id}) was created for this pair, but is not a node in the file"
        yield Remark(text, "remove it in Cloud Manager; `natpair cloud destroy` removes it too")


def _nobody_logs_in(wanted: Wanted) -> Iterator[Remark]:
    if wanted.made and wanted.cloud.authorized_keys_file is None:
        text = "no ssh key is set: you cannot log in to the nodes by ssh, and the root password is not saved"
        yield Remark(text, "set cloud.authorized_keys_file")
