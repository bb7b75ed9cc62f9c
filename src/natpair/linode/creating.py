"""Creates things that cost money exactly once, even if an answer is lost.

A create is never repeated on a guess. After an unclear answer the account is read until the new thing
appears. Only things with a label, which the API keeps unique, are then requested a second time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import TypeVar

from natpair.errors import ApiError, NotReady
from natpair.linode.bodies import Generation, NewFirewall, NewInstance, NewPlacementGroup
from natpair.linode.client import LinodeClient
from natpair.linode.models import Firewall, Instance, PlacementGroup

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long something may take to appear after a create whose answer was lost, and how often to check."""

    settle_seconds: float = 20.0
    look_every_seconds: float = 1.0


async def create_instance(client: LinodeClient, new: NewInstance, patience: Patience | None = None) -> Instance:
    """A Linode with this label that was not there before; ApiError if the label is taken."""

    async def find() -> Instance | None:
        return next(iter(await client.instances(label=new.label)), None)

    return await _by_label(lambda: client.create_instance(new), find, new.label, patience or Patience())


async def create_placement_group(
    client: LinodeClient, new: NewPlacementGroup, patience: Patience | None = None
) -> PlacementGroup:
    """A placement group with this label that was not there before; ApiError if the label is taken."""

    async def find() -> PlacementGroup | None:
        return next(iter(await client.placement_groups(label=new.label)), None)

    return await _by_label(lambda: client.create_placement_group(new), find, new.label, patience or Patience())


async def create_firewall(client: LinodeClient, new: NewFirewall, patience: Patience | None = None) -> Firewall:
    """A Cloud Firewall with this label that was not there before; ApiError if the label is taken."""

    async def find() -> Firewall | None:
        return next(iter(await client.firewalls(label=new.label)), None)

    return await _by_label(lambda: client.create_firewall(new), find, new.label, patience or Patience())


async def allocate_address(client: LinodeClient, linode: Instance, patience: Patience | None = None) -> IPv4Address:
    """One further public IPv4 address of `linode`, which must be off if it has Linode interfaces.

    After a lost answer it is the one address that was not there before. If none shows, or several do, the error stays
    uncertain and nothing is asked for again: nothing but its number tells one address from another.
    """
    before = await _public_addresses(client, linode)

    async def find() -> IPv4Address | None:
        now = await _public_addresses(client, linode) - before
        return next(iter(now)) if len(now) == 1 else None

    try:
        await _allocate(client, linode)
    except ApiError as error:
        found = await _appears(find, patience or Patience()) if error.uncertain else None
        if found is None:
            raise
        return found
    found = await _appears(find, patience or Patience())
    if found is None:
        raise NotReady(f"Linode {linode.id} does not show its new address", fix="run it again")
    return found


async def _allocate(client: LinodeClient, linode: Instance) -> None:
    # The call that the older generation has is not there for Linode interfaces.
    if linode.interface_generation != Generation.LINODE.value:
        await client.allocate_address(linode.id)
        return
    public = next((one for one in await client.interfaces(linode.id) if one.public is not None), None)
    if public is None:
        raise NotReady(f"Linode {linode.id} has no public interface", fix="give it one, then run it again")
    await client.allocate_on_interface(linode.id, public)


async def _public_addresses(client: LinodeClient, linode: Instance) -> frozenset[IPv4Address]:
    return frozenset(address.address for address in (await client.addresses(linode.id)).ipv4.public)


async def _by_label(
    create: Callable[[], Awaitable[Made]], find: Callable[[], Awaitable[Made | None]], label: str, patience: Patience
) -> Made:
    # A thing found after a lost answer is ours only if it did not exist before.
    if await find() is not None:
        fix = "adopt it, remove it, or choose another label"
        raise ApiError("create", None, (f"label: {label} is taken in this account",), fix=fix)
    try:
        return await create()
    except ApiError as error:
        if not error.uncertain:
            raise
    found = await _appears(find, patience)
    if found is not None:
        return found
    try:
        return await create()
    except ApiError as error:
        # The first create was late, so the label is taken now, or this answer was lost as well.
        late = await _appears(find, patience) if error.uncertain or error.status == 400 else None
        if late is None:
            raise
        return late


async def _appears(find: Callable[[], Awaitable[Made | None]], patience: Patience) -> Made | None:
    deadline = time.monotonic() + patience.settle_seconds
    while True:
        found = await find()
        if found is not None or time.monotonic() >= deadline:
            return found
        await asyncio.sleep(patience.look_every_seconds)
