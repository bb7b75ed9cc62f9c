"""What `natpair client-config` prints, before the programs that read it: networkd, and netplan and ifupdown if there.

netplan and ifupdown are fetched for this, without being installed, by scripts/client-config-checks.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

import pytest

from checks.scratch import Scratch, scratch_node
from golden.cases import CASES
from natpair.render.client import Client, Manager, client_file
from natpair_lab.testbed.wait import wait_until
from samples import gateway

NETWORKD = "/lib/systemd/systemd-networkd"
CLIENT = Client(IPv4Interface("192.168.1.10/24"), "eth1", (IPv4Address("192.0.2.53"),))


def text(manager: Manager) -> str:
    return client_file(gateway(), CLIENT, manager).text


@pytest.fixture
def machine() -> Iterator[Scratch]:
    with scratch_node(CASES[0].gateway().node[0]) as scratch:
        scratch.run("mkdir", "-p", "/run/systemd/netif/links", "/run/systemd/netif/leases")
        scratch.run("chown", "-R", "systemd-network", "/run/systemd/netif")
        scratch.run("ip", "address", "flush", "dev", "eth1")
        # With a /sys to write to networkd waits for udev, which knows nothing of these namespaces.
        scratch.run("mount", "-o", "bind,remount,ro", "/sys")
        yield scratch


@contextmanager
def networkd(machine: Scratch) -> Iterator[Path]:
    """The daemon, and the file with what it says."""
    words = ["env", "SYSTEMD_LOG_TARGET=console", "SYSTEMD_LOG_LEVEL=info", NETWORKD]
    log = Path(f"/tmp/natpair-networkd-{machine.pid}.log")
    try:
        with log.open("w") as output:
            daemon = subprocess.Popen(machine.argv(words), stdout=output, stderr=subprocess.STDOUT)
        try:
            yield log
        finally:
            daemon.terminate()
            daemon.wait(timeout=10)
    finally:
        log.unlink()


@pytest.mark.root
@pytest.mark.needs(NETWORKD)
def test_networkd_makes_it_so(machine: Scratch) -> None:
    machine.write(client_file(gateway(), CLIENT, Manager.NETWORKD).path, text(Manager.NETWORKD))
    with networkd(machine) as log:
        wait_until(
            lambda: "default via 192.168.1.1 dev eth1" in machine.run("ip", "-4", "route", "show", "default").stdout,
            deadline_seconds=15,
            what="the default route",
            diagnose=log.read_text,
        )
        assert "192.168.1.10/24" in machine.run("ip", "-4", "address", "show", "dev", "eth1").stdout
        assert "10-natpair.network:" not in log.read_text(), "a complaint about a line of it"


@pytest.mark.root
@pytest.mark.needs(NETWORKD)
def test_networkd_says_no(machine: Scratch) -> None:
    path = client_file(gateway(), CLIENT, Manager.NETWORKD).path
    machine.write(path, text(Manager.NETWORKD).replace("Gateway=", "Gatewy="))
    with networkd(machine) as log:
        wait_until(
            lambda: "Gatewy" in log.read_text(), deadline_seconds=15, what="the complaint", diagnose=log.read_text
        )


@pytest.mark.needs("netplan-generate")
@pytest.mark.parametrize(("old", "new", "good"), [("", "", True), ("via:", "vai:", False)])
def test_netplan_reads_it(tmp_path: Path, old: str, new: str, good: bool) -> None:
    (tmp_path / "etc/netplan").mkdir(parents=True)
    file = tmp_path / "etc/netplan/60-natpair.yaml"
    file.write_text(text(Manager.NETPLAN).replace(old, new))
    file.chmod(0o600)
    done = subprocess.run(["netplan-generate", "--root-dir", tmp_path], capture_output=True, text=True, check=False)
    assert (done.returncode == 0) is good, done.stderr
    made = [path.read_text() for path in tmp_path.glob("run/systemd/network/*.network")]
    assert bool(made) is good
    if good:
        assert done.stderr == ""
        for line in ("Address=192.168.1.10/24", "Gateway=192.168.1.1", "DNS=192.0.2.53", "MTUBytes=1500"):
            assert line in made[0]


@pytest.mark.needs("ifup-unpacked")
@pytest.mark.parametrize(("old", "new", "good"), [("", "", True), ("static", "statically", False)])
def test_ifupdown_reads_it(tmp_path: Path, old: str, new: str, good: bool) -> None:
    file = tmp_path / "interfaces"
    file.write_text(text(Manager.IFUPDOWN).replace(old, new))
    words = ["ifup-unpacked", "--no-act", "--force", "-i", str(file), "--state-dir", str(tmp_path), "eth1"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    commands = done.stdout + done.stderr
    asked = "ip addr add 192.168.1.10/" in commands and "ip route add default via 192.168.1.1" in commands
    assert asked is good, commands
