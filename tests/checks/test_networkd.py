"""The network files of a new node, read by the real systemd-networkd in namespaces of its own."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest

from checks.scratch import Scratch, scratch_node
from golden.cases import CASES
from natpair.cloud.network import Uplink, network_files

NETWORKD = "/lib/systemd/systemd-networkd"
pytestmark = [pytest.mark.root, pytest.mark.needs(NETWORKD)]


@pytest.fixture
def machine() -> Iterator[Scratch]:
    node = CASES[0].gateway().node[0]
    with scratch_node(node) as scratch:
        scratch.run("mkdir", "-p", "/run/systemd/netif/links", "/run/systemd/netif/leases")
        scratch.run("chown", "-R", "systemd-network", "/run/systemd/netif")
        for file in network_files(node, Uplink(IPv4Address("203.0.113.1"), (IPv4Address("192.0.2.10"),))):
            if file.path.startswith("/etc/systemd"):
                scratch.write(file.path, file.text)
        yield scratch


def complaints(machine: Scratch) -> list[str]:
    """What networkd says of its files until it has looked at all links."""
    argv = machine.argv(["env", "SYSTEMD_LOG_TARGET=console", "SYSTEMD_LOG_LEVEL=info", NETWORKD])
    daemon = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert daemon.stdout is not None
    deadline, said = time.monotonic() + 20, []
    for line in daemon.stdout:
        said.append(line.strip())
        if "Enumeration completed" in line or time.monotonic() > deadline:
            break
    daemon.terminate()
    daemon.communicate(timeout=10)
    assert "Enumeration completed" in said[-1], said
    return [line for line in said if "/etc/systemd" in line]


def test_networkd_knows_every_word(machine: Scratch) -> None:
    assert complaints(machine) == []


def test_networkd_names_a_word_it_does_not_know(machine: Scratch) -> None:
    machine.write(
        "/etc/systemd/network/00-natpair-eth1.network", "[Match]\nName=eth1\n[Network]\nAddres=192.168.1.3/24\n"
    )
    assert "Addres" in "\n".join(complaints(machine))
