"""Perform one step. Each leaves the account so that the next look can tell what was done.

What is made is labelled and tagged in the very call that makes it: whatever happens after that, it is found again.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from natpair.cloud.desired import Wanted, WantedNode
from natpair.cloud.network import Uplink
from natpair.cloud.observed import Found, FoundNode
from natpair.cloud.plan import Kind, Step, to_write
from natpair.cloud.platform import Offer
from natpair.cloud.userdata import node_user_data
from natpair.config.auto import Draft, fill, with_stamp
from natpair.errors import NotReady
from natpair.linode import creating, power, sharing
from natpair.linode.bodies import NewFirewall, NewInstance, NewPlacementGroup, Rebuild
from natpair.linode.client import LinodeClient
from natpair.linode.ports import plug_in

STAMP_BYTES = 4

Value = TypeVar("Value")

_ROOT_PASSWORD_BYTES = 48


@dataclass(frozen=True, slots=True)
class Pace:
    """How often to check, and how long to wait; tests use small values."""

    look_every_seconds: float = 2.0
    settle_seconds: float = 900.0
    create: creating.Patience = field(default_factory=creating.Patience)
    share: sharing.Patience = field(default_factory=sharing.Patience)

    @property
    def power(self) -> power.Patience:
        """Maximum time for a Linode to boot or to be rebuilt."""
        return power.Patience(self.look_every_seconds, self.settle_seconds, min(60.0, self.settle_seconds / 10))

    async def pause(self) -> None:
        """Wait between two checks."""
        await asyncio.sleep(self.look_every_seconds)


@dataclass(frozen=True, slots=True)
class Materials:
    """What this machine provides: the pair's key, the ssh keys, and a function to write gateway.toml."""

    key: str = field(repr=False)
    authorized_keys: tuple[str, ...]
    save: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Site:
    """Everything that a step needs: the API, the wanted and the found state, and what this machine provides."""

    client: LinodeClient
    draft: Draft
    wanted: Wanted
    found: Found
    offer: Offer
    materials: Materials
    pace: Pace

    def node(self, step: Step) -> WantedNode:
        """The node of a step."""
        return self.wanted.nodes[_needed(step.node)]

    def there(self, step: Step) -> FoundNode:
        """The Linode of a step."""
        return _needed(self.found.nodes[_needed(step.node)])


def _needed(value: Value | None) -> Value:
    if value is None:
        raise NotReady("the account changed while it was read", fix="run this again")
    return value


async def carry_out(site: Site, step: Step) -> str | None:
    """Perform one step. Return the text of gateway.toml if the step changed it. Raise ApiError or NotReady."""
    match step.kind:
        case Kind.STAMP:
            return with_stamp(site.draft.text, secrets.token_hex(STAMP_BYTES))
        case Kind.WRITE:
            return fill(site.draft.text, to_write(site.wanted, site.found))
        case Kind.ALLOCATE:
            await creating.allocate_address(site.client, site.there(step).instance, site.pace.create)
        case Kind.SHARE:
            await sharing.share(site.client, site.there(step).instance.id, step.addresses, site.pace.share)
        case Kind.SETTLE:
            await power.settled(site.client, site.there(step).instance.id, site.pace.power)
        case Kind.BOOT:
            await power.boot(site.client, site.there(step).instance.id, site.pace.power)
        case Kind.INSTALL:
            await _install(site, site.node(step), site.there(step))
        case _:
            await _make(site, step)
    return None


async def _make(site: Site, step: Step) -> None:
    client, wanted, found = site.client, site.wanted, site.found
    match step.kind:
        case Kind.GROUP:
            new_group = NewPlacementGroup(wanted.label, wanted.region, wanted.placement)
            await creating.create_placement_group(client, new_group, site.pace.create)
        case Kind.FIREWALL:
            new_firewall = NewFirewall(wanted.label, _needed(wanted.rules), (wanted.tag,))
            await creating.create_firewall(client, new_firewall, site.pace.create)
        case Kind.CREATE:
            await creating.create_instance(client, _new_instance(site, site.node(step)), site.pace.create)
        case Kind.RULES:
            await client.set_firewall_rules(_needed(found.firewall).id, _needed(wanted.rules))
        case Kind.ATTACH:
            kind, entity = site.there(step).behind
            await client.add_firewall_device(_needed(found.firewall).id, _needed(entity), kind)
        case Kind.JOIN:
            await client.assign_to_group(_needed(found.group).id, [site.there(step).instance.id])
        case Kind.HELPER:
            await plug_in(client, site.there(step).instance, None)
        case _:  # pragma: no cover - carry_out has the others
            raise AssertionError(step.kind)


def _new_instance(site: Site, node: WantedNode) -> NewInstance:
    wanted, found = site.wanted, site.found
    return NewInstance(
        node.label,
        wanted.region,
        wanted.cloud.type,
        image=wanted.cloud.image,
        vlan=node.vlan,
        generation=wanted.generation,
        firewall_id=found.firewall.id if found.firewall else None,
        placement_group_id=found.group.id if found.group else None,
        tags=(wanted.tag, wanted.node_tag(node)),
        authorized_keys=site.materials.authorized_keys,
        root_password=_root_password(),
        booted=False,
    )


def _root_password() -> str:
    # The API requires a password. It is not saved: Cloud Manager can set another one for the console.
    return secrets.token_urlsafe(_ROOT_PASSWORD_BYTES)


async def _install(site: Site, node: WantedNode, there: FoundNode) -> None:
    wanted, number = site.wanted, there.instance.id
    new = Rebuild(
        wanted.cloud.image,
        _root_password(),
        authorized_keys=site.materials.authorized_keys,
        user_data=_user_data(site, node, there),
        booted=False,
    )
    instance = await power.rebuild(site.client, number, new, site.pace.power)
    if instance.has_user_data is False:
        fix = "check that the image and the region support the Metadata service"
        raise NotReady(f"the platform did not store the user data of {node.name}", fix=fix)
    # A rebuild creates a new configuration profile, without the VLAN and with Network Helper on.
    await plug_in(site.client, instance, node.vlan)
    await site.client.set_tags(number, (*instance.tags, f"{wanted.installed_prefix}{_needed(wanted.config_hash)}"))


def _user_data(site: Site, node: WantedNode, there: FoundNode) -> bytes:
    of_node = site.draft.gateway.node[node.index]
    own = next((one for one in there.own if one.address == of_node.public_address.ip), None)
    router = _needed(own.gateway if own else None)
    uplink = Uplink(router, site.offer.resolvers(site.wanted.region))
    return node_user_data(site.draft.gateway, site.draft.text, site.materials.key, of_node, uplink)
