"""A tenant on the VLAN against the pair: each attack with raw sockets, each with what it achieved."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from natpair_lab.testbed.wait import wait_until
from natpair_lab.testbed.world import Lab
from samples import text_with

pytestmark = pytest.mark.lab

NAME = f"a{os.getpid()}"
ATTACKER = Path(__file__).with_name("attacker.py")
PYTHON = (sys.executable, "-I", "-S")
LIMITS = "\n[nat]\nmax_flows_per_client = 3000\nnew_flows_per_second_per_client = 1000\n"
INTERNET = "198.51.100.10"
SERVER = """
import socket, threading
tcp = socket.create_server(("", 7), backlog=500)
print("up", flush=True)
while True:
    line, _ = tcp.accept()
    line.close()
"""
EARS = """
import socket, select, sys, time
line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
line.bind(("", int(sys.argv[1])))
print("up", flush=True)
end = time.monotonic() + float(sys.argv[2])
while select.select([line], [], [], max(0, end - time.monotonic()))[0]:
    data, sender = line.recvfrom(99)
    print(data.decode(), sender[0], flush=True)
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    config = tmp_path_factory.mktemp("attacks") / "gateway.toml"
    config.write_text(text_with(extra=LIMITS))
    made = Lab.up(config, name=NAME)
    try:
        made.wait_ready()
        assert made.warm()
        yield made
    finally:
        made.down()


@pytest.fixture(scope="module")
def server(lab: Lab) -> Iterator[None]:
    serving = lab.popen("internet", [*PYTHON, "-c", SERVER], stdout=subprocess.PIPE)
    try:
        assert serving.stdout is not None
        assert serving.stdout.readline() == b"up\n"
        yield
    finally:
        serving.kill()
        serving.communicate()


def argv(*words: object) -> list[str]:
    return [*PYTHON, str(ATTACKER), *map(str, words)]


def attack(lab: Lab, *words: object, host: str = "client-1") -> dict[str, object]:
    found: dict[str, object] = json.loads(lab.exec(host, argv(*words), timeout=60).stdout)
    return found


def mac(lab: Lab, node: str) -> str:
    return lab.exec(node, ["cat", "/sys/class/net/eth1/address"]).stdout.strip()


def counter(lab: Lab, node: str, name: str) -> int:
    listed = lab.exec(node, ["nft", "list", "counter", "ip", "natpair", name]).stdout
    return int(re.findall(r"packets (\d+)", listed)[0])


def transitions(lab: Lab) -> int:
    """Changes of phase on both nodes so far."""
    count = ["grep", "-c", '"event": "transition"', "/var/lib/natpair/events.jsonl"]
    return sum(int(lab.exec(node, count).stdout) for node in lab.nodes)


def address(lab: Lab, node: str) -> str:
    return str(lab.gateway.node_named(node).private_address.ip)


def test_adverts_in_the_peers_name_are_not_heard(lab: Lab):
    active, standby = lab.wait_ready()
    before, forged = transitions(lab), counter(lab, active, "forged")
    vip = lab.gateway.pair.vip.ip
    words = ("2.0", address(lab, standby), address(lab, active), mac(lab, active), vip, lab.gateway.vrrp.router_id)
    sent = sum(int(str(attack(lab, "adverts", *words, priority)["sent"])) for priority in (255, 0))
    assert counter(lab, active, "forged") - forged == sent > 100
    assert lab.wait_ready() == (active, standby)
    assert transitions(lab) == before


def test_sync_and_heartbeats_in_the_peers_name_are_not_heard(lab: Lab):
    active, standby = lab.wait_ready()
    before, forged = transitions(lab), counter(lab, active, "forged")
    target = (address(lab, standby), address(lab, active), mac(lab, active))
    attack(lab, "datagrams", 50, *target, lab.gateway.sync.port, "", "x" * 200)
    assert counter(lab, active, "forged") - forged == 50
    # Heartbeats are sealed: a few pass the guard, as a peer on a new card would have to be heard.
    attack(lab, "datagrams", 200, *target, lab.gateway.heartbeat.port, "", "x" * 200)
    assert counter(lab, active, "forged") - forged > 100
    status = lab.status(active)
    assert status is not None
    rejected = status.rejected_heartbeats
    # With the peer's own MAC on them they get as far as the seal.
    attack(lab, "datagrams", 10, *target, lab.gateway.heartbeat.port, mac(lab, standby), "x" * 200)
    status = lab.status(active)
    assert status is not None
    assert status.rejected_heartbeats - rejected == 10
    lab.wait_ready()
    assert transitions(lab) == before


def test_router_advertisements_of_a_tenant_change_no_route(lab: Lab):
    """The nodes take advertisements, as the kernel of a real machine does by default."""
    active, standby = lab.wait_ready()
    for node in (active, standby):
        lab.exec(node, ["sysctl", "-qw", "net.ipv6.conf.eth1.accept_ra=1"])
    attack(lab, "routers", 1.0)
    for node in (active, standby):
        assert "eth1" not in lab.exec(node, ["ip", "-6", "route", "show", "default"]).stdout


def test_a_peer_on_another_card_is_known_again_by_itself(lab: Lab):
    """A replaced machine: its VRRP is heard from the new MAC once a sealed heartbeat has told it, and not before."""
    active, standby = lab.wait_ready()
    own, new = mac(lab, standby), "02:00:00:00:99:99"

    def guard() -> str:
        return lab.exec(active, ["nft", "list", "chain", "ip", "natpair", "peer_guard"]).stdout

    assert f"peer={own}" in guard()
    for card in (new, own):
        lab.exec(standby, ["ip", "link", "set", "eth1", "address", card])
        wait_until(lambda card=card: f"peer={card}" in guard() or None, deadline_seconds=15, what="the new card")
        assert lab.wait_ready() == (active, standby)


def test_who_claims_the_vip_by_arp_is_named_and_loses_it_within_a_second(lab: Lab):
    active, _ = lab.wait_ready()
    vip, right = str(lab.gateway.pair.vip.ip), mac(lab, active)

    def believed() -> str:
        return lab.exec("client-2", ["ip", "neigh", "show", vip]).stdout

    assert lab.warm(0.3)
    assert right in believed()
    thief = lab.popen("client-1", argv("hijack", 3, vip), stdout=subprocess.PIPE)
    longest, stolen = 0.0, None
    while thief.poll() is None:
        now, wrong = time.monotonic(), right not in believed()
        stolen = None if not wrong else now if stolen is None else stolen
        longest = max(longest, now - stolen if stolen is not None else 0.0)
    assert thief.stdout is not None
    name = json.loads(thief.stdout.read())["mac"]
    assert longest < 1.0
    wait_until(lambda: right in believed() or None, deadline_seconds=1.0, what="the VIP at its owner's")

    def told() -> bool:
        status = lab.status(active)
        found = status.conditions if status else ()
        return any(one.code == "vip-contested" and name in one.text for one in found)

    wait_until(lambda: told() or None, deadline_seconds=2, what="the condition with the thief's MAC")


def test_foreign_sources_go_nowhere(lab: Lab):
    active, _ = lab.wait_ready()
    ears = lab.popen("internet", [*PYTHON, "-c", EARS, "4000", "1.5"], stdout=subprocess.PIPE, text=True)
    assert ears.stdout is not None
    assert ears.stdout.readline() == "up\n"
    fip = str(lab.gateway.pair.fips[0])
    own = lab.exec("client-1", ["hostname", "-I"]).stdout.split()[0]
    attack(lab, "spoof", mac(lab, active), INTERNET, 4000, "198.51.100.99", fip, "8.8.4.4", "10.0.0.9", own)
    heard = ears.communicate()[0].split()
    assert set(heard[::2]) == {own}, "its own source gets through: the ears can hear"
    assert set(heard[1::2]) == {fip}
    assert counter(lab, active, "spoofed") > 0


def test_a_scan_of_everything_finds_nothing_that_answers(lab: Lab, server: None):
    targets = [str(lab.gateway.pair.vip.ip), str(lab.gateway.pair.fips[0])]
    for node in lab.gateway.node:
        targets += [str(node.private_address.ip), str(node.public_address.ip)]
    metadata = "169.254.169.254"
    found = attack(lab, "scan", "1-160,179,443,3780,3781,8080", *targets, metadata, "10.0.0.1")
    assert found["answers"] == {}
    assert attack(lab, "scan", "7-8", INTERNET)["answers"].keys() == {"open", "111"}, "the scanner can find something"


def test_a_clients_port_casts_no_shadow_on_a_service_of_the_node(lab: Lab):
    """CVE-2021-3773: a source port that equals a service's must not draw that service's packets to the client."""
    active, _ = lab.wait_ready()
    node = lab.gateway.node_named(active)
    shadow = """
import socket, sys
line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
line.bind(("", 3781))
line.sendto(b"hello", (sys.argv[1], 4001))
line.settimeout(1.5)
try:
    print(line.recvfrom(99)[0].decode())
except OSError:
    print("nothing")
"""
    outside = """
import socket, sys
line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
line.bind(("", 4001))
print("up", flush=True)
line.recvfrom(99)
line.sendto(b"for the node", (sys.argv[1], 3781))
"""
    sender = lab.popen("internet", [*PYTHON, "-c", outside, str(node.public_address.ip)], stdout=subprocess.PIPE)
    assert sender.stdout is not None
    sender.stdout.readline()
    assert lab.exec("client-1", [*PYTHON, "-c", shadow, INTERNET]).stdout == "nothing\n"
    sender.wait(timeout=5)


def test_one_client_that_floods_is_bounded_and_the_others_do_not_notice(
    lab: Lab, server: None, record_property: Callable[[str, object], None]
):
    active, _ = lab.wait_ready()
    flood = lab.popen("client-1", argv("flood", 4, INTERNET), stdout=subprocess.PIPE)
    victim = attack(lab, "connects", 3, INTERNET, 7, host="client-2")
    out, _ = flood.communicate()
    sent = json.loads(out)["sent"]
    source = lab.exec("client-1", ["hostname", "-I"]).stdout.split()[0]
    held = int(lab.exec(active, ["sh", "-c", f"conntrack -L -p udp -s {source} 2>/dev/null | wc -l"]).stdout)
    record_property("flood", f"{sent} sent, {held} flows held; the other: {victim}")
    assert sent > 20_000, "it was a flood"
    assert held <= 3000
    assert int(str(victim["tried"])) >= 40
    assert int(str(victim["failed"])) <= int(str(victim["tried"])) / 100
    assert counter(lab, active, "over_rate") + counter(lab, active, "over_flows") > 10_000


def test_control_without_the_guard_a_forged_advert_takes_the_role(lab: Lab):
    """The attack of the first test works where nothing stands against it: with the agent stopped and the guard gone."""
    active, standby = lab.wait_ready()
    vip = str(lab.gateway.pair.vip.ip)
    lab.kill(active, "natpair-agent", 19)
    try:
        lab.exec(active, ["nft", "flush", "chain", "ip", "natpair", "peer_guard"])
        words = ("0.5", address(lab, standby), address(lab, active), mac(lab, active), vip)
        attack(lab, "adverts", *words, lab.gateway.vrrp.router_id, 255)
        assert f"{vip}/" not in lab.exec(active, ["ip", "-br", "address", "show", "eth1"]).stdout
    finally:
        lab.kill(active, "natpair-agent", 18)
    lab.wait_ready()
