"""The lab itself, with the real daemons: it stands, it breaks as told, and it leaves nothing behind."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from natpair.core import paths
from natpair.errors import LabError
from natpair.system import sysctl
from natpair_lab.testbed import host
from natpair_lab.testbed.host import program
from natpair_lab.testbed.report import look
from natpair_lab.testbed.wait import wait_until
from natpair_lab.testbed.world import Lab
from samples import EXAMPLE

pytestmark = pytest.mark.lab

NAME = f"t{os.getpid()}"
NATPAIR = (sys.executable, "-m", "natpair")
PING = program("natpair_lab.testbed.ping", 1)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    made = Lab.up(None, name=NAME)
    try:
        yield made
    finally:
        made.down()


@dataclass(frozen=True)
class Traces:
    """What a lab of one name has on this machine."""

    namespaces: frozenset[str]
    folder: bool
    mounts: frozenset[str]
    supervisors: frozenset[str]


def traces(name: str) -> Traces:
    folder = Path("/run/netns")
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    return Traces(
        frozenset(path.name for path in folder.glob(f"np-{name}-*")),
        Path("/run/natpair-lab", name).exists(),
        frozenset(line for line in mounts if f"np-{name}-" in line or f"natpair-lab/{name}" in line),
        frozenset(supervisors(name)),
    )


def supervisors(name: str) -> Iterator[str]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if any(word.startswith(f"np-{name}-".encode()) for word in words):
            yield path.parent.name


NOTHING = Traces(frozenset(), False, frozenset(), frozenset())


def pings(lab: Lab, host: str, *addresses: str) -> bool:
    return lab.exec(host, [*PING, *addresses], check=False).returncode == 0


def test_a_client_reaches_the_internet_under_the_floating_address(lab: Lab):
    active, _ = lab.wait_ready()
    assert lab.best_path() == (active,)
    listen = "import socket; s = socket.create_server(('', 7)); print('up', flush=True)"
    server = f"{listen}; c, a = s.accept(); c.send(a[0].encode())"
    client = "import socket; print(socket.create_connection(('198.51.100.10', 7), 5).recv(99).decode())"
    serving = lab.popen("internet", [sys.executable, "-I", "-S", "-c", server], stdout=subprocess.PIPE)
    try:
        assert serving.stdout is not None
        assert serving.stdout.readline() == b"up\n"
        assert lab.exec("client-1", [sys.executable, "-I", "-S", "-c", client]).stdout == "192.0.2.221\n"
    finally:
        serving.kill()
        serving.communicate()


NOT_SETTINGS = re.compile(
    r"net\.(core\.flow_limit_table_len|netfilter\.nf_(conntrack_count|log\.\d+|log\..*)|ipv4\.tcp_fastopen_key"
    r"|ipv6\.conf\.[^.]+\.stable_secret|ipv4\.tcp_(available|allowed)_.*)$"
)
"""Counts, secrets and lists of what there is."""
MACHINE = """
for one in eth0 eth1; do ip link add $one type veth peer name far-$one; ip link set $one up; done
ip link set lo up
sysctl -qw net.ipv4.conf.default.promote_secondaries=1 net.ipv4.conf.lo.promote_secondaries=1
for one in eth0 eth1; do sysctl -qw net.ipv4.conf.$one.promote_secondaries=1; done
sysctl -a -r '^net[.]' 2>/dev/null
"""
"""A machine that has only just been switched on, with what systemd's 50-default.conf (Debian 13's
linux-sysctl-defaults) and networkd set; IPv4 of a new namespace is as compiled if this machine was left alone."""
LOOSE = {
    "net.ipv4.conf.lo.promote_secondaries",
    *(f"net.ipv4.conf.{one}.forwarding" for one in ("all", "default", "lo")),
}
"""Of no matter, as nothing is ever removed from lo; and what the kernel sets where a file says ip_forward."""


def settings(listed: str) -> dict[str, str]:
    pairs = (line.partition(" = ") for line in listed.splitlines())
    found = {key: " ".join(value.split()) for key, mark, value in pairs if mark and not NOT_SETTINGS.match(key)}
    return {key: value for key, value in found.items() if ".far-" not in key}


def unlike(lab: Lab, node: str) -> set[str]:
    """The settings in which a booted node is neither like a machine nor as natpair's files say."""
    booted = settings(lab.exec(node, ["sysctl", "-a", "-r", "^net[.]"], check=False).stdout)
    fresh = settings(subprocess.run(["unshare", "--net", "sh", "-c", MACHINE], capture_output=True, text=True).stdout)
    text = "".join(lab.exec(node, ["cat", path]).stdout for path in (paths.SYSCTL, paths.FORWARDING))
    ours = {assignment.key.replace("/", "."): assignment.value for assignment in sysctl.parse(text)}
    assert len(booted) > 500
    assert len(fresh) > 500
    differing = {key for key in booted.keys() & fresh.keys() if booted[key] != fresh[key]}
    return {key for key in differing - LOOSE if booted[key] != ours.get(key)}


def test_a_node_has_the_settings_of_a_machine_and_those_of_its_files(lab: Lab):
    active, standby = lab.wait_ready()
    assert [unlike(lab, node) for node in (active, standby)] == [set(), set()]
    changed = {"net.ipv6.conf.eth0.accept_dad": "0", "net.ipv4.conf.eth1.arp_notify": "1"}
    lab.exec(standby, ["sysctl", "-qw", *(f"{key}={value}" for key, value in changed.items())])
    assert unlike(lab, standby) == set(changed), "a comparison that sees nothing"
    lab.exec(standby, ["sysctl", "-qw", "net.ipv6.conf.eth0.accept_dad=1", "net.ipv4.conf.eth1.arp_notify=0"])


def test_a_client_set_up_by_the_printed_commands_goes_out_and_its_check_agrees(lab: Lab, tmp_path: Path):
    """`natpair client-config`, used as a person would: its check says no, its commands are run, its check says yes."""
    active, _ = lab.wait_ready()
    config = tmp_path / "gateway.toml"
    config.write_text(EXAMPLE.read_text())
    options = [str(config), "--address", str(dict(lab.topology.clients)["client-2"].ip)]
    printed = [
        subprocess.run([*NATPAIR, "client-config", *options, *more], capture_output=True, text=True, check=True).stdout
        for more in (["--os", "commands"], ["--check"])
    ]
    commands, check = printed
    internet = str(lab.topology.internet[0].ip)

    def told(*arguments: str) -> tuple[int, str]:
        done = lab.exec("client-2", ["sh", "-s", *arguments], stdin=check, check=False)
        return done.returncode, done.stdout

    lab.exec("client-2", ["ip", "address", "flush", "dev", "eth0"])
    code, said = told()
    assert code == 1
    assert "WRONG  eth0 does not have the address" in said
    assert "WRONG  the default route" in said
    assert not pings(lab, "client-2", internet)
    lab.exec("client-2", ["sh", "-e"], stdin=commands)
    assert pings(lab, "client-2", internet)
    code, said = told(internet)
    if shutil.which("ping"):
        assert (code, said.count("good")) == (0, 6), said
    else:
        assert said.count("good") == 3
        assert "ping is not installed" in said
    # What the check says to look at on the active node, and that it shows the FIP.
    (look,) = [line.split("#")[0].split() for line in said.splitlines() if "conntrack -L" in line]
    flows = lab.exec(active, look).stdout
    assert [line for line in flows.splitlines() if f"dst={internet}" in line and "dst=192.0.2.221" in line], flows


def test_another_process_can_attach(lab: Lab):
    found = Lab.attach(NAME)
    assert found.gateway == lab.gateway
    assert found.shares() == {"192.0.2.221": lab.nodes}
    assert all(found.powered(node) for node in found.nodes)


def test_a_second_lab_of_that_name_is_refused_and_the_first_stays(lab: Lab):
    before = traces(NAME)
    with pytest.raises(LabError, match="is up already") as refused:
        Lab.up(None, name=NAME)
    assert refused.value.fix == f"natpair lab down --name {NAME}"
    assert traces(NAME) == before


def test_no_lab_to_attach_to_is_told_with_the_fix():
    with pytest.raises(LabError) as refused:
        Lab.attach("nosuch")
    assert refused.value.fix == "natpair lab up --name nosuch"


def test_programs_report_their_status(lab: Lab):
    assert lab.exec("client-1", ["sh", "-c", "exit 3"], check=False).returncode == 3
    with pytest.raises(LabError, match="exited 3: why"):
        lab.exec("client-1", ["sh", "-c", "echo why >&2; exit 3"])
    with pytest.raises(LabError, match=r"did not end within 0\.2 s"):
        lab.exec("client-1", ["sleep", "60"], timeout=0.2)


def test_a_nodes_secrets_and_files_are_its_own(lab: Lab):
    one, other = (lab.exec(node, ["cat", "/etc/natpair/pair.key"]).stdout for node in lab.nodes)
    assert one == other
    assert len(one) > 32
    assert lab.exec(lab.nodes[0], ["stat", "-c", "%a", "/etc/natpair/pair.key"]).stdout == "600\n"
    assert lab.exec(lab.nodes[0], ["hostname"]).stdout == f"{lab.nodes[0]}\n"
    lab.exec(lab.nodes[0], ["touch", "/run/natpair/its-own"])
    assert not Path("/run/natpair/its-own").exists()


def test_a_dead_cable_keeps_its_carrier_and_a_cut_one_does_not(lab: Lab):
    _, standby = lab.wait_ready()
    peer = str(lab.gateway.peer_of(standby).private_address.ip)
    interface = lab.gateway.node_named(standby).private_interface

    def carrier() -> str:
        return lab.exec(standby, ["cat", f"/sys/class/net/{interface}/carrier"]).stdout.strip()

    lab.link(standby, "vlan", "dead")
    assert (carrier(), pings(lab, standby, peer)) == ("1", False)
    lab.link(standby, "vlan", "down")
    assert carrier() == "0"
    lab.link(standby, "vlan", "up")
    assert (carrier(), pings(lab, standby, peer)) == ("1", True)
    lab.wait_ready()


def test_a_partition_spares_the_clients(lab: Lab):
    lab.wait_ready()
    one, other = lab.gateway.node
    try:
        lab.partition(True)
        assert not pings(lab, one.name, str(other.private_address.ip))
        assert pings(lab, "client-1", str(one.private_address.ip), str(other.private_address.ip))
    finally:
        lab.partition(False)
    assert pings(lab, one.name, str(other.private_address.ip))
    lab.wait_ready()


def test_loss_is_neither_nothing_nor_all(lab: Lab):
    lab.wait_ready()
    try:
        lab.loss("client-2", "vlan", 1000)
        assert not pings(lab, "client-2", str(lab.gateway.pair.vip.ip))
        lab.loss("client-2", "vlan", 300)
        assert pings(lab, "client-2", str(lab.gateway.pair.vip.ip))  # asked again every 100 ms
    finally:
        lab.loss("client-2", "vlan", 0)


def test_a_power_cut_takes_everything_but_the_disk(lab: Lab):
    active, standby = lab.wait_ready()
    interface = lab.gateway.node_named(active).public_interface
    address = ["cat", f"/sys/class/net/{interface}/address"]
    mac = lab.exec(active, address).stdout
    lab.exec(active, ["sh", "-c", "echo kept > /var/lib/natpair/disk; echo lost > /run/memory"])
    lab.power_cut(active)
    assert not lab.powered(active)
    assert lab.netns_of(active) not in traces(NAME).namespaces
    assert lab.status(active) is None
    with pytest.raises(LabError, match="is powered off"):
        lab.exec(active, ["true"])
    wait_until(lambda: lab.best_path() == (standby,) or None, deadline_seconds=10, what="the takeover")
    # The fabric did not see the carrier go: it sits behind a bridge.
    assert lab.exec("fabric", ["cat", "/sys/class/net/public0/carrier"]).stdout == "1\n"
    lab.boot(active)
    assert lab.exec(active, ["cat", "/var/lib/natpair/disk"]).stdout == "kept\n"
    assert lab.exec(active, ["test", "-e", "/run/memory"], check=False).returncode == 1
    assert lab.exec(active, address).stdout == mac
    assert lab.wait_ready() == (standby, active)


def test_a_killed_daemon_comes_back(lab: Lab):
    _, standby = lab.wait_ready()
    lab.kill(standby, "natpair-bird", signal.SIGKILL)

    def restarted() -> bool:
        bird = next(s for s in lab.services(standby)["services"] if s["name"] == "natpair-bird")
        return bool(bird["starts"] == 2 and bird["state"] == "running")

    wait_until(restarted, deadline_seconds=10, what="the restart of BIRD")
    lab.wait_ready()


def test_an_unshared_address_is_refused_from_that_node(lab: Lab):
    active, standby = lab.wait_ready()
    try:
        lab.share("192.0.2.221", [standby])
        wait_until(lambda: lab.best_path() == (standby,) or None, deadline_seconds=5, what="the other path")
    finally:
        lab.share("192.0.2.221", lab.nodes)
    wait_until(lambda: lab.best_path() == (active,) or None, deadline_seconds=5, what="the best path")


def test_the_fabric_can_be_slow_and_changes_without_a_gap(lab: Lab):
    active, _ = lab.wait_ready()
    try:
        for knobs in ({"converge_ms": 500}, {"ignore_med": True}, {"load_share": True}, {"prefer_older": True}, {}):
            lab.fabric(**knobs)  # type: ignore[arg-type]
            assert lab.best_path() == (active,)
    finally:
        lab.fabric()


def test_every_fault_is_shown_and_repaired_where_it_is(lab: Lab):
    _, standby = lab.wait_ready()

    def fault(*words: str) -> str:
        argv = [*NATPAIR, "lab", "fault", "--name", NAME, *words]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stderr

    def shown() -> dict[str, str]:
        return {node.name: node.faults for node in look(lab).nodes}

    assert set(shown().values()) == {"-"}
    # All of them on the standby: a repair without a target that took the active node would leave them.
    for kind, words in (("vlan-down", "vlan-down"), ("public-dead", "public-dead"), ("stop:bird", "stop:bird")):
        fault(kind, standby)
        assert shown()[standby] == words
        assert f"{standby}: repaired {kind}" in fault(kind, "--repair")
        assert set(shown().values()) == {"-"}
        assert "nothing to repair: no node has" in fault(kind, "--repair")
    assert f"nothing to repair: {standby} does not have the fault vlan-down" in fault("vlan-down", standby, "--repair")
    # A power cut that is killed half-way: the cables are dead, the node lives.
    lab._record_dead(standby)
    assert shown()[standby] == "vlan-dead, public-dead"
    fault("power-cut", "--repair")
    assert set(shown().values()) == {"-"}
    fault("power-cut", standby)
    assert shown()[standby] == "power-cut"
    assert f"{standby}: repaired power-cut" in fault("power-cut", "--repair")
    lab.wait_ready()


def test_a_boot_that_fails_can_be_tried_again(lab: Lab, monkeypatch: pytest.MonkeyPatch):
    _, standby = lab.wait_ready()
    lab.power_cut(standby)
    with monkeypatch.context() as patch:
        patch.setattr(host, "_SPAWN_SECONDS", 0.001)
        with pytest.raises(LabError, match="did not start"):
            lab.boot(standby)
    assert not Path("/run/netns", f"np-{NAME}-{standby}").exists()
    lab.boot(standby)
    lab.wait_ready()


def test_a_lab_comes_and_goes_without_a_trace():
    name = f"{NAME}b"
    mounts = mounts_but_of_other_labs(name)
    made = Lab.up(None, name=name)
    try:
        assert traces(name).namespaces
        # What a crashed drill leaves in a switch's namespace is no reason to leave the namespace.
        tap = subprocess.Popen(["ip", "netns", "exec", made.switch_netns("vlan"), "sleep", "300"])
    finally:
        made.down()
    assert tap.wait(timeout=10) == -signal.SIGKILL
    made.down()
    assert traces(name) == NOTHING
    assert mounts_but_of_other_labs(name) <= mounts


def mounts_but_of_other_labs(name: str) -> set[str]:
    """Other labs come and go meanwhile."""
    lines = Path("/proc/self/mounts").read_text().splitlines()
    return {line for line in lines if f"np-{name}-" in line or "/run/netns/np-" not in line}


FIRST_EVER = """
from pathlib import Path
from natpair_lab.testbed.world import Lab
def seen():
    return sorted(map(str, Path("/run").rglob("*"))), Path("/proc/self/mounts").read_text()
before = seen()
one = Lab.up(None, name="one")
two = Lab.up(None, name="two")
one.down()
assert Path("/run/netns/np-two-fabric").exists()
two.down()
assert seen() == before, seen()
"""


def test_the_first_lab_of_a_machine_takes_the_namespace_mount_away_again():
    """In a mount namespace with an empty /run, where no `ip netns add` was ever run; two labs share its mount."""
    forget = "umount --recursive --lazy /run/netns 2>/dev/null; mount -t tmpfs none /run"
    script = f'{forget} && exec {shlex.quote(sys.executable)} -c "$0"'
    argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, FIRST_EVER]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("delay_ms", [200, 350, 500, 700, 900, 1500])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_start_leaves_nothing(delay_ms: int, number: signal.Signals):
    name = f"{NAME}c"
    up = subprocess.Popen([*NATPAIR, "lab", "up", "--name", name], stderr=subprocess.PIPE, text=True)
    with pytest.raises(subprocess.TimeoutExpired):
        up.wait(timeout=delay_ms / 1000)
    up.send_signal(number)
    _, said = up.communicate(timeout=30)
    # Both are 128 + N to a shell. CPython 3.11 dies of the signal itself if it came while a class was being made.
    assert up.returncode in (128 + number, -number), said
    assert "bug" not in said
    assert traces(name) == NOTHING


def test_a_killed_start_is_cleared_away_by_down():
    name = f"{NAME}d"
    up = subprocess.Popen([*NATPAIR, "lab", "up", "--name", name], stderr=subprocess.PIPE, text=True)
    assert up.stderr is not None
    for line in up.stderr:
        if "namespaces and" in line:
            break
    up.kill()
    up.communicate()
    again = subprocess.run([*NATPAIR, "lab", "up", "--name", name], capture_output=True, text=True, check=False)
    assert again.returncode == 73
    assert "half built" in again.stderr
    subprocess.run([*NATPAIR, "lab", "down", "--name", name], capture_output=True, check=True)
    assert traces(name) == NOTHING


def test_a_daemon_that_cannot_start_is_told_and_the_lab_removed(tmp_path: Path):
    """An error in the middle: a host of the user's choosing already has the name of a namespace of ours."""
    name = f"{NAME}e"
    subprocess.run(["ip", "netns", "add", f"np-{name}-fabric"], check=True)
    try:
        with pytest.raises(LabError, match="exists and is not ours"):
            Lab.up(None, name=name)
        assert traces(name).namespaces == {f"np-{name}-fabric"}
        assert not traces(name).folder
    finally:
        subprocess.run(["ip", "netns", "del", f"np-{name}-fabric"], check=True)


def test_the_command_line_passes_status_and_exit_code_through(lab: Lab):
    def natpair(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*NATPAIR, "lab", *words], capture_output=True, text=True, timeout=60, check=False)

    assert natpair("exec", "--name", NAME, "client-1", "--", "sh", "-c", "echo -n hi; exit 5").stdout == "hi"
    assert natpair("exec", "--name", NAME, "client-1", "sh", "-c", "exit 5").returncode == 5
    shown = natpair("status", "--name", NAME)
    assert shown.returncode == 0
    assert "the fabric sends it to" in shown.stdout
    assert natpair("status", "--name", "nosuch").returncode == 73
    refused = natpair("fault", "--name", NAME, "fire")
    assert refused.returncode == 64
    assert "power-cut" in refused.stderr
