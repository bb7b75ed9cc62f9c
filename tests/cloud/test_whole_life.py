"""From nothing to a pair and back, against an emulated account: what is made, what is left alone, what is refused."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import pytest

from cloud.accounts import LEGACY, PACE, TEXT, Desk, changed, desk, holdings, shape
from natpair.config.load import parse
from natpair.core.model import config_hash
from natpair.errors import ApiError, ConfigError, NotReady
from natpair.linode import bodies, creating, models, sharing
from natpair_lab.emulator import addresses, lifecycle
from natpair_lab.emulator.faults import Fault, Kind
from natpair_lab.emulator.model import Status
from natpair_lab.emulator.tokens import Token

LOSSES = (Kind.LOST, Kind.HALF, Kind.STATUS_AFTER)


def allocation(text: str, **fault: Any) -> Fault:
    """A fault at the call that allocates an address in that generation of interfaces."""
    if text == LEGACY:
        return Fault(method="POST", path="/linode/instances/*/ips", **fault)
    return Fault(method="PUT", path="/linode/instances/*/interfaces/[0-9]*", **fault)


def user_data(at: Desk, name: str) -> dict[str, Any]:
    document = json.loads(at.store.linodes[at.node(name)].user_data.partition(b"\n")[2])
    return {one["path"]: _content(one) for one in document["write_files"]} | {"hostname": document["hostname"]}


def _content(entry: dict[str, str]) -> str:
    if entry.get("encoding") == "gz+b64":
        return gzip.decompress(base64.b64decode(entry["content"])).decode()
    return entry["content"]


async def stranger(at: Desk, label: str, **more: Any) -> models.Instance:
    """A Linode that somebody else made, running."""
    new = bodies.NewInstance(
        label, "us-ord", "g6-nanode-1", image="linode/debian12", authorized_keys=("ssh-ed25519 AAAA",), **more
    )
    made = await at.client.create_instance(new)
    return await reaches(at, made.id, "running")


async def reaches(at: Desk, linode: int, status: str) -> models.Instance:
    for _ in range(500):
        if (await at.client.instance(linode)).status == status:
            break
    return await at.client.instance(linode)


async def allocated(at: Desk, linode: models.Instance) -> IPv4Address:
    """A further address for a running Linode, which is off meanwhile: so the newer generation wants it."""
    await at.client.shut_down(linode.id)
    await reaches(at, linode.id, "offline")
    address = await creating.allocate_address(at.client, linode, PACE.create)
    await at.client.boot(linode.id)
    await reaches(at, linode.id, "running")
    return address


@pytest.mark.parametrize("text", [TEXT, LEGACY], ids=["linode", "legacy"])
async def test_an_empty_account_becomes_a_pair_and_empty_again(text: str) -> None:
    async with desk(text) as at:
        before = holdings(at.store)
        await at.apply()
        gateway = parse(at.text)
        store, first, second = at.store, at.node("nat-a"), at.node("nat-b")
        assert len(store.linodes) == 2
        assert [one.status for one in store.linodes.values()] == [Status.RUNNING, Status.RUNNING]
        assert len(store.addresses) == 3
        assert store.addresses[gateway.pair.fips[0]].linode_id == first
        assert store.shares == {second: gateway.pair.fips}
        for linode in store.linodes.values():
            view = store.view(linode)
            assert [port.vlan for port in view.ports] == [None, "natpair"]
            assert not view.network_helper
            assert f"natpair-{gateway.cloud.stamp}-installed-{config_hash(gateway)}" in linode.tags
        (group,), (firewall,) = store.groups.values(), store.firewalls.values()
        assert sorted(group.members) == sorted([first, second])
        assert {one.linode_id for one in store.devices.values()} == {first, second}
        assert (await at.condition()).problems == ()
        assert (
            user_data(at, "nat-a")["/etc/natpair/gateway.toml"] == user_data(at, "nat-b")["/etc/natpair/gateway.toml"]
        )
        assert parse(user_data(at, "nat-a")["/etc/natpair/gateway.toml"]) == gateway
        assert user_data(at, "nat-b")["hostname"] == "nat-b"
        assert firewall.rules.inbound_policy == "ACCEPT"

        at.told.clear()
        text_after = at.text
        assert (await at.apply()).done == ()
        assert at.text == text_after

        await at.destroy()
        assert holdings(at.store) == before
        assert at.text == changed(("[cloud]\n", '[cloud]\nstamp = "auto"\n'), text=text)
        assert await at.destroy() == ()


@pytest.mark.parametrize("setting", ["linode_only", "legacy_config_only", "linode_default_but_legacy_config_allowed"])
@pytest.mark.parametrize("guarded", [False, True], ids=["no default firewall", "default firewall"])
@pytest.mark.parametrize("wall", [True, False], ids=["firewall", "no firewall"])
@pytest.mark.parametrize("lower", [False, True], ids=["FIP higher", "FIP lower"])
async def test_every_kind_of_account(setting: str, guarded: bool, wall: bool, lower: bool) -> None:
    text = LEGACY if setting == "legacy_config_only" else TEXT
    async with desk(text if wall else text + "firewall = false\n") as at:
        at.store.interfaces_for_new_linodes = setting
        if guarded:
            rules = models.FirewallRules(inbound_policy="DROP", outbound_policy="ACCEPT")
            theirs = await at.client.create_firewall(bodies.NewFirewall("default", rules))
            at.store.default_firewall = theirs.id
        before = holdings(at.store)

        def choose(step: Any) -> None:
            if lower and step.kind.value == "allocate-address":
                at.store.last_address[True] = IPv4Address("192.0.2.9")

        await at.apply(choose)
        gateway = parse(at.text)
        first = at.store.linodes[at.node("nat-a")]
        dhcp = at.store.view(first).dhcp
        assert dhcp is not None
        assert (dhcp.ip == gateway.pair.fips[0]) == lower, "DHCP would give the shared address, which is dead"
        assert len(at.store.devices) == (2 if wall else 0), "the default firewall guards none of the nodes"
        assert (await at.condition()).problems == ()
        await at.destroy()
        assert holdings(at.store) == before


@pytest.mark.parametrize("setting", ["linode_only", "legacy_config_only"])
async def test_a_generation_that_the_account_does_not_allow_is_told(setting: str) -> None:
    """With a token that may not read the settings, so that only the refusal tells."""
    async with desk(LEGACY if setting == "linode_only" else TEXT) as at:
        at.store.interfaces_for_new_linodes = setting
        scopes = {"linodes:read_write", "ips:read_write", "firewall:read_write", "events:read_only"}
        at.emulator.api.tokens.set("any", Token(frozenset(scopes)))
        with pytest.raises(ApiError) as caught:
            await at.apply()
        assert "cloud.generation" in caught.value.fix
        await at.destroy()


async def test_a_token_that_may_not_read_events_still_makes_a_pair() -> None:
    async with desk() as at:
        at.emulator.api.tokens.set(
            "any", Token(frozenset({"linodes:read_write", "ips:read_write", "firewall:read_write"}))
        )
        await at.apply()
        assert [one.status for one in at.store.linodes.values()] == [Status.RUNNING, Status.RUNNING]
        assert (await at.condition()).problems == ()


async def test_a_user_without_a_role_is_told_of_roles() -> None:
    async with desk() as at:
        at.emulator.api.tokens.set("any", Token(denied=frozenset({"POST /networking/firewalls"})))
        with pytest.raises(ApiError) as caught:
            await at.apply()
        assert caught.value.exit_code == 77
        assert "grants or roles" in caught.value.fix


async def test_a_region_with_one_host_is_told_with_the_way_out() -> None:
    async with desk() as at:
        at.store.policy = replace(at.store.policy, hosts_per_region=1)
        with pytest.raises(ApiError) as caught:
            await at.apply()
        assert 'cloud.placement = "flexible"' in caught.value.fix
        at.text = changed(("[cloud]\n", '[cloud]\nplacement = "flexible"\n'), text=at.text)
        with pytest.raises(ApiError):
            await at.apply()  # the group that is there is strict
        await at.destroy()
        await at.apply()


async def test_two_addresses_are_two_and_comments_stay() -> None:
    async with desk(changed(('fips = ["auto"]', 'fips = ["auto", "auto"]'))) as at:
        await at.apply()
        assert len(at.store.addresses) == 4
        assert len(set(parse(at.text).pair.fips)) == 2
        assert "]  # one" in at.text
        assert at.text.startswith("# The pair of the tests.")


@pytest.mark.parametrize("fault", LOSSES)
@pytest.mark.parametrize("text", [TEXT, LEGACY], ids=["linode", "legacy"])
async def test_lost_answers_to_every_post_make_nothing_twice(fault: Kind, text: str) -> None:
    async with desk(text) as at, desk(text) as calm:
        await calm.apply()
        # Each POST is answered badly once, whatever follows from that is answered well.
        for path in ("/placement/groups", "/networking/firewalls", "/linode/instances", "/networking/ips/share"):
            at.emulator.control.faults.active.append(Fault(kind=fault, method="POST", path=path, status=502))
        for path in ("/linode/instances/*/rebuild", "/linode/instances/*/boot"):
            at.emulator.control.faults.active.append(Fault(kind=fault, method="POST", path=path, status=502))
        at.emulator.control.faults.active.append(allocation(text, kind=fault, status=502))
        await at.apply()
        assert at.emulator.control.faults.active == []
        stamps = [parse(one.text).cloud.stamp or "" for one in (at, calm)]
        assert shape(at.store, stamps[0]) == shape(calm.store, stamps[1])


@pytest.mark.parametrize("text", [TEXT, LEGACY], ids=["linode", "legacy"])
async def test_an_address_that_never_shows_is_not_asked_for_again(text: str) -> None:
    async with desk(text) as at:
        at.emulator.control.faults.active.append(allocation(text, kind=Kind.STATUS, status=502))
        with pytest.raises(ApiError) as caught:
            await at.apply()
        assert caught.value.uncertain
        assert len(at.store.addresses) == 2
        await at.apply()
        assert len(at.store.addresses) == 3


@pytest.mark.parametrize("text", [TEXT, LEGACY], ids=["linode", "legacy"])
async def test_an_account_without_the_right_to_more_addresses_is_told_so(text: str) -> None:
    async with desk(text) as at:
        at.store.policy = replace(at.store.policy, public_ipv4_per_linode=1)
        with pytest.raises(ApiError) as caught:
            await at.apply()
        assert "support ticket" in caught.value.fix


async def test_a_token_without_the_scope_is_told_which() -> None:
    async with desk() as at:
        at.emulator.api.tokens.set(
            "any", Token(frozenset({"linodes:read_write", "ips:read_write", "firewall:read_only"}))
        )
        with pytest.raises(ApiError) as caught:
            await at.apply()
        assert caught.value.exit_code == 77
        assert "firewall:read_write" in caught.value.fix


async def test_a_share_removed_by_others_is_found_and_repaired_and_theirs_survive() -> None:
    async with desk() as at:
        await at.apply()
        other = await stranger(at, "web")
        extra = await allocated(at, other)
        second = at.node("nat-b")
        await at.client.replace_shares(second, [extra])
        (problem,) = (await at.condition()).problems
        fip = parse(at.text).pair.fips[0]
        assert str(fip) in problem.text
        await at.apply()
        assert set(at.store.shares[second]) == {fip, extra}
        await at.destroy()
        assert at.labels() == ["web"]


async def test_firewall_and_group_are_repaired() -> None:
    async with desk() as at:
        await at.apply()
        (firewall,), (group,) = at.store.firewalls.values(), at.store.groups.values()
        at.store.firewalls[firewall.id] = replace(firewall, rules=replace(firewall.rules, inbound_policy="DROP"))
        at.store.devices.clear()
        at.store.groups[group.id] = replace(group, members=group.members[:1])
        assert len((await at.condition()).problems) == 4
        await at.apply()
        assert (await at.condition()).problems == ()
        assert len(at.store.devices) == 2


async def test_a_node_that_was_set_up_is_never_rebuilt() -> None:
    async with desk() as at:
        await at.apply()
        before = dict(at.store.linodes)
        at.text = changed(
            ('profile = "balanced"', 'profile = "fast"'), text=at.text.replace("[pair]", '[pair]\nprofile = "balanced"')
        )
        assert "rebuild" not in " ".join(step.text for step in (await at.plan()).steps)
        assert any("copy the file" in one.fix for one in (await at.plan()).remarks)
        await at.apply()
        assert at.store.linodes == before


async def test_a_running_node_without_its_tag_is_not_rebuilt_on_a_guess() -> None:
    async with desk() as at:
        await at.apply()
        first = at.store.linodes[at.node("nat-a")]
        at.store.linodes[first.id] = replace(first, tags=tuple(tag for tag in first.tags if "installed" not in tag))
        with pytest.raises(ConfigError) as caught:
            await at.apply()
        assert "shut it down" in caught.value.problems[0].accepted
        assert at.store.linodes[first.id].status is Status.RUNNING


async def test_a_renamed_linode_is_known_by_its_tag() -> None:
    async with desk() as at:
        await at.apply()
        await_id = at.node("nat-b")
        at.store.linodes[await_id] = replace(at.store.linodes[await_id], label="my-gateway")
        assert (await at.plan()).steps == ()


async def test_a_linode_that_only_has_our_label_is_refused_and_survives() -> None:
    async with desk(changed(("[cloud]\n", '[cloud]\nstamp = "0badcafe"\n'))) as at:
        other = await stranger(at, "nat-a-0badcafe")
        with pytest.raises(ConfigError) as caught:
            await at.apply()
        assert "natpair did not create it" in caught.value.problems[0].message
        assert len(at.store.linodes) == 1
        await at.destroy()
        assert list(at.store.linodes) == [other.id]


async def test_a_node_that_is_gone_is_made_anew_and_the_lost_address_is_named() -> None:
    async with desk() as at:
        await at.apply()
        await at.client.delete_instance(at.node("nat-b"))
        await at.apply()
        assert at.labels()[1].startswith("nat-b-")
        assert parse(at.text).node[1].public_address.ip in at.store.addresses
        await at.client.delete_instance(at.node("nat-a"))
        with pytest.raises(ConfigError) as caught:
            await at.apply()
        assert caught.value.problems[0].accepted.startswith("set pair.fips[0]")
        await at.destroy()
        assert at.text.count('"auto"') == 6


async def adopting(at: Desk, *, legacy: bool = False) -> tuple[int, int, IPv4Address]:
    """Two Linodes of somebody's own, and an address of the first that is to be the FIP."""
    generation = bodies.Generation.LEGACY if legacy else bodies.Generation.LINODE
    made = [await stranger(at, f"own-{n}", vlan=bodies.VlanAttachment("natpair"), generation=generation) for n in "ab"]
    fip = await allocated(at, made[0])
    at.text = changed(
        ('fips = ["auto"]', f'fips = ["{fip}"]'),
        ('name = "nat-a"', f'name = "nat-a"\nlinode = {made[0].id}'),
        ('name = "nat-b"', f'name = "nat-b"\nlinode = {made[1].id}'),
    )
    return made[0].id, made[1].id, fip


@pytest.mark.parametrize("legacy", [False, True])
async def test_adopted_linodes_get_shares_and_nothing_else(legacy: bool) -> None:
    async with desk() as at:
        _first, second, fip = await adopting(at, legacy=legacy)
        other = await stranger(at, "web")
        extra = await allocated(at, other)
        await sharing.share(at.client, second, [extra])
        before = holdings(at.store)
        await at.apply()
        assert set(at.store.shares[second]) == {fip, extra}
        assert at.store.linodes == before["linodes"]
        assert parse(at.text).node[0].public_address.ip in at.store.addresses
        await at.destroy()
        assert holdings(at.store) == before
        assert str(fip) in at.text, "an address that was there before stays in the file"


async def test_what_is_adopted_must_be_there_and_fit() -> None:
    async with desk() as at:
        first, _second, fip = await adopting(at)
        good = at.text
        for old, new, word in (
            (f"linode = {first}", "linode = 1", "Linode 1, which is to be nat-a, does not exist"),
            (f'fips = ["{fip}"]', 'fips = ["192.0.2.99"]', "not an address of this account"),
            ('region = "us-ord"', 'region = "us-sea"', "is in us-ord"),
            ('public_address = "auto"', 'public_address = "198.51.100.9/24"', "is not an address of Linode"),
        ):
            at.text = changed((old, new), text=good)
            before = holdings(at.store)
            with pytest.raises(ConfigError) as caught:
                await at.apply()
            assert word in " ".join(problem.message for problem in caught.value.problems)
            assert holdings(at.store) == before
        at.text = changed((f'fips = ["{fip}"]', 'fips = ["auto"]'), text=good)
        with pytest.raises(ConfigError, match="1 problem"):
            await at.apply()


async def test_a_pair_that_was_made_by_hand_is_not_made_twice() -> None:
    async with desk() as at:
        first, _second, _fip = await adopting(at)
        by_hand = 'public_address = "203.0.113.2/24"'
        at.text = at.text.replace(f"linode = {first}\n", "", 1).replace('public_address = "auto"', by_hand, 1)
        before = holdings(at.store)
        with pytest.raises(ConfigError) as caught:
            await at.apply()
        assert "natpair did not create it" in caught.value.problems[0].message
        assert holdings(at.store) == before


async def test_a_reserved_address_on_a_node_is_nobodys_spare_one() -> None:
    async with desk() as at:
        await at.apply()
        reserved = addresses.reserve(at.store, "us-ord")
        addresses.attach_reserved(at.store, at.store.linodes[at.node("nat-a")], str(reserved.address))
        at.text = at.text.replace('"]  # one', '", "auto"]  # two', 1)
        with pytest.raises(ConfigError) as caught:
            await at.apply()
        assert "must be off to get another address" in caught.value.problems[0].message
        await at.client.shut_down(at.node("nat-a"))
        await reaches(at, at.node("nat-a"), "offline")
        await at.apply()
        assert at.store.linodes[at.node("nat-a")].status is Status.RUNNING
        assert reserved.address not in parse(at.text).pair.fips
        at.text = changed((str(parse(at.text).pair.fips[1]), str(reserved.address)), text=at.text)
        await at.apply()
        await at.destroy()
        assert list(at.store.addresses) == [reserved.address]
        assert f'"auto", "{reserved.address}"]' in at.text


async def test_one_adopted_and_one_made() -> None:
    async with desk() as at:
        own = await stranger(at, "own-a", vlan=bodies.VlanAttachment("natpair"))
        before = holdings(at.store)
        at.text = changed(('name = "nat-a"', f'name = "nat-a"\nlinode = {own.id}'))
        await at.apply()
        made = at.node("nat-b")
        fip = parse(at.text).pair.fips[0]
        assert at.store.addresses[fip].linode_id == made, "an address of ours is never left on somebody's Linode"
        assert at.store.shares == {own.id: (fip,)}
        await at.destroy()
        assert holdings(at.store) == before


async def test_both_nodes_on_one_machine_is_a_problem() -> None:
    async with desk() as at:
        await at.apply()
        first, second = at.node("nat-a"), at.node("nat-b")
        at.store.linodes[second] = replace(at.store.linodes[second], host_uuid=at.store.linodes[first].host_uuid)
        (problem,) = (await at.condition()).problems
        assert "same host" in problem.text


async def test_a_boot_that_fails_is_told_with_its_reason() -> None:
    async with desk() as at:

        def fail_at_boot(step: Any) -> None:
            if step.kind.value == "boot":
                at.store.timing = replace(at.store.timing, boot_seconds=30)

        async def watch() -> None:
            while not any(one.status is Status.BOOTING for one in at.store.linodes.values()):
                await asyncio.sleep(0.01)
            lifecycle.fail(at.store, at.node("nat-a"), "no disk to boot from")

        async with asyncio.TaskGroup() as group:
            group.create_task(watch())
            with pytest.raises(NotReady) as caught:
                await at.apply(fail_at_boot)
        assert "no disk to boot from" in caught.value.message
