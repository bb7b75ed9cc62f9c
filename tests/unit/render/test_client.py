"""What a private instance is given: the same address, route, MTU and resolvers everywhere, nothing impossible."""

from __future__ import annotations

import configparser
import subprocess
import sys
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

import pytest
import yaml

from natpair.render.client import (
    MTU,
    Client,
    Manager,
    check_script,
    client_file,
    free_address,
    makes_it_so,
    remarks,
    unusable,
)
from samples import gateway

RESOLVERS = (IPv4Address("192.0.2.53"), IPv4Address("192.0.2.54"))
CLIENT = Client(IPv4Interface("192.168.1.10/24"), "eth1", RESOLVERS)
BARE = Client(IPv4Interface("192.168.1.10/24"), "eth1")


def text(manager: Manager, client: Client = CLIENT) -> str:
    return client_file(gateway(), client, manager).text


def test_netplan_says_address_route_mtu_and_resolvers() -> None:
    """Read by a YAML parser; netplan's own reads it in tests/checks, where it is at hand."""
    (interface,) = yaml.safe_load(text(Manager.NETPLAN))["network"]["ethernets"].items()
    assert interface == (
        "eth1",
        {
            "dhcp4": False,
            "dhcp6": False,
            "accept-ra": False,
            "mtu": MTU,
            "addresses": ["192.168.1.10/24"],
            "routes": [{"to": "0.0.0.0/0", "via": "192.168.1.1"}],
            "nameservers": {"addresses": ["192.0.2.53", "192.0.2.54"]},
        },
    )
    assert "nameservers" not in text(Manager.NETPLAN, BARE)


def test_networkd_says_the_same() -> None:
    read = configparser.ConfigParser(strict=True)
    read.optionxform = str  # type: ignore[assignment,method-assign]  # networkd's keys have capitals
    read.read_string(text(Manager.NETWORKD, BARE))
    assert dict(read["Match"]) == {"Name": "eth1"}
    assert read["Link"]["MTUBytes"] == str(MTU)
    assert (read["Network"]["Address"], read["Network"]["Gateway"]) == ("192.168.1.10/24", "192.168.1.1")
    assert text(Manager.NETWORKD).splitlines()[-2:] == ["DNS=192.0.2.53", "DNS=192.0.2.54"]


def test_ifupdown_says_the_same() -> None:
    lines = [line.strip() for line in text(Manager.IFUPDOWN).splitlines() if not line.startswith("#")]
    assert lines == [
        "auto eth1",
        "iface eth1 inet static",
        "address 192.168.1.10/24",
        "gateway 192.168.1.1",
        f"mtu {MTU}",
        "dns-nameservers 192.0.2.53 192.0.2.54",
    ]
    assert "dns" not in text(Manager.IFUPDOWN, BARE)


@pytest.mark.parametrize("manager", Manager)
def test_each_file_has_a_place_and_a_way_to_make_it_so(manager: Manager) -> None:
    file = client_file(gateway(), CLIENT, manager)
    if manager is Manager.COMMANDS:
        assert (file.path, makes_it_so(CLIENT, manager)) == ("", "")
    else:
        assert file.path.startswith("/etc/")
        assert makes_it_so(CLIENT, manager).split()[0] in {"netplan", "networkctl", "ifup"}
    assert file.mode == (0o600 if manager is Manager.NETPLAN else 0o644)


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("192.168.1.10/24", ""),
        ("192.168.2.10/24", "not in the VIP's subnet"),
        ("192.168.1.10/25", "not in the VIP's subnet"),
        ("192.168.1.0/24", "network or broadcast"),
        ("192.168.1.255/24", "network or broadcast"),
        ("192.168.1.1/24", "is the VIP"),
        ("192.168.1.3/24", "is the address of nat-a"),
        ("192.168.1.4/24", "is the address of nat-b"),
    ],
)
def test_which_addresses_an_instance_may_have(address: str, reason: str) -> None:
    told = unusable(gateway(), IPv4Interface(address))
    assert reason in told
    assert bool(told) is bool(reason)


def test_the_example_address_is_one_that_may_be_used() -> None:
    assert free_address(gateway()) == IPv4Interface("192.168.1.2/24")
    tight = gateway(("192.168.1.4/24", "192.168.1.2/24"))
    assert free_address(tight) == IPv4Interface("192.168.1.4/24")


def test_what_no_file_can_say_is_said() -> None:
    told = " ".join(remarks(gateway(), BARE))
    assert "192.0.2.221" in told
    assert "DNS" in told
    assert "Network Helper" in told
    assert "DNS" not in " ".join(remarks(gateway(), CLIENT))
    two = gateway(('fips = ["192.0.2.221"]', 'fips = ["192.0.2.221", "192.0.2.222"]'))
    assert "one of 192.0.2.221, 192.0.2.222" in " ".join(remarks(two, CLIENT))


def test_the_check_is_a_good_script() -> None:
    shellcheck = Path(sys.executable).with_name("shellcheck")
    script = check_script(gateway(), CLIENT)
    done = subprocess.run([shellcheck, "-"], input=script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_check_says_no_on_a_machine_that_is_not_set_up() -> None:
    script = check_script(gateway(), Client(IPv4Interface("192.168.1.10/24"), "none0"))
    done = subprocess.run(["sh"], input=script, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout.count("WRONG") >= 3
    assert "none0 does not have the address 192.168.1.10" in done.stdout
