"""One typed method for each API call. Creating is in `creating.py`, sharing in `sharing.py`.

Every method raises only ApiError. Lists are complete, over all their pages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from natpair.linode import bodies, failures, models
from natpair.linode import operations as op
from natpair.linode.operations import Operation
from natpair.linode.transport import Transport

Answer = TypeVar("Answer", bound=BaseModel)


class LinodeClient:
    """The API through an open `Transport`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    # Linodes

    async def instances(self, *, label: str | None = None) -> tuple[models.Instance, ...]:
        """All Linodes, or the one with that label."""
        found = await self._list(op.LIST_INSTANCES, models.Instance, wanted=_labelled(label))
        return tuple(item for item in found if label in {None, item.label})

    async def instance(self, linode: int) -> models.Instance:
        """One Linode; ApiError with status 404 if there is none."""
        return await self._one(op.GET_INSTANCE, models.Instance, {"linode": linode})

    async def create_instance(self, new: bodies.NewInstance) -> models.Instance:
        """A new Linode. Use `creating.create_instance`, which survives a lost answer."""
        return await self._one(op.CREATE_INSTANCE, models.Instance, body=new.body())

    async def delete_instance(self, linode: int) -> None:
        """Delete a Linode, its disks and its own addresses, at once and permanently."""
        await self._transport.call(op.DELETE_INSTANCE, {"linode": linode})

    async def set_tags(self, linode: int, tags: Sequence[str]) -> models.Instance:
        """Replace the tags of a Linode."""
        return await self._one(op.UPDATE_INSTANCE, models.Instance, {"linode": linode}, body={"tags": list(tags)})

    async def rebuild(self, linode: int, new: bodies.Rebuild) -> models.Instance:
        """Replace all disks and config profiles of a Linode, permanently. Its addresses stay."""
        return await self._one(op.REBUILD_INSTANCE, models.Instance, {"linode": linode}, body=new.body())

    async def boot(self, linode: int) -> None:
        """Ask for a start; the state changes later."""
        await self._transport.call(op.BOOT_INSTANCE, {"linode": linode}, body={})

    async def reboot(self, linode: int) -> None:
        """Ask for a restart, which changed interfaces need; the state changes later."""
        await self._transport.call(op.REBOOT_INSTANCE, {"linode": linode}, body={})

    async def shut_down(self, linode: int) -> None:
        """Ask for an orderly stop; the state changes later."""
        await self._transport.call(op.SHUT_DOWN_INSTANCE, {"linode": linode})

    # Addresses

    async def addresses(self, linode: int) -> models.InstanceAddresses:
        """All addresses of a Linode, with what is shared to it."""
        return await self._one(op.LIST_INSTANCE_IPS, models.InstanceAddresses, {"linode": linode})

    async def address(self, address: IPv4Address) -> models.Address:
        """One IPv4 address of the account with its owner; ApiError with status 404 if it is not the account's."""
        return await self._one(op.GET_IP, models.Address, {"address": address})

    async def allocate_address(self, linode: int) -> models.Address:
        """A further public IPv4 address of a Linode of the older interface generation, which costs money.

        Use `creating.allocate_address`.
        """
        body = {"type": "ipv4", "public": True}
        return await self._one(op.ALLOCATE_IP, models.Address, {"linode": linode}, body=body)

    async def replace_shares(self, linode: int, addresses: Sequence[IPv4Address | IPv6Address]) -> None:
        """Make exactly `addresses` shared to `linode`, nothing else. Use `sharing.share`, which keeps the others."""
        body = {"linode_id": linode, "ips": [str(address) for address in addresses]}
        await self._transport.call(op.SHARE_IPS, body=body)

    async def ipv6_ranges(self) -> tuple[models.RangeSummary, ...]:
        """The account's IPv6 ranges; who they are shared with is in `ipv6_range`."""
        return await self._list(op.LIST_RANGES, models.RangeSummary)

    async def ipv6_range(self, start: IPv6Address) -> models.Range:
        """One IPv6 range, by its first address."""
        return await self._one(op.GET_RANGE, models.Range, {"range": start})

    # Interfaces, older generation

    async def configs(self, linode: int) -> tuple[models.Config, ...]:
        """The config profiles of a Linode."""
        return await self._list(op.LIST_CONFIGS, models.Config, {"linode": linode})

    async def update_config(
        self,
        linode: int,
        config: int,
        *,
        vlan: bodies.VlanAttachment | None = None,
        network_helper: bool | None = None,
    ) -> models.Config:
        """Set interfaces (eth0 public, eth1 the VLAN, all of them anew) or Network Helper; a reboot makes it so."""
        body: dict[str, Any] = {}
        if vlan is not None:
            body["interfaces"] = bodies.config_interfaces(vlan)
        if network_helper is not None:
            body["helpers"] = {"network": network_helper}
        return await self._one(op.UPDATE_CONFIG, models.Config, {"linode": linode, "config": config}, body=body)

    # Interfaces, newer generation

    async def interfaces(self, linode: int) -> tuple[models.Interface, ...]:
        """The Linode interfaces of a Linode."""
        document = await self._transport.call(op.LIST_INTERFACES, {"linode": linode})
        return _parsed_all(op.LIST_INTERFACES, models.Interface, document.get("interfaces"))

    async def add_vlan_interface(self, linode: int, vlan: bodies.VlanAttachment) -> models.Interface:
        """Attach a Linode that is off to a VLAN."""
        body = bodies.vlan_interface(vlan)
        document = await self._transport.call(op.ADD_INTERFACE, {"linode": linode}, body=body)
        # Linode's published answer is a list in `interfaces`, its own Go client reads the interface bare: take both.
        listed = document.get("interfaces")
        return _parsed(
            op.ADD_INTERFACE, models.Interface, listed[-1] if isinstance(listed, list) and listed else document
        )

    async def allocate_on_interface(self, linode: int, interface: models.Interface) -> models.Interface:
        """A further public IPv4 address on a public interface of a Linode that is off, which costs money.

        Use `creating.allocate_address`.
        """
        existing = interface.public.ipv4.addresses if interface.public is not None else ()
        parts, body = {"linode": linode, "interface": interface.id}, bodies.one_more_address(existing)
        return await self._one(op.UPDATE_INTERFACE, models.Interface, parts, body=body)

    async def interface_settings(self, linode: int) -> models.InterfaceSettings:
        """Whether Network Helper is on, for Linode interfaces."""
        return await self._one(op.GET_INTERFACE_SETTINGS, models.InterfaceSettings, {"linode": linode})

    async def set_network_helper(self, linode: int, *, on: bool) -> models.InterfaceSettings:
        """Turn Network Helper on or off, for Linode interfaces; the next boot makes it so."""
        body = {"network_helper": on}
        return await self._one(op.UPDATE_INTERFACE_SETTINGS, models.InterfaceSettings, {"linode": linode}, body=body)

    # Placement groups

    async def placement_groups(self, *, label: str | None = None) -> tuple[models.PlacementGroup, ...]:
        """All placement groups, or the one with that label."""
        found = await self._list(op.LIST_PLACEMENT_GROUPS, models.PlacementGroup, wanted=_labelled(label))
        return tuple(item for item in found if label in {None, item.label})

    async def create_placement_group(self, new: bodies.NewPlacementGroup) -> models.PlacementGroup:
        """A new placement group. Use `creating.create_placement_group`."""
        return await self._one(op.CREATE_PLACEMENT_GROUP, models.PlacementGroup, body=new.body())

    async def assign_to_group(self, group: int, linodes: Sequence[int]) -> models.PlacementGroup:
        """Put Linodes into a group; a strict group refuses those it cannot place apart."""
        body = {"linodes": list(linodes)}
        return await self._one(op.ASSIGN_TO_PLACEMENT_GROUP, models.PlacementGroup, {"group": group}, body=body)

    async def delete_placement_group(self, group: int) -> None:
        """Remove a group that is empty."""
        await self._transport.call(op.DELETE_PLACEMENT_GROUP, {"group": group})

    # Firewalls

    async def firewalls(self, *, label: str | None = None) -> tuple[models.Firewall, ...]:
        """All Cloud Firewalls, or the one with that label."""
        found = await self._list(op.LIST_FIREWALLS, models.Firewall, wanted=_labelled(label))
        return tuple(item for item in found if label in {None, item.label})

    async def create_firewall(self, new: bodies.NewFirewall) -> models.Firewall:
        """A new Cloud Firewall. Use `creating.create_firewall`."""
        return await self._one(op.CREATE_FIREWALL, models.Firewall, body=new.body())

    async def set_firewall_rules(self, firewall: int, rules: models.FirewallRules) -> models.FirewallRules:
        """Replace all rules of a firewall."""
        parts, body = {"firewall": firewall}, bodies.rules_body(rules)
        return await self._one(op.UPDATE_FIREWALL_RULES, models.FirewallRules, parts, body=body)

    async def firewall_devices(self, firewall: int) -> tuple[models.FirewallDevice, ...]:
        """What a firewall stands before."""
        return await self._list(op.LIST_FIREWALL_DEVICES, models.FirewallDevice, {"firewall": firewall})

    async def add_firewall_device(
        self, firewall: int, entity: int, kind: bodies.DeviceKind = bodies.DeviceKind.LINODE
    ) -> models.FirewallDevice:
        """Put a firewall before a Linode of the older interface generation, or before a Linode interface."""
        body = {"id": entity, "type": kind.value}
        return await self._one(op.ADD_FIREWALL_DEVICE, models.FirewallDevice, {"firewall": firewall}, body=body)

    async def delete_firewall(self, firewall: int) -> None:
        """Remove a firewall from the account and from what it stands before."""
        await self._transport.call(op.DELETE_FIREWALL, {"firewall": firewall})

    # Platform and account

    async def regions(self) -> tuple[models.Region, ...]:
        """All regions; needs no token."""
        return await self._list(op.LIST_REGIONS, models.Region)

    async def types(self) -> tuple[models.LinodeType, ...]:
        """All plans with their prices; needs no token."""
        return await self._list(op.LIST_TYPES, models.LinodeType)

    async def images(self) -> tuple[models.Image, ...]:
        """The platform's images, and with a token those of the account."""
        return await self._list(op.LIST_IMAGES, models.Image)

    async def reserved_address_types(self) -> tuple[models.AddressType, ...]:
        """What reserved IPv4 addresses cost; needs no token."""
        return await self._list(op.LIST_RESERVED_IP_TYPES, models.AddressType)

    async def account_settings(self) -> models.AccountSettings:
        """Defaults of the account."""
        return await self._one(op.GET_ACCOUNT_SETTINGS, models.AccountSettings)

    async def maintenance(self) -> tuple[models.Maintenance, ...]:
        """Work that is planned or under way on the account's machines."""
        return await self._list(op.LIST_MAINTENANCE, models.Maintenance)

    async def events(
        self, *, linode: int | None = None, action: str | None = None, statuses: Sequence[str] = ()
    ) -> tuple[models.Event, ...]:
        """Events of the last 90 days, newest first, of one Linode, of one kind, or with one of these statuses."""
        wanted: dict[str, Any] = {"+order_by": "created", "+order": "desc"}
        if linode is not None:
            wanted |= {"entity.id": linode, "entity.type": "linode"}
        if action is not None:
            wanted["action"] = action
        if statuses:
            wanted["+or"] = [{"status": status} for status in statuses]
        return await self._list(op.LIST_EVENTS, models.Event, wanted=wanted)

    # The two shapes of an answer

    async def _one(
        self,
        operation: Operation,
        model: type[Answer],
        parts: Mapping[str, object] | None = None,
        *,
        body: Mapping[str, Any] | None = None,
    ) -> Answer:
        return _parsed(operation, model, await self._transport.call(operation, parts, body=body))

    async def _list(
        self,
        operation: Operation,
        model: type[Answer],
        parts: Mapping[str, object] | None = None,
        *,
        wanted: Mapping[str, Any] | None = None,
    ) -> tuple[Answer, ...]:
        items = await self._transport.pages(operation, parts, wanted=wanted)
        return _parsed_all(operation, model, items)


def _labelled(label: str | None) -> dict[str, str] | None:
    return None if label is None else {"label": label}


def _parsed_all(operation: Operation, model: type[Answer], items: object) -> tuple[Answer, ...]:
    if not isinstance(items, list):
        raise failures.bad_shape(operation, "the answer is not a list")
    return tuple(_parsed(operation, model, item) for item in items)


def _parsed(operation: Operation, model: type[Answer], document: object) -> Answer:
    try:
        return model.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        reason = f"{error.error_count()} fields are not as expected, such as {place}: {first['msg']}"
        raise failures.bad_shape(operation, reason) from None
