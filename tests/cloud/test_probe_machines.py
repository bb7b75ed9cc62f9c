"""The machines of a probe on every kind of account: made, plugged in, booted, and no error taken for "no BGP here"."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cloud.accounts import Desk, desk
from natpair.errors import ApiError
from natpair.linode.bodies import NewFirewall
from natpair.linode.models import FirewallRules
from natpair.probe import machines
from natpair.probe.record import Record
from natpair_lab.emulator.faults import Fault, Kind
from natpair_lab.emulator.model import Generation, Status
from natpair_lab.emulator.tokens import Token

SETTINGS = ("linode_only", "legacy_config_only", "linode_default_but_legacy_config_allowed")


async def made(at: Desk, folder: Path) -> tuple[machines.Made, Record]:
    record = Record.begin(folder, "http://x/v4", "us-ord", "now")
    offered = await machines.offer(at.client, "us-ord", None)
    return await machines.make(at.client, record, offered, machines.IMAGE, "ssh-ed25519 AAAA", lambda _: None), record


@pytest.mark.parametrize("guarded", [False, True], ids=["no default firewall", "default firewall"])
@pytest.mark.parametrize("readable", [True, False], ids=["settings", "no right to the settings"])
@pytest.mark.parametrize("setting", SETTINGS)
async def test_both_run_on_their_vlan_and_no_firewall_guards_them(
    setting: str, readable: bool, guarded: bool, tmp_path: Path
) -> None:
    async with desk() as at:
        at.store.interfaces_for_new_linodes = setting
        if not readable:
            scopes = {"linodes:read_write", "ips:read_write", "events:read_only"}
            at.emulator.api.tokens.set("any", Token(frozenset(scopes)))
        elif guarded:
            rules = FirewallRules(inbound_policy="DROP", outbound_policy="ACCEPT")
            at.store.default_firewall = (await at.client.create_firewall(NewFirewall("default", rules))).id
        probe, record = await made(at, tmp_path)
        assert not probe.no_fip
        for number in probe.linodes:
            linode = at.store.linodes[number]
            assert linode.status is Status.RUNNING
            assert (linode.generation is Generation.LEGACY) == (setting == "legacy_config_only")
            view = at.store.view(linode)
            assert [port.vlan for port in view.ports] == [None, f"probe-{record.stamp}"]
            assert not view.network_helper
            data = linode.user_data.decode()
            assert "/etc/systemd/network/00-natpair-eth0.network" in data
            assert "/etc/natpair/network.sh" in data
        assert at.store.devices == {}
        assert str(probe.gateway.pair.fips[0]) == record.fip
        assert await machines.remove(at.client, record, lambda _: None) == ()
        assert at.store.linodes == {}


async def test_an_account_that_may_have_no_further_address_is_measured_without(tmp_path: Path) -> None:
    async with desk() as at:
        at.store.policy = replace(at.store.policy, public_ipv4_per_linode=1)
        probe, _ = await made(at, tmp_path)
        assert "may not have another IPv4 address" in probe.no_fip


@pytest.mark.parametrize("status", [400, 403, 404, 405])
async def test_any_other_refusal_of_an_address_ends_the_probe(status: int, tmp_path: Path) -> None:
    async with desk() as at:
        fault = Fault(kind=Kind.STATUS, status=status, method="PUT", path="*/interfaces/[0-9]*", times=None)
        at.emulator.control.faults.active.append(fault)
        with pytest.raises(ApiError) as caught:
            await made(at, tmp_path)
        assert caught.value.status == status


async def test_a_price_that_cannot_be_read_is_none() -> None:
    async with desk() as at:
        fault = Fault(kind=Kind.STATUS, status=404, times=None, path="/networking/reserved/ips/types")
        at.emulator.control.faults.active.append(fault)
        assert (await machines.offer(at.client, "us-ord", None)).address_hourly is None
