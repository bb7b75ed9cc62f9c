"""Linodes that really boot: an emulated account whose machines are nodes of a lab, with the real daemons.

The pair comes from `natpair cloud apply`, and where a test needs one of its own, from Linode's Python SDK.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud.accounts import TEXT
from lab.provisioning import NATPAIR, Account, Pair, config_of, provision, serving, user_data
from natpair.config.load import parse
from natpair.core import paths
from natpair_lab.testbed.host import program
from natpair_lab.testbed.report import look
from natpair_lab.testbed.userdata import PROBE
from natpair_lab.testbed.wait import wait_until
from natpair_lab.testbed.world import Lab

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

NAME = f"tc{os.getpid()}"
PING = program("natpair_lab.testbed.ping", 1)
SERVER = """
import socket
listener = socket.create_server(("198.51.100.10", 7))
print("up", flush=True)
while True:
    line, (address, _) = listener.accept()
    line.sendall(address.encode())
    line.close()
"""
CLIENT = "import socket; print(socket.create_connection(('198.51.100.10', 7), 2).recv(99).decode(), end='')"
WANTED = TEXT + '\n[linode]\napi_url = "{url}/v4"\n'


@pytest.fixture(scope="module")
def account() -> Iterator[Account]:
    with serving(NAME) as served:
        yield served


@pytest.fixture(scope="module")
def folder(account: Account, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the operator's gateway.toml is."""
    made = tmp_path_factory.mktemp("operator")
    (made / "gateway.toml").write_text(WANTED.format(url=account.url))
    return made


def cloud(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"LINODE_TOKEN": "any"}
    argv = [*NATPAIR, "cloud", *words, "gateway.toml"]
    return subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def pair(account: Account, folder: Path) -> Pair:
    """What `natpair cloud apply` made of an empty account."""
    done = cloud(folder, "apply", "--yes", "--every", "0.1")
    assert done.returncode == 0, done.stderr
    config = (folder / "gateway.toml").read_text()
    made = sorted(account.client.linode.instances(), key=lambda one: str(one.label))
    return Pair(account, *made, str(parse(config).pair.fips[0]), config)


@pytest.fixture(scope="module")
def lab(pair: Pair) -> Iterator[Lab]:
    found = Lab.attach(NAME)
    found.wait_ready()
    serving = found.popen("internet", [sys.executable, "-I", "-S", "-c", SERVER], stdout=subprocess.PIPE)
    assert serving.stdout is not None
    assert serving.stdout.readline() == b"up\n"
    yield found
    serving.kill()
    serving.communicate()


def source_seen(lab: Lab) -> str:
    """The address under which a client reaches the internet host; nothing if it does not."""
    return lab.exec("client-1", [sys.executable, "-I", "-S", "-c", CLIENT], check=False).stdout


def status(*words: str) -> subprocess.CompletedProcess[str]:
    argv = [*NATPAIR, "lab", "status", "--name", NAME, *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)


def test_an_account_without_machines_is_told(account: Account):
    shown = status()
    assert shown.returncode == 0
    assert account.url in shown.stdout
    refused = subprocess.run([*NATPAIR, "lab", "up", "--name", NAME], capture_output=True, text=True, check=False)
    assert refused.returncode == 73
    assert "with an emulated account" in refused.stderr


def test_an_empty_account_becomes_a_pair(pair: Pair, lab: Lab, folder: Path):
    assert "nothing to do" in cloud(folder, "apply", "--yes").stdout
    assert source_seen(lab) == pair.fip
    assert [one.status for one in (pair.first, pair.second)] == ["running", "running"]
    assert lab.shares() == {pair.fip: ("nat-a", "nat-b")}
    assert lab.exec("nat-b", ["hostname"]).stdout == "nat-b\n"
    assert lab.exec("nat-b", ["stat", "-c", "%a", "/etc/natpair/pair.key"]).stdout == "600\n"
    inside = "import urllib.request; print(urllib.request.urlopen('http://198.51.100.20/v4/regions').status)"
    assert lab.exec("nat-b", [sys.executable, "-c", inside]).stdout == "200\n"
    assert f"emulated Linode account: {pair.account.url}/v4" in status().stdout


def sessions(lab: Lab, node: str) -> int:
    shown = lab.exec(node, ["birdc", "-s", paths.BIRD_CTL, "show", "protocols"]).stdout
    return shown.count("Established")


def test_without_a_share_no_route_and_no_session(pair: Pair, lab: Lab):
    networking = pair.account.client.networking
    networking.ip_addresses_share([], pair.second)
    wait_until(lambda: lab.best_path() == (), deadline_seconds=3, what="the end of the route")
    assert source_seen(lab) == ""
    wait_until(
        lambda: [sessions(lab, node) for node in lab.nodes] == [0, 0], deadline_seconds=15, what="the end of BGP"
    )
    networking.ip_addresses_share([pair.fip], pair.second)
    wait_until(lambda: len(lab.best_path()) == 1, deadline_seconds=15, what="the return of the route")
    lab.wait_ready()
    assert source_seen(lab) == pair.fip


FORGE = """
import socket, sys
interface, source = sys.argv[1:]
line = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
line.setsockopt(263, 20, 1)  # PACKET_QDISC_BYPASS: past the node's own guards
line.bind((interface, 0))
packet = bytes.fromhex("4500001c000000004011") + bytes(2) + socket.inet_aton(source) + bytes(4) + bytes(8)
line.send(b"\\xff" * 6 + line.getsockname()[4] + b"\\x08\\x00" + packet)
"""


def test_a_port_lets_no_foreign_source_out(lab: Lab):
    node = lab.gateway.node_named("nat-b")

    def dropped() -> int:
        shown = lab_nft(lab, "list", "table", "bridge", "natpair_ports")
        words = next(line for line in shown.splitlines() if 'iifname "nat-b" ip saddr' in line).split()
        return int(words[words.index("packets") + 1])

    def send(source: object) -> None:
        lab.exec("nat-b", [sys.executable, "-I", "-S", "-c", FORGE, node.public_interface, str(source)])

    before = dropped()
    send(node.public_address.ip)
    send(lab.gateway.pair.fips[0])
    assert dropped() == before
    send(node.public_address.ip + 99)
    assert dropped() == before + 1


def lab_nft(lab: Lab, *words: str) -> str:
    argv = ["ip", "netns", "exec", lab.switch_netns("public"), "nft", *words]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def test_the_api_shuts_down_in_an_orderly_way_and_boots_from_the_same_disk(pair: Pair, lab: Lab):
    active, standby = lab.wait_ready()
    linode = pair.first if active == "nat-a" else pair.second
    lab.exec(active, ["sh", "-c", "echo kept > /var/lib/natpair/disk"])
    linode.shutdown()
    pair.account.settle(linode)
    assert linode.status == "offline"
    assert not lab.powered(active)
    wait_until(lambda: lab.best_path() == (standby,), deadline_seconds=5, what="the other path")
    log = (lab.folder / "nodes" / active / "log" / "natpair-keepalived.log").read_text()
    assert "ended with status 0" in log.splitlines()[-1], "it was asked to stop, not killed"
    linode.boot()
    pair.account.settle(linode)
    assert lab.exec(active, ["cat", "/var/lib/natpair/disk"]).stdout == "kept\n"
    assert lab.wait_ready() == (standby, active)


def test_after_a_power_cut_clients_still_leave_by_the_floating_address(pair: Pair, lab: Lab):
    active, standby = lab.wait_ready()
    lab.power_cut(active)
    wait_until(lambda: source_seen(lab) == pair.fip, deadline_seconds=15, what="the takeover")
    assert lab.best_path() == (standby,)
    lab.boot(active)
    assert lab.wait_ready() == (standby, active)


def test_a_rebuild_makes_a_new_disk(pair: Pair, lab: Lab, folder: Path):
    _, standby = lab.wait_ready()
    linode = pair.first if standby == "nat-a" else pair.second
    lab.exec(standby, ["sh", "-c", "echo lost > /var/lib/natpair/disk"])
    pair.account.rebuild(linode, user_data(standby, pair.config, (folder / "pair.key").read_text()))
    assert linode.status == "running"
    assert lab.exec(standby, ["test", "-e", "/var/lib/natpair/disk"], check=False).returncode == 1
    lab.wait_ready()


def test_a_linode_that_is_not_what_its_configuration_says_does_not_boot(pair: Pair, lab: Lab):
    wrong = pair.account.create("stranger", "192.168.1.9/24", vlan="elsewhere")
    other = config_of(wrong, pair.second, pair.fip).replace("nat-a", "nat-c")
    for config, name, reason in (
        (pair.config, "nat-a", "public_address is"),
        (other, "nat-c", "private_address is 192.168.1.3/24, the VLAN interface says 192.168.1.9/24"),
        (other.replace("1.3/24", "1.9/24"), "nat-c", "is on the VLAN elsewhere"),
        (other, "nat-x", "hostname is nat-x, which is no node"),
        ("[pair]\n", "nat-c", "cannot be used: "),
    ):
        pair.account.rebuild(wrong, user_data(name, config))
        assert wrong.status == "offline"
        assert reason in pair.account.why(wrong)
    wrong.delete()
    assert lab.wait_ready()


def test_destroying_removes_the_lab_and_leaves_the_account_empty(pair: Pair, lab: Lab, folder: Path):
    assert cloud(folder, "destroy", "--yes").returncode == 0
    wait_until(lambda: not list(Path("/run/netns").glob(f"np-{NAME}-*")), deadline_seconds=20, what="the lab's end")
    state = pair.account.control("GET", "/state")
    assert isinstance(state, dict)
    assert (state["linodes"], state["addresses"], state["shares"]) == ([], 0, {})
    assert "no node yet" in status().stdout


@pytest.mark.parametrize(("number", "path"), [(signal.SIGINT, PROBE), (signal.SIGKILL, paths.CONFIG)])
def test_the_end_of_the_api_is_the_end_of_its_lab(number: signal.Signals, path: str):
    """By Linode's own client, and in passing: a machine with probe.toml is there and runs nothing."""
    name = f"{NAME}{number.name[3]}"
    argv = [*NATPAIR, "lab", "api", "--lab", name, "--port", "0", "--seconds", "0.1"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip().removesuffix("/v4")
        provision(Account(url), path)
        found = Lab.attach(name)
        assert found.services("nat-a")["services"] == [] if path == PROBE else found.wait_ready()
        assert look(found).fips[0].shared_to == ("nat-a", "nat-b")
        assert pings(found, "nat-a", "192.168.1.4")
        assert pings(found, "nat-b", "198.51.100.10")
        process.send_signal(number)
        process.communicate(timeout=30)
    if number is signal.SIGKILL:
        assert found.powered("nat-a"), "nobody was there to remove it"
        subprocess.run([*NATPAIR, "lab", "down", "--name", name], capture_output=True, check=True)
    assert not Path("/run/natpair-lab", name).exists()
    assert not list(Path("/run/netns").glob(f"np-{name}-*"))


def pings(lab: Lab, host: str, address: str) -> bool:
    return lab.exec(host, [*PING, address], check=False).returncode == 0
