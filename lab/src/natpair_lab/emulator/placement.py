"""Placement groups: Linodes on different hosts.

The emulated platform has as many hosts as it needs, so a group is always compliant unless the control endpoint
moved a Linode onto another's host.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from natpair_lab.emulator import addresses
from natpair_lab.emulator.catalogue import REGIONS
from natpair_lab.emulator.fields import Fields
from natpair_lab.emulator.model import Entity, PlacementGroup
from natpair_lab.emulator.refused import invalid, not_found
from natpair_lab.emulator.state import Store, host_uuid_of

_TYPES = ("anti_affinity:local",)
_POLICIES = ("strict", "flexible")
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


def entity_of(group: PlacementGroup) -> Entity:
    """How events name a placement group."""
    return Entity(id=group.id, type="placement_group", label=group.label, url=f"/v4/placement/groups/{group.id}")


def find(store: Store, group_id: int) -> PlacementGroup:
    """The group, or 404."""
    if group_id not in store.groups:
        raise not_found()
    return store.groups[group_id]


def named(store: Store, group_id: int, field: str) -> PlacementGroup:
    """The group that a request's field names, or 400."""
    if group_id not in store.groups:
        raise invalid("placement group is not valid", field)
    return store.groups[group_id]


def create(store: Store, body: Fields) -> PlacementGroup:
    """A new, empty group."""
    label = _label(store, body)
    region = addresses.known_region(body.required_text("region"))
    if "Placement Group" not in REGIONS[region].capabilities:
        raise invalid(f"Placement groups are not available in the region {region}.", "region")
    kind, policy = body.required_text("placement_group_type"), body.required_text("placement_group_policy")
    if kind not in _TYPES:
        raise body.wrong("placement_group_type", f"must be one of {', '.join(_TYPES)}")
    if policy not in _POLICIES:
        raise body.wrong("placement_group_policy", f"must be one of {', '.join(_POLICIES)}")
    group = PlacementGroup(id=store.next_id(), label=label, region=region, type=kind, policy=policy)
    store.groups[group.id] = group
    store.add_event("placement_group_create", entity_of(group))
    return group


def _label(store: Store, body: Fields, but: int | None = None) -> str:
    label = body.required_text("label")
    if not _LABEL.fullmatch(label) or len(label) > 64:
        raise body.wrong("label", "must be 1 to 64 letters, digits, hyphens, underscores and periods")
    if any(group.label == label and group.id != but for group in store.groups.values()):
        raise body.wrong("label", "must be unique among your placement groups")
    return label


def rename(store: Store, group: PlacementGroup, body: Fields) -> PlacementGroup:
    """Change the label, the only thing that can be changed."""
    store.groups[group.id] = replace(group, label=_label(store, body, group.id))
    return store.groups[group.id]


def check_room(group: PlacementGroup, region: str, count: int) -> None:
    """400 if so many Linodes of that region cannot join."""
    if group.region != region:
        raise invalid(f"The placement group is in {group.region}, not in {region}.", "placement_group")
    if len(group.members) + count > REGIONS[region].maximum_linodes_per_group:
        raise invalid(f"A placement group has no more than {REGIONS[region].maximum_linodes_per_group} Linodes.")


def assign(store: Store, group: PlacementGroup, linode_ids: Sequence[int]) -> PlacementGroup:
    """Let Linodes join; a strict group refuses one whose host already has a member."""
    wanted = list(dict.fromkeys(linode_ids))
    for linode_id in wanted:
        linode = store.linode_named(linode_id, "linodes")
        if group_of(store, linode_id) is not None:
            raise invalid(f"Linode {linode_id} is already in a placement group.", "linodes")
        check_room(group, linode.region, len(wanted))
    hosts = [store.linodes[linode_id].host_uuid for linode_id in (*group.members, *wanted)]
    if group.strict and len(set(hosts)) < len(hosts):
        raise invalid("The placement group would not be compliant.", "linodes")
    return add(store, group, wanted)


def add(store: Store, group: PlacementGroup, linode_ids: Sequence[int]) -> PlacementGroup:
    """Note new members that were checked before."""
    store.groups[group.id] = replace(group, members=(*group.members, *linode_ids))
    store.add_event("placement_group_assign", entity_of(group))
    return store.groups[group.id]


def unassign(store: Store, group: PlacementGroup, linode_ids: Sequence[int]) -> PlacementGroup:
    """Let Linodes leave."""
    strangers = [linode_id for linode_id in linode_ids if linode_id not in group.members]
    if strangers:
        raise invalid(f"Linode {strangers[0]} is not in this placement group.", "linodes")
    left = tuple(member for member in group.members if member not in linode_ids)
    store.groups[group.id] = replace(group, members=left)
    store.add_event("placement_group_unassign", entity_of(group))
    return store.groups[group.id]


def delete(store: Store, group: PlacementGroup) -> None:
    """Delete an empty group."""
    if group.members:
        raise invalid("The placement group still has Linodes assigned to it.")
    del store.groups[group.id]
    store.add_event("placement_group_delete", entity_of(group))


def forget(store: Store, linode_id: int) -> None:
    """A Linode is deleted: no group has it any more."""
    for group in store.groups.values():
        if linode_id in group.members:
            left = tuple(member for member in group.members if member != linode_id)
            store.groups[group.id] = replace(group, members=left)


def group_of(store: Store, linode_id: int) -> PlacementGroup | None:
    """The group a Linode is in."""
    return next((group for group in store.groups.values() if linode_id in group.members), None)


def compliant(store: Store, group: PlacementGroup, linode_id: int) -> bool:
    """Whether no other member stands on the Linode's host."""
    host = store.linodes[linode_id].host_uuid
    return not any(store.linodes[other].host_uuid == host for other in group.members if other != linode_id)


def host_for(store: Store, group_id: int | None) -> int:
    """The number of a host for a new Linode: one of two without a group, an unused one with a group."""
    if group_id is None:
        return len(store.linodes) % 2
    group = store.groups[group_id]
    taken = {store.linodes[member].host_uuid for member in group.members}
    free = next(number for number in range(len(taken) + 1) if host_uuid_of(number) not in taken)
    if free >= store.policy.hosts_per_region:
        if group.strict:
            raise invalid("The placement group has no compliant host with room for this Linode.", "placement_group.id")
        return 0
    return free
