"""`natpair client-config`: one file on stdout when one is asked for, everything else beside it, and clear refusals."""

from __future__ import annotations

import json

import pytest
import yaml

from commands import complaints
from natpair.cli.main import EX_USAGE, run
from samples import EXAMPLE

FILE = str(EXAMPLE)


def ask(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, str, str]:
    code = run(["client-config", FILE, *options])
    told = capsys.readouterr()
    return code, told.out, told.err


def test_stdout_is_the_file_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = ask(capsys, "--os", "netplan", "--address", "192.168.1.10")
    assert code == 0
    assert yaml.safe_load(out)["network"]["ethernets"]["eth0"]["addresses"] == ["192.168.1.10/24"]
    assert "DNS" in err


def test_without_an_address_it_says_that_it_made_one_up(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = ask(capsys)
    assert code == 0
    assert "192.168.1.2/24 is only an example" in err
    for word in ("### netplan", "### networkd", "### ifupdown", "### commands", "Network Helper", "--check"):
        assert word in out


def test_the_document_has_all_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = ask(capsys, "--json", "--address", "192.168.1.10/24", "--interface", "ens5", "--dns", "192.0.2.53")
    document = json.loads(out)
    assert complaints(document) == []
    assert (code, document["schema"]) == (0, "natpair/client-config/v1")
    assert (document["gateway"], document["address"], document["mtu"]) == ("192.168.1.1", "192.168.1.10/24", 1500)
    assert [file["manager"] for file in document["files"]] == ["netplan", "networkd", "ifupdown", "commands"]
    assert all("ens5" in file["text"] for file in document["files"])
    assert document["check"].startswith("#!/bin/sh")


def test_the_check_alone(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = ask(capsys, "--check", "--address", "192.168.1.10")
    assert (code, out.splitlines()[0]) == (0, "#!/bin/sh")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--address", "192.168.1.1"), "is the VIP"),
        (("--address", "192.168.1.4"), "is the address of nat-b"),
        (("--address", "10.0.0.1"), "is not in the VIP's subnet 192.168.1.0/24"),
        (("--address", "nonsense"), "'nonsense' is not an IPv4 address"),
        (("--interface", "eth0; reboot"), "is not a valid interface name"),
        (("--dns", "resolver.example.org"), "expected an IPv4 address"),
        (("--os", "wicked"), "'netplan', 'networkd', 'ifupdown', 'commands'"),
    ],
)
def test_what_cannot_be_is_refused(capsys: pytest.CaptureFixture[str], options: tuple[str, ...], said: str) -> None:
    code, out, err = ask(capsys, *options)
    assert (code, out) == (EX_USAGE, "")
    assert said in err
