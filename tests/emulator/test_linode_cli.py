"""linode-cli, as published, against the emulator: what the issue asks for, and what natpair's users will type."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from emulator.served import Served, quick_api, served
from natpair_lab.emulator.state import Timing

REGION = ("--region", "us-east")
SIZE = ("--type", "g6-nanode-1")
IMAGE = ("--image", "linode/debian12", "--root_pass", "correct horse battery")


@dataclass(frozen=True)
class Cli:
    """linode-cli with no configuration, no defaults and no colour."""

    home: Path
    server: Served

    def run(self, *words: object) -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "LINODE_CLI_CONFIG": str(self.home / "none"),
            "LINODE_CLI_TOKEN": "any",
            "LINODE_CLI_API_HOST": self.server.host,
            "LINODE_CLI_API_SCHEME": "http",
            "LINODE_CLI_TEST_MODE": "1",
        }
        program = Path(sys.executable).with_name("linode-cli")
        argv = [str(program), "--no-defaults", "--suppress-warnings", "--json", "--no-retry", *map(str, words)]
        return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False)

    def __call__(self, *words: object) -> Any:
        done = self.run(*words)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return json.loads(done.stdout) if done.stdout.strip() else None


@pytest.fixture
def cli(api: Served, tmp_path: Path) -> Cli:
    return Cli(tmp_path, api)


@pytest.fixture
def slow_cli(tmp_path: Path) -> Iterator[Cli]:
    with served(quick_api(Timing(provision_seconds=600))) as running:
        yield Cli(tmp_path, running)


def wait_for(cli: Cli, linode: int, status: str, wait_until: Callable[..., None]) -> None:
    wait_until(lambda: cli.server.ask("GET", f"/v4/linode/instances/{linode}")[1]["status"] == status)


def test_regions_and_plans(cli: Cli) -> None:
    regions = {region["id"]: region for region in cli("regions", "list")}
    assert "Vlans" in regions["us-east"]["capabilities"]
    assert [region["id"] for region in cli("regions", "list", "--country", "no")] == ["no-osl-1"]
    plans = {plan["id"]: plan for plan in cli("linodes", "types")}
    assert plans["g6-standard-2"]["price"]["monthly"] == 24


def test_a_pair_from_nothing_to_nothing(cli: Cli, wait_until: Callable[..., None]) -> None:
    vlan = ("--interfaces.purpose", "public", "--interfaces.purpose", "vlan", "--interfaces.label", "nat-lan")
    first = cli("linodes", "create", *SIZE, *REGION, *IMAGE, "--label", "nat-a", *vlan)[0]
    second = cli("linodes", "create", *SIZE, *REGION, *IMAGE, "--label", "nat-b", *vlan)[0]
    assert first["status"] == "provisioning"
    for linode in (first, second):
        wait_for(cli, linode["id"], "running", wait_until)
    (lan,) = cli("vlans", "list")
    assert lan["label"] == "nat-lan"
    assert lan["linodes"] == [first["id"], second["id"]]
    interfaces = cli("linodes", "configs-list", first["id"])[0]["interfaces"]
    assert [one["purpose"] for one in interfaces] == ["public", "vlan"]

    fip = cli("networking", "ip-add", "--type", "ipv4", "--public", "true", "--linode_id", first["id"])[0]
    assert fip["linode_id"] == first["id"]
    cli("networking", "ip-share", "--linode_id", second["id"], "--ips", fip["address"])
    (ips,) = cli("linodes", "ips-list", second["id"])
    assert [one["address"] for one in ips["ipv4"]["shared"]] == [fip["address"]]
    assert ips["ipv4"]["shared"][0]["linode_id"] == first["id"]
    cli("networking", "ip-share", "--linode_id", second["id"], "--ips", "[]")
    assert cli("linodes", "ips-list", second["id"])[0]["ipv4"]["shared"] == []

    kind = ("--placement_group_type", "anti_affinity:local", "--placement_group_policy", "flexible")
    group = cli("placement", "group-create", "--label", "apart", *REGION, *kind)[0]
    members = [word for linode in (first, second) for word in ("--linodes", linode["id"])]
    group = cli("placement", "assign-linode", group["id"], *members)[0]
    assert [one["linode_id"] for one in group["members"]] == [first["id"], second["id"]]
    assert group["is_compliant"] is True
    cli("placement", "unassign-linode", group["id"], *members)
    cli("placement", "group-delete", group["id"])

    for linode in (first, second):
        cli("linodes", "delete", linode["id"])
    assert cli("linodes", "list") == []
    assert cli("networking", "ips-list") == []
    assert cli("vlans", "list") == []


def test_linode_interfaces(cli: Cli) -> None:
    interfaces = [
        {"public": {}, "firewall_id": -1},
        {"vlan": {"vlan_label": "nat-lan", "ipam_address": "192.168.1.2/24"}},
    ]
    generation = ("--interface_generation", "linode", "--network_helper", "false")
    linode = cli("linodes", "create", *SIZE, *REGION, *IMAGE, *generation, "--interfaces", json.dumps(interfaces))[0]
    assert linode["interface_generation"] == "linode"
    listed = [row["interfaces"] for row in cli("linodes", "interfaces-list", linode["id"])]
    assert listed[0]["default_route"]["ipv4"] is True
    settings = cli("linodes", "interfaces-settings-list", linode["id"])[0]
    assert settings["network_helper"] is False
    assert settings["default_route"]["ipv4_interface_id"] == listed[0]["id"]


def test_maintenance_and_events(cli: Cli, wait_until: Callable[..., None]) -> None:
    linode = cli("linodes", "create", *SIZE, *REGION, *IMAGE, "--label", "nat-a")[0]
    assert cli("account", "maintenance-list") == []
    cli.server.ask("POST", "/_emulator/maintenance", {"linode_id": linode["id"], "when": 3600, "type": "reboot"})
    (entry,) = cli("account", "maintenance-list")
    assert entry["entity"]["label"] == "nat-a"
    assert entry["type"] == "reboot"
    wait_for(cli, linode["id"], "running", wait_until)
    done = {event["action"]: event["status"] for event in cli("events", "list", "--entity.id", linode["id"])}
    assert done == {"linode_create": "finished", "linode_boot": "finished"}


def test_firewalls(cli: Cli) -> None:
    rule = {"protocol": "TCP", "ports": "22", "action": "ACCEPT", "addresses": {"ipv4": ["198.51.100.0/24"]}}
    policy = ("--rules.inbound_policy", "DROP", "--rules.outbound_policy", "ACCEPT")
    wall = cli("firewalls", "create", "--label", "wall", *policy, "--rules.inbound", json.dumps([rule]))[0]
    linode = cli("linodes", "create", *SIZE, *REGION)[0]
    cli("firewalls", "device-create", wall["id"], "--id", linode["id"], "--type", "linode")
    (device,) = cli("firewalls", "devices-list", wall["id"])
    assert device["entity"]["id"] == linode["id"]
    vrrp = json.dumps([rule | {"protocol": "VRRP"}])
    refused = cli.run("firewalls", "rules-update", wall["id"], "--inbound", vrrp)
    assert refused.returncode != 0
    assert "400" in refused.stderr


def test_errors_are_told_as_linodes(slow_cli: Cli) -> None:
    missing = slow_cli.run("linodes", "view", "1")
    assert missing.returncode != 0
    assert "404" in missing.stderr
    assert "Not found" in missing.stderr
    linode = slow_cli("linodes", "create", *SIZE, *REGION, *IMAGE)[0]
    busy = slow_cli.run("linodes", "delete", linode["id"])
    assert busy.returncode != 0
    assert "Linode busy." in busy.stderr
    slow_cli.server.fault(kind="scope", path="/networking/*")
    unfit = slow_cli.run("networking", "ip-share", "--linode_id", linode["id"], "--ips", "[]")
    assert "401" in unfit.stderr
    assert "not authorized to use this endpoint" in unfit.stderr
