"""A lost answer makes no second Linode and no second address."""

from __future__ import annotations

import pytest

from natpair.errors import ApiError
from natpair.linode import creating
from natpair.linode.bodies import NewFirewall, NewInstance, NewPlacementGroup
from natpair.linode.creating import Patience
from natpair.linode.models import FirewallRules, Instance
from unit.linode.account import A, Account
from unit.linode.fakeapi import api_and_client, calling, half, instance, lost, ok, page, refuse, slow

INSTANCES, IPS = "/linode/instances", f"/linode/instances/{A}/ips"
NEW = NewInstance("nat-a", "us-ord", "g6-nanode-1")
OWNER = Instance.model_validate(instance(A, "nat-a", interface_generation="legacy_config"))
SOON = Patience(settle_seconds=0.2, look_every_seconds=0.02)


@pytest.mark.parametrize("kind", ["lost", "half", "504", "hang"])
async def test_a_linode_made_behind_a_lost_answer_is_found(kind: str) -> None:
    account = Account()
    make = {
        "lost": lost(lambda: account.create("nat-a")),
        "half": half({"id": 1}, lambda: account.create("nat-a")),
        "504": calling(lambda _: account.create("nat-a")),
        "hang": slow(2, ok()),
    }[kind]
    async with api_and_client() as (api, client):
        account.serve(api)
        if kind == "504":
            api.on("POST", INSTANCES, refuse(504, "Gateway time-out"), make)
        elif kind == "hang":
            api.on("POST", INSTANCES, make, calling(lambda _: account.create("nat-a")))
        else:
            api.on("POST", INSTANCES, make)
        found = await creating.create_instance(client, NEW, SOON)
        assert found.label == "nat-a"
        assert len(account.instances) == 1


async def test_one_that_shows_late_is_found_by_its_taken_label() -> None:
    account = Account()

    async def late(request: object) -> object:
        account.create("nat-a")
        return await refuse(400, "Label must be unique among your linodes", "label")(request)  # type: ignore[arg-type]

    async with api_and_client() as (api, client):
        account.serve(api)
        api.on("POST", INSTANCES, lost(), late)  # type: ignore[arg-type]
        assert (await creating.create_instance(client, NEW, SOON)).label == "nat-a"
        assert len(account.instances) == 1


async def test_a_label_that_was_there_before_is_not_taken_for_ours() -> None:
    account = Account()
    account.create("nat-a")
    async with api_and_client() as (api, client):
        account.serve(api)
        with pytest.raises(ApiError, match="is taken") as caught:
            await creating.create_instance(client, NEW, SOON)
        assert "adopt" in caught.value.fix
        assert api.count("POST", INSTANCES) == 0


async def test_a_refused_create_is_refused() -> None:
    account = Account()
    async with api_and_client() as (api, client):
        account.serve(api)
        api.on("POST", INSTANCES, refuse(400, "type is not valid", "type"))
        with pytest.raises(ApiError, match="type is not valid"):
            await creating.create_instance(client, NEW, SOON)
        assert api.count("POST", INSTANCES) == 1


async def test_an_address_made_behind_a_lost_answer_is_found() -> None:
    account = Account()
    async with api_and_client() as (api, client):
        account.serve(api)
        api.on("POST", IPS, lost(lambda: account.allocate(A)))
        before = len(account.owners)
        found = await creating.allocate_address(client, OWNER, SOON)
        assert account.owners[str(found)] == A
        assert len(account.owners) == before + 1


async def test_an_address_that_does_not_show_is_not_asked_for_again() -> None:
    async with api_and_client() as (api, client):
        Account().serve(api)
        api.on("POST", IPS, lost())
        with pytest.raises(ApiError) as caught:
            await creating.allocate_address(client, OWNER, SOON)
        assert caught.value.uncertain
        assert "look whether" in caught.value.fix
        assert api.count("POST", IPS) == 1


async def test_an_address_that_cannot_be_told_from_another_is_not_guessed() -> None:
    account = Account()
    async with api_and_client() as (api, client):
        account.serve(api)
        api.on("POST", IPS, lost(lambda: (account.allocate(A), account.allocate(A))))  # ours, and somebody else's
        with pytest.raises(ApiError) as caught:
            await creating.allocate_address(client, OWNER, SOON)
        assert caught.value.uncertain


async def test_an_account_that_may_have_no_further_address_is_told_what_to_do() -> None:
    async with api_and_client() as (api, client):
        Account().serve(api)
        api.on("POST", IPS, refuse(400, "Additional IPv4 addresses require technical justification."))
        with pytest.raises(ApiError, match="justification") as caught:
            await creating.allocate_address(client, OWNER, SOON)
        assert "support ticket" in caught.value.fix


async def test_groups_and_firewalls_are_made_the_same_way() -> None:
    group = {
        "id": 1,
        "label": "nat",
        "region": "us-ord",
        "placement_group_type": "anti_affinity:local",
        "placement_group_policy": "strict",
        "is_compliant": True,
        "members": [],
    }
    rules = {"inbound": [], "inbound_policy": "DROP", "outbound": [], "outbound_policy": "ACCEPT"}
    firewall = {"id": 2, "label": "nat", "status": "enabled", "rules": rules, "tags": None}
    async with api_and_client() as (api, client):
        for path, one in (("/placement/groups", group), ("/networking/firewalls", firewall)):
            api.on("GET", path, page([]), page([one]))
            api.on("POST", path, lost())
        assert (await creating.create_placement_group(client, NewPlacementGroup("nat", "us-ord"), SOON)).id == 1
        wanted = NewFirewall("nat", FirewallRules.model_validate(rules))
        assert (await creating.create_firewall(client, wanted, SOON)).id == 2
        assert api.count("POST", "/placement/groups") == api.count("POST", "/networking/firewalls") == 1
