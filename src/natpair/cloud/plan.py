"""(wanted, found) → the remaining steps, in order. Pure: the same account and the same file always give the same plan.

The platform determines the order. User data must contain both nodes' addresses and can be given only when a Linode is
created or rebuilt; so both Linodes are created switched off, get their addresses, and are then rebuilt once with their
user data. Allocate comes before share, and share before boot: without a share the route servers accept no session. A
plan has no memory: the account is read again after each step, so an interrupted run can continue.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address

from natpair.cloud.blockers import Remark, blockers, remarks
from natpair.cloud.desired import Wanted, WantedNode
from natpair.cloud.firewall import same_rules
from natpair.cloud.observed import Found, FoundNode, interface_of

_PASSING = frozenset({"provisioning", "booting", "rebooting", "shutting_down", "rebuilding", "migrating", "restoring"})


class Kind(StrEnum):
    """What a step does."""

    STAMP = "choose-stamp"
    GROUP = "create-group"
    FIREWALL = "create-firewall"
    CREATE = "create-linode"
    SETTLE = "wait"
    WRITE = "write-file"
    ALLOCATE = "allocate-address"
    SHARE = "share"
    RULES = "set-firewall-rules"
    ATTACH = "attach-firewall"
    JOIN = "join-group"
    HELPER = "network-helper-off"
    INSTALL = "rebuild-with-user-data"
    BOOT = "boot"


@dataclass(frozen=True, slots=True)
class Step:
    """One step. `node` is the node's index in the file, `linode` its number if it has one."""

    kind: Kind
    text: str
    node: int | None = None
    linode: int | None = None
    addresses: tuple[IPv4Address, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """The remaining steps, the problems that prevent them (`blockers`), remarks for the user, and what is kept."""

    steps: tuple[Step, ...]
    blockers: tuple[Remark, ...]
    remarks: tuple[Remark, ...]
    kept: tuple[str, ...]


def make_plan(wanted: Wanted, found: Found) -> Plan:
    """The plan that makes the account match the file."""
    return Plan(
        tuple(_steps(wanted, found)),
        (*blockers(wanted, found), *_cannot_allocate(wanted, found)),
        remarks(wanted, found),
        tuple(_kept(wanted, found)),
    )


def _steps(wanted: Wanted, found: Found) -> Iterator[Step]:
    if wanted.stamp is None:
        yield Step(
            Kind.STAMP, "choose a stamp, which marks everything that natpair creates, and write it into gateway.toml"
        )
    yield from _surroundings(wanted, found)
    pairs = list(zip(wanted.nodes, found.nodes, strict=True))
    for node, there in pairs:
        if there is None and node.adopted is None:
            yield Step(Kind.CREATE, _creating(wanted, node), node.index)
    for node, there in pairs:
        if there is not None and there.instance.status in _PASSING:
            text = f"wait until {node.name} (Linode {there.instance.id}) is no longer {there.instance.status}"
            yield Step(Kind.SETTLE, text, node.index, there.instance.id)
    yield from _addresses(wanted, found)
    yield from _shares(wanted, found)
    for node, there in pairs:
        if node.adopted is None:
            yield from _repair(wanted, found, node, there)
    for node, there in pairs:
        if node.adopted is None:
            yield from _install(wanted, node, there)


def _surroundings(wanted: Wanted, found: Found) -> Iterator[Step]:
    if len(wanted.made) == len(wanted.nodes) and found.group is None:
        text = f"create a placement group ({wanted.placement.value}), which keeps the nodes on different hosts"
        yield Step(Kind.GROUP, text)
    if wanted.rules is None or not wanted.made:
        return
    if found.firewall is None:
        yield Step(
            Kind.FIREWALL, f"create a Cloud Firewall with {len(wanted.rules.inbound)} rules for the public interfaces"
        )
    elif not same_rules(found.firewall.rules, wanted.rules):
        yield Step(Kind.RULES, f"set the rules of the Cloud Firewall {found.firewall.label} ({found.firewall.id})")


def _creating(wanted: Wanted, node: WantedNode) -> str:
    cloud = wanted.cloud
    return (
        f"create the Linode {node.name}: {cloud.type}, {cloud.image}, {wanted.region}, eth0 public,"
        f" eth1 on the VLAN {cloud.vlan} as {node.vlan.address}, Network Helper off, switched off"
    )


def to_write(wanted: Wanted, found: Found) -> dict[str, str]:
    """Key → value for the addresses that the file lacks, or has wrong for a node that natpair created."""
    values: dict[str, str] = {}
    for node, there in zip(wanted.nodes, found.nodes, strict=True):
        if there is not None:
            values |= _addresses_of(wanted, node, there)
    open_fips = [index for index, fip in enumerate(wanted.fips) if fip is None]
    spare = spare_addresses(wanted, found)
    return values | {f"pair.fips[{index}]": str(fip) for index, fip in zip(open_fips, spare, strict=False)}


def _addresses_of(wanted: Wanted, node: WantedNode, there: FoundNode) -> dict[str, str]:
    values = {}
    own = [one for one in there.own if one.address not in wanted.known_fips]
    known = {one.address for one in own}
    made = node.adopted is None
    if own and (node.public_address is None or (made and node.public_address.ip not in known)):
        values[f"node[{node.index}].public_address"] = str(interface_of(own[0]))
    address6 = there.public_address6
    if address6 and (node.public_address6 is None or (made and node.public_address6.ip != address6.ip)):
        values[f"node[{node.index}].public_address6"] = str(address6)
    return values


def allocator(wanted: Wanted) -> WantedNode | None:
    """The node that gets new floating addresses: the first one that natpair creates, as they are deleted with it."""
    return next(iter(wanted.made), None)


def spare_addresses(wanted: Wanted, found: Found) -> tuple[IPv4Address, ...]:
    """Addresses of the allocating node that are allocated but not yet in the file.

    These are known only once the node's own address is in the file; before that the two cannot be distinguished.
    """
    node = allocator(wanted)
    there = found.nodes[node.index] if node else None
    if node is None or there is None or node.public_address is None:
        return ()
    taken = {node.public_address.ip, *wanted.known_fips}
    known = {one.address for one in there.own}
    # A reserved address was assigned by a person for another purpose.
    spare = tuple(one.address for one in there.own if one.address not in taken and not one.reserved)
    return spare if node.public_address.ip in known else ()


def _addresses(wanted: Wanted, found: Found) -> Iterator[Step]:
    values = to_write(wanted, found)
    open_fips = sum(fip is None for fip in wanted.fips)
    if values:
        text = "write into gateway.toml: " + ", ".join(f"{key} = {value}" for key, value in values.items())
        yield Step(Kind.WRITE, text)
    elif not all(found.nodes) and wanted.config_hash is None:
        yield Step(Kind.WRITE, "write the addresses that the platform assigns into gateway.toml")
    node = allocator(wanted)
    if node is None:
        return
    there = found.nodes[node.index]
    for _ in range(open_fips - len(spare_addresses(wanted, found))):
        text = f"allocate a floating address, owned by {node.name}, and write it into gateway.toml"
        yield Step(Kind.ALLOCATE, text, node.index, there.instance.id if there else None)


def _cannot_allocate(wanted: Wanted, found: Found) -> Iterator[Remark]:
    """Linode interfaces can be changed only while the Linode is off."""
    node = allocator(wanted)
    there = found.nodes[node.index] if node else None
    if node is None or there is None or there.legacy or there.instance.status == "offline":
        return
    open_fips = sum(fip is None for fip in wanted.fips)
    if installed_hash(wanted, there) is not None and open_fips > len(spare_addresses(wanted, found)):
        text = f"{node.name} (Linode {there.instance.id}) must be off to get another address"
        fix = f"run `natpair drain` on {node.name}, shut it down in Cloud Manager, then run `natpair cloud apply`"
        yield Remark(text, fix)


def _shares(wanted: Wanted, found: Found) -> Iterator[Step]:
    owner = allocator(wanted)
    for node, there in zip(wanted.nodes, found.nodes, strict=True):
        number = there.instance.id if there else None
        missing = tuple(
            fip for fip in wanted.known_fips if fip in found.owners and (there is None or not _has(fip, there, found))
        )
        still_open = any(fip is None for fip in wanted.fips) and node is not owner
        names = [str(fip) for fip in missing] + (["the new floating addresses"] if still_open else [])
        if names:
            yield Step(Kind.SHARE, f"share {' and '.join(names)} to {node.name}", node.index, number, missing)


def _has(fip: IPv4Address, there: FoundNode, found: Found) -> bool:
    return found.owners[fip].linode_id == there.instance.id or fip in there.shared


def _repair(wanted: Wanted, found: Found, node: WantedNode, there: FoundNode | None) -> Iterator[Step]:
    if there is None:
        return
    number, name = there.instance.id, node.name
    kind, entity = there.behind
    if wanted.rules is not None and found.firewall is not None and entity is not None:
        guarded = {(device.entity.type, device.entity.id) for device in found.devices}
        if (kind.value, entity) not in guarded:
            yield Step(Kind.ATTACH, f"attach the Cloud Firewall to {name} (Linode {number})", node.index, number)
    if found.group is not None and number not in {member.linode_id for member in found.group.members}:
        yield Step(Kind.JOIN, f"add {name} (Linode {number}) to the placement group", node.index, number)
    if installed_hash(wanted, there) is not None and there.ports.helper:
        text = f"turn off Network Helper of {name} (Linode {number}), with effect from its next boot"
        yield Step(Kind.HELPER, text, node.index, number)


def installed_hash(wanted: Wanted, there: FoundNode) -> str | None:
    """The hash of the configuration with which the Linode was installed; None if it is not installed yet."""
    prefix = wanted.installed_prefix
    return next((tag.removeprefix(prefix) for tag in there.instance.tags if tag.startswith(prefix)), None)


def _install(wanted: Wanted, node: WantedNode, there: FoundNode | None) -> Iterator[Step]:
    number = there.instance.id if there else None
    shown = f"{node.name} (Linode {number})" if number else node.name
    installed = there is not None and installed_hash(wanted, there) is not None
    if not installed:
        text = f"rebuild {shown} from {wanted.cloud.image} with its user data: configuration, key, network, installer"
        yield Step(Kind.INSTALL, text, node.index, number)
    if there is None or not installed or there.instance.status == "offline":
        yield Step(Kind.BOOT, f"boot {shown}", node.index, number)


def _kept(wanted: Wanted, found: Found) -> Iterator[str]:
    if found.group is not None:
        yield f"placement group {found.group.label} ({found.group.id})"
    if found.firewall is not None:
        yield f"Cloud Firewall {found.firewall.label} ({found.firewall.id})"
    for node, there in zip(wanted.nodes, found.nodes, strict=True):
        if there is not None:
            how = "adopted" if node.adopted is not None else "created by natpair"
            yield f"Linode {there.instance.label} ({there.instance.id}) as {node.name}, {there.instance.status}, {how}"
    for fip, owner in found.owners.items():
        yield f"floating address {fip}, owned by Linode {owner.linode_id}"
