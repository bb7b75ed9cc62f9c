"""User data as cloud-init would take it apart, and the script in it as a shell would."""

from __future__ import annotations

import base64
import gzip
import json
import random
import subprocess
import sys
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import pytest
import yaml

from natpair.cloud.network import Uplink
from natpair.cloud.userdata import INSTALLER, MOST_BYTES, NETWORK_SCRIPT, install_script, network_script, node_user_data
from natpair.config.load import parse
from natpair.errors import ConfigError
from natpair.probe import machines
from samples import text_with

SOURCE = "https://files.example.org/natpair-0.1.0-py3-none-any.whl"
INSTALL = f'\n[install]\nsource = "{SOURCE}"\n'
UPLINK = Uplink(IPv4Address("203.0.113.1"), (IPv4Address("192.0.2.10"), IPv6Address("2001:db8:53::10")))
SHELLCHECK = Path(sys.executable).with_name("shellcheck")


def made(text: str = "", node: int = 0) -> bytes:
    text = text or text_with(extra=INSTALL)
    gateway = parse(text)
    return node_user_data(gateway, text, "secret\n", gateway.node[node], UPLINK)


def document(data: bytes) -> dict[str, Any]:
    first, _, rest = data.decode().partition("\n")
    assert first == "#cloud-config"
    read: dict[str, Any] = json.loads(rest)
    assert yaml.safe_load(data) == read
    return read


def content(data: bytes, path: str) -> str:
    (entry,) = [one for one in document(data)["write_files"] if one["path"] == path]
    if entry.get("encoding") == "gz+b64":
        return gzip.decompress(base64.b64decode(entry["content"])).decode()
    assert "encoding" not in entry
    return str(entry["content"])


def test_it_is_json_and_yaml_and_short() -> None:
    data = made()
    assert document(data)["hostname"] == "nat-a"
    assert len(data) <= MOST_BYTES
    assert data == made()


def test_every_file_is_for_root_alone_and_in_its_place() -> None:
    written = document(made())["write_files"]
    assert {one["permissions"] for one in written} == {"0600"}
    assert all(one["path"].startswith(("/etc/", "/var/lib/")) for one in written)
    assert content(made(), "/etc/natpair/pair.key") == "secret\n"


def test_both_nodes_get_the_same_configuration_to_the_letter() -> None:
    text = text_with(extra=INSTALL)
    path = "/etc/natpair/gateway.toml"
    assert content(made(node=0), path) == content(made(node=1), path) == text


def test_the_script_is_run_with_what_it_needs() -> None:
    digest = "0" * 64
    data = made(text_with(extra=INSTALL + f'sha256 = "{digest}"\n'), node=1)
    assert document(data)["runcmd"] == [["sh", INSTALLER, "nat-b", SOURCE, digest]]
    assert content(data, INSTALLER) == install_script()
    assert content(data, NETWORK_SCRIPT) == network_script()


def test_the_network_is_the_platforms() -> None:
    public = content(made(), "/etc/systemd/network/00-natpair-eth0.network").splitlines()
    for line in ("Name=eth0", "Address=203.0.113.3/24", "Gateway=203.0.113.1", "DNS=192.0.2.10", "IPv6AcceptRA=yes"):
        assert line in public
    private = content(made(node=1), "/etc/systemd/network/00-natpair-eth1.network").splitlines()
    assert "Address=192.168.1.4/24" in private
    assert not any(line.startswith(("Gateway=", "DNS=")) for line in private)
    assert "192.0.2.221" not in "\n".join(public + private), "a FIP is never a local address"


def test_a_configuration_that_does_not_fit_is_refused() -> None:
    chance = random.Random(1)  # noqa: S311 - text that does not pack
    comment = "".join(f"# {chance.getrandbits(400):x}\n" for _ in range(200))
    with pytest.raises(ConfigError) as caught:
        made(text_with(extra=INSTALL + comment))
    assert "16383" in caught.value.problems[0].message


def test_nothing_is_made_without_a_source() -> None:
    with pytest.raises(ConfigError) as caught:
        made(text_with())
    assert caught.value.problems[0].key == "install.source"


@pytest.mark.parametrize("argv", [[SHELLCHECK, "-"], ["sh", "-n"], ["bash", "-n"]], ids=["shellcheck", "sh", "bash"])
def test_shells_take_the_scripts(argv: list[str]) -> None:
    for script in (install_script(), network_script(), machines.INSTALL):
        good = subprocess.run(argv, input=script, capture_output=True, text=True, timeout=60, check=False)
        assert good.returncode == 0, good.stdout + good.stderr
    broken = install_script().replace("retry() {", "retry() {{ if $unquoted; then")
    assert subprocess.run(argv, input=broken, capture_output=True, text=True, timeout=60, check=False).returncode != 0
