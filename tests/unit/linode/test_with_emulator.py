"""The client and the emulator together: the whole life of a pair, and every fault at the calls that create."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from ipaddress import IPv4Interface
from typing import Any

import pytest

from emulator.served import quick_api
from natpair.errors import ApiError
from natpair.linode import creating, models, power, sharing
from natpair.linode.bodies import Generation, NewFirewall, NewInstance, NewPlacementGroup, VlanAttachment
from natpair.linode.client import LinodeClient
from natpair.linode.token import Token
from natpair.linode.transport import Transport
from natpair_lab.emulator.app import Emulator
from natpair_lab.emulator.faults import Fault, Kind
from natpair_lab.emulator.tokens import Token as Granted
from unit.linode.fakeapi import CANARY, QUICK

# A Linode that is still booting is busy for as long as the emulator pleases.
PATIENT = replace(QUICK, tries=60, total_seconds=20)
MAKE = creating.Patience(settle_seconds=0.3, look_every_seconds=0.02)
SHARE = sharing.Patience(settle_seconds=0.3, look_every_seconds=0.02)
RULES = models.FirewallRules(inbound=(), inbound_policy="DROP", outbound=(), outbound_policy="ACCEPT")
LOSSES = [Kind.STATUS, Kind.HANG, Kind.REFUSE, Kind.HALF, Kind.LOST, Kind.STATUS_AFTER]
SURELY_NOT_DONE = [Kind.RATE_LIMIT]


@asynccontextmanager
async def world() -> AsyncIterator[tuple[Emulator, LinodeClient]]:
    emulator = Emulator(quick_api())
    async with (
        emulator.serving() as url,
        Transport(Token(CANARY), base_url=f"{url}/v4", limits=PATIENT) as transport,
    ):
        yield emulator, LinodeClient(transport)


def node(label: str, host: int, generation: Generation = Generation.LINODE, **more: Any) -> NewInstance:
    vlan = VlanAttachment("nat-lan", IPv4Interface(f"192.168.1.{host}/24"))
    image = {"image": "linode/debian12", "root_password": "correct horse battery", "booted": False}
    return NewInstance(label, "us-ord", "g6-nanode-1", vlan=vlan, generation=generation, **image, **more)


async def settled(client: LinodeClient, linode: models.Instance) -> models.Instance:
    return await power.settled(client, linode.id, power.Patience(0.02, 5))


@pytest.mark.parametrize("generation", Generation)
async def test_the_life_of_a_pair(generation: Generation) -> None:
    async with world() as (_, client):
        group = await creating.create_placement_group(client, NewPlacementGroup("nat", "us-ord"), MAKE)
        wall = await creating.create_firewall(client, NewFirewall("nat", RULES, ("natpair",)), MAKE)
        pair = [
            await creating.create_instance(
                client,
                node(label, host, generation, firewall_id=wall.id, placement_group_id=group.id, user_data=b"#c"),
                MAKE,
            )
            for host, label in ((2, "nat-a"), (3, "nat-b"))
        ]
        a, b = (one.id for one in pair)
        assert {one.linode_id for one in (await client.placement_groups(label="nat"))[0].members} == {a, b}
        assert (await client.instances(label="nat-b"))[0].id == b
        if generation is Generation.LINODE:
            assert [bool(one.vlan) for one in await client.interfaces(a)] == [False, True]
            assert (await client.interface_settings(a)).network_helper is False
        else:
            config = (await client.configs(a))[0]
            assert [one.purpose for one in config.interfaces] == ["public", "vlan"]
            changed = await client.update_config(a, config.id, vlan=node("x", 2).vlan, network_helper=False)
            assert changed.helpers is not None
            assert changed.helpers.network is False
        fip = await creating.allocate_address(client, await settled(client, pair[0]), MAKE)
        assert [one.receiver for one in await sharing.look_for_drift(client, [fip], [a, b], "us-ord")] == [b]
        await sharing.share(client, b, [fip], SHARE)
        assert await sharing.look_for_drift(client, [fip], [a, b], "us-ord") == ()
        await sharing.unshare(client, b, [fip], SHARE)
        assert (await client.addresses(b)).ipv4.shared == ()
        for one in (a, b):
            await client.delete_instance(one)
        await client.delete_placement_group(group.id)
        await client.delete_firewall(wall.id)
        assert (await client.instances(), await client.placement_groups(), await client.firewalls()) == ((), (), ())


@pytest.mark.parametrize("kind", [*LOSSES, *SURELY_NOT_DONE])
async def test_no_fault_makes_a_second_linode(kind: Kind) -> None:
    async with world() as (emulator, client):
        emulator.control.faults.active.append(Fault(kind=kind, method="POST", path="/linode/instances"))
        made = await creating.create_instance(client, node("nat-a", 2), MAKE)
        assert [one.id for one in await client.instances()] == [made.id]


@pytest.mark.parametrize("generation", Generation)
@pytest.mark.parametrize("kind", [*LOSSES, *SURELY_NOT_DONE])
async def test_no_fault_makes_a_second_address(kind: Kind, generation: Generation) -> None:
    async with world() as (emulator, client):
        made = await creating.create_instance(client, node("nat-a", 2, generation), MAKE)
        linode = (await settled(client, made)).id
        before = {one.address for one in (await client.addresses(linode)).ipv4.public}
        method, path = ("PUT", "*/interfaces/[0-9]*") if generation is Generation.LINODE else ("POST", "*/ips")
        emulator.control.faults.active.append(Fault(kind=kind, method=method, path=path))
        # Three of the faults leave nothing behind to find, and asking again might make a second one.
        nothing_done = kind in {Kind.STATUS, Kind.HANG, Kind.REFUSE}
        with pytest.raises(ApiError) if nothing_done else nullcontext():
            await creating.allocate_address(client, made, MAKE)
        after = {one.address for one in (await client.addresses(linode)).ipv4.public}
        assert len(after - before) == (0 if nothing_done else 1)


@pytest.mark.parametrize("kind", [*LOSSES, *SURELY_NOT_DONE])
async def test_no_fault_loses_somebody_elses_share(kind: Kind) -> None:
    async with world() as (emulator, client):
        pair = [await creating.create_instance(client, node(f"nat-{n}", n), MAKE) for n in (2, 3)]
        a, b = (await settled(client, pair[0]), pair[1].id)
        theirs, ours = [await creating.allocate_address(client, a, MAKE) for _ in range(2)]
        await client.replace_shares(b, [theirs])
        emulator.control.faults.active.append(Fault(kind=kind, method="POST", path="/networking/ips/share"))
        await sharing.share(client, b, [ours], SHARE)
        assert {one.address for one in (await client.addresses(b)).ipv4.shared} == {theirs, ours}


async def test_a_token_without_the_scope_is_told_which_one() -> None:
    async with world() as (emulator, client):
        a = (await creating.create_instance(client, node("nat-a", 2), MAKE)).id
        emulator.api.tokens.set(CANARY, Granted(frozenset({"linodes:read_write"})))
        with pytest.raises(ApiError, match="not authorized") as caught:
            await client.replace_shares(a, [])
        assert "ips:read_write" in caught.value.fix


async def test_maintenance_events_regions_and_prices_are_read() -> None:
    async with world() as (emulator, client):
        a = (await creating.create_instance(client, node("nat-a", 2), MAKE)).id
        emulator.control.add_maintenance({"linode_id": a, "when": 600, "not_before": 300})
        planned = [one for one in await client.maintenance() if one.entity.id == a]
        assert planned[0].begins is not None
        assert all(one.entity is not None and one.entity.id == a for one in await client.events(linode=a))
        assert "us-ord" in {one.id for one in await client.regions()}
        nanode = next(one for one in await client.types() if one.id == "g6-nanode-1")
        assert nanode.price_in("us-ord").monthly
        await client.account_settings()
