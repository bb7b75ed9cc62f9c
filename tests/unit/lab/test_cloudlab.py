"""An emulated account beside a lab: what it holds, what must agree, what the switch lets pass, who serves it."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface
from pathlib import Path

import pytest

from natpair.core.model import Gateway
from natpair.errors import LabError
from natpair_lab.emulator.api import Api, Request
from natpair_lab.emulator.state import Timing
from natpair_lab.emulator.world import LinodeView, Port
from natpair_lab.testbed import account, agreement, apirecord, topology
from natpair_lab.testbed.switches import Allowed, sources
from unit.lab.conftest import FIP

VIEW = LinodeView(
    id=1,
    label="nat-a",
    region="us-ord",
    type="g6-nanode-1",
    image="linode/debian12",
    ports=(Port("eth0", "22:00:00:00:00:01", None), Port("eth1", "22:00:00:00:00:02", "lan", "192.168.1.3/24")),
    public_ipv4=(IPv4Interface("203.0.113.3/24"), IPv4Interface("192.0.2.221/24")),
    private_ipv4=(),
    slaac=IPv6Interface("2001:db8:100::3/64"),
    dhcp=IPv4Interface("192.0.2.221/24"),
    user_data=b"",
    network_helper=False,
)


def test_a_linode_that_is_what_its_configuration_says(gateway: Gateway):
    agreement.require(VIEW, gateway, "nat-a")
    agreement.require(replace(VIEW, ports=(VIEW.ports[0], replace(VIEW.ports[1], ipam=""))), gateway, "nat-a")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"public_ipv4": ()}, "public_address is 203.0.113.3/24, the Linode has none"),
        ({"public_ipv4": (IPv4Interface("203.0.113.9/24"),)}, "the Linode has 203.0.113.9/24"),
        ({"slaac": IPv6Interface("2001:db8::9/64")}, "SLAAC address is 2001:db8::9/64"),
        ({"region": "us-east"}, "bgp.region is us-ord, the Linode is in us-east"),
        ({"network_helper": True}, "Network Helper is on"),
        ({"ports": VIEW.ports[:1]}, "no interface for private_interface eth1"),
        ({"ports": VIEW.ports[1:]}, "no interface for public_interface eth0"),
        (
            {"ports": (Port("eth0", "", "lan"), Port("eth1", "", None))},
            "public_interface is eth0, the Linode's is eth1",
        ),
        ({"ports": (VIEW.ports[0], replace(VIEW.ports[1], ipam="192.168.1.9/24"))}, "says 192.168.1.9/24"),
    ],
)
def test_each_disagreement_is_told(gateway: Gateway, change: dict[str, object], reason: str):
    with pytest.raises(LabError) as refused:
        agreement.require(replace(VIEW, **change), gateway, "nat-a")  # type: ignore[arg-type] # fields of the view
    assert reason in refused.value.message


def test_a_network_without_the_platforms_router_is_told(gateway: Gateway):
    first, second = gateway.node
    narrow = first.model_copy(update={"public_address": IPv4Interface("203.0.113.3/31")})
    with pytest.raises(LabError, match=r"default gateway 203\.0\.113\.1 is not in the network"):
        agreement.require(VIEW, gateway.model_copy(update={"node": (narrow, second)}), "nat-a")


def test_an_account_can_hold_a_pair_that_is_there(gateway: Gateway):
    store, machines = account.holding(gateway, topology.build(gateway), Timing())
    for machine in machines.values():
        assert machine.view is not None
        agreement.require(machine.view, gateway, machine.node)
    first, second = machines
    assert [(one.address, one.owner_id, one.receivers) for one in store.share_table()] == [(FIP, first, (second,))]
    assert (store.pending, store.notices) == ([], [])
    headers = {"Authorization": "Bearer any"}
    listed = json.loads(Api(store).answer(Request("GET", "/linode/instances", {}, headers), 0.0).body)["data"]
    assert [(one["label"], one["status"], one["ipv4"]) for one in listed] == [
        ("nat-a", "running", ["203.0.113.3", "192.0.2.221"]),
        ("nat-b", "running", ["203.0.113.4"]),
    ]


def test_an_accounts_addresses_are_none_of_the_labs_internet():
    store = account.empty(Timing())
    assert not any(pool.overlaps(topology.INTERNET_NETWORK) for pool in store.policy.public_pools)
    elsewhere = account.empty(Timing(), IPv4Network("203.0.113.0/24"))
    assert not any(pool.overlaps(IPv4Network("203.0.113.0/24")) for pool in elsewhere.policy.public_pools)


def test_the_api_is_beside_the_internet_hosts(gateway: Gateway):
    plan = topology.build(gateway)
    assert str(plan.api) == "198.51.100.20/24"
    assert plan.api not in (*plan.internet, plan.internet_gateway)


def test_a_world_without_nodes_keeps_everything_else(gateway: Gateway):
    plan = topology.build(gateway)
    bare = plan.without_nodes()
    assert {host.name for host in plan.hosts} - {host.name for host in bare.hosts} == {"nat-a", "nat-b"}
    assert len(plan.links) - len(bare.links) == 4


def test_ports_pass_their_own_addresses_only():
    text = sources({"nat-a": Allowed([FIP, IPv4Address("203.0.113.3"), FIP], IPv6Address("2001:db8::3"))})
    assert 'iifname "nat-a" ip saddr != { 192.0.2.221, 203.0.113.3 } counter drop' in text
    assert "drop" not in sources({})


def test_the_record_of_a_server_tells_whether_it_lives(tmp_path: Path):
    assert apirecord.read(tmp_path) is None
    apirecord.write(tmp_path, "http://127.0.0.1:1", "http://198.51.100.20")
    found = apirecord.read(tmp_path)
    assert found is not None
    assert (found.alive, found.process.pid) == (True, os.getpid())
    apirecord.stop(tmp_path)  # never the process that asks
    stranger = replace(found, process=replace(found.process, started=found.process.started + 1))
    assert not stranger.alive
    apirecord.forget(tmp_path)
    assert apirecord.read(tmp_path) is None


@pytest.mark.parametrize("deaf", [False, True])
def test_a_server_is_ended_in_an_orderly_way_or_by_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deaf: bool):
    monkeypatch.setattr(apirecord, "_END_SECONDS", 0.3)
    script = ("trap '' TERM; " if deaf else "") + "echo up; exec sleep 30"
    with subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        started = apirecord.start_time(process.pid)
        document = {"pid": process.pid, "started": started, "url": "u", "inside": "i"}
        (tmp_path / apirecord.FILE).write_text(json.dumps(document))
        apirecord.stop(tmp_path)
        assert process.wait(timeout=5) == (-9 if deaf else -15)
