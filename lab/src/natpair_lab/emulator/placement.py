"""Placement groups: Linodes on different hosts.

A group is always compliant unless the control endpoint moved a Linode onto another's host, or a flexible group had no
free host left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field

from natpair_lab.emulator.body import Body, Json
from natpair_lab.emulator.model import Entity, PlacementGroup
from natpair_lab.emulator.platform import REGIONS, known_region
from natpair_lab.emulator.refused import invalid, not_found
from natpair_lab.emulator.routing import LINODES_READ, LINODES_WRITE, Call, delete, get, listing, post
from natpair_lab.emulator.state import Store, host_uuid_of


class _New(Body):
    label: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?\Z")]
    region: str
    placement_group_type: Literal["anti_affinity:local"]
    placement_group_policy: Literal["strict", "flexible"]


class _Members(Body):
    linodes: list[int]


def _entity(group: PlacementGroup) -> Entity:
    return Entity(id=group.id, type="placement_group", label=group.label, url=f"/v4/placement/groups/{group.id}")


def named(store: Store, group_id: int, field: str) -> PlacementGroup:
    """The group that a request's field names, or 400."""
    if group_id not in store.groups:
        raise invalid("placement group is not valid", field)
    return store.groups[group_id]


def _create(call: Call) -> Json:
    store, new = call.store, call.read(_New)
    region = known_region(new.region)
    if "Placement Group" not in region.capabilities:
        raise invalid(f"Placement groups are not available in the region {region.id}.", "region")
    if any(group.label == new.label for group in store.groups.values()):
        raise invalid("label must be unique among your placement groups", "label")
    group = PlacementGroup(
        id=store.next_id(),
        label=new.label,
        region=region.id,
        type=new.placement_group_type,
        policy=new.placement_group_policy,
    )
    store.groups[group.id] = group
    store.add_event("placement_group_create", _entity(group))
    return _view(store, group)


def check_room(group: PlacementGroup, region: str, count: int) -> None:
    """400 if this many Linodes of that region cannot join."""
    if group.region != region:
        raise invalid(f"The placement group is in {group.region}, not in {region}.", "placement_group")
    most = REGIONS[region].maximum_linodes_per_group
    if len(group.members) + count > most:
        raise invalid(f"A placement group has no more than {most} Linodes.")


def _assign(call: Call) -> Json:
    store, group = call.store, _group(call)
    joining = list(dict.fromkeys(call.read(_Members).linodes))
    for linode_id in joining:
        linode = store.linode_named(linode_id, "linodes")
        if group_of(store, linode_id) is not None:
            raise invalid(f"Linode {linode_id} is already in a placement group.", "linodes")
        check_room(group, linode.region, len(joining))
    hosts = [store.linodes[linode_id].host_uuid for linode_id in (*group.members, *joining)]
    if group.strict and len(set(hosts)) < len(hosts):
        raise invalid("The placement group would not be compliant.", "linodes")
    return _view(store, add(store, group, joining))


def add(store: Store, group: PlacementGroup, linode_ids: Sequence[int]) -> PlacementGroup:
    """Record new members that were checked before."""
    store.groups[group.id] = replace(group, members=(*group.members, *linode_ids))
    store.add_event("placement_group_assign", _entity(group))
    return store.groups[group.id]


def _unassign(call: Call) -> Json:
    store, group, leaving = call.store, _group(call), call.read(_Members).linodes
    strangers = [linode_id for linode_id in leaving if linode_id not in group.members]
    if strangers:
        raise invalid(f"Linode {strangers[0]} is not in this placement group.", "linodes")
    left = tuple(member for member in group.members if member not in leaving)
    store.groups[group.id] = replace(group, members=left)
    store.add_event("placement_group_unassign", _entity(group))
    return _view(store, store.groups[group.id])


def _delete(call: Call) -> None:
    group = _group(call)
    if group.members:
        raise invalid("The placement group still has Linodes assigned to it.")
    del call.store.groups[group.id]
    call.store.add_event("placement_group_delete", _entity(group))


def forget(store: Store, linode_id: int) -> None:
    """Remove a deleted Linode from its group."""
    for group in store.groups.values():
        if linode_id in group.members:
            left = tuple(member for member in group.members if member != linode_id)
            store.groups[group.id] = replace(group, members=left)


def group_of(store: Store, linode_id: int) -> PlacementGroup | None:
    """The group a Linode is in."""
    return next((group for group in store.groups.values() if linode_id in group.members), None)


def _compliant(store: Store, group: PlacementGroup, linode_id: int) -> bool:
    host = store.linodes[linode_id].host_uuid
    return not any(store.linodes[other].host_uuid == host for other in group.members if other != linode_id)


def host_for(store: Store, group_id: int | None) -> int:
    """The number of the host for a new Linode: one of two without a group, an unused one with a group."""
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


def _view(store: Store, one: PlacementGroup) -> Json:
    members = [{"linode_id": member, "is_compliant": _compliant(store, one, member)} for member in one.members]
    return {
        "id": one.id,
        "label": one.label,
        "region": one.region,
        "placement_group_type": one.type,
        "placement_group_policy": one.policy,
        "is_compliant": all(member["is_compliant"] for member in members),
        "members": members,
        "migrations": {"inbound": [], "outbound": []},
    }


def _group(call: Call) -> PlacementGroup:
    number = call.number("groupId")
    if number not in call.store.groups:
        raise not_found()
    return call.store.groups[number]


_ONE = "/placement/groups/{groupId}"

ROUTES = (
    listing(
        "/placement/groups",
        LINODES_READ,
        lambda call: [_view(call.store, one) for one in call.store.groups.values()],
        "label placement_group_type region",
    ),
    post("/placement/groups", LINODES_WRITE, _create),
    get(_ONE, LINODES_READ, lambda call: _view(call.store, _group(call))),
    delete(_ONE, LINODES_WRITE, _delete),
    post(f"{_ONE}/assign", LINODES_WRITE, _assign),
    post(f"{_ONE}/unassign", LINODES_WRITE, _unassign),
)
