"""How the pair's own packets go, and whose addresses a node has: changed in a real kernel, seen, and put back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from checks.scratch import Scratch
from contract.daemons import FILES, call
from natpair.core import paths
from samples import EXAMPLE

pytestmark = pytest.mark.root

KEEP = """
import json, subprocess
from pyroute2 import NetlinkError
from natpair.config.load import parse
from natpair.drift.items import Addresses, Routes, Rules, Sysctls
from natpair.drift.own_traffic import Neighbours, Strangers, Ways, Wire
gateway = parse(open(paths.CONFIG).read())
me = gateway.node[0]
wire = Wire("203.0.113.1", frozenset({"02:00:00:00:01:01"}), "02:00:00:00:00:04", False)
routes = Routes(gateway.pair.fips, "eth0", 1000)
settings = open(paths.SYSCTL).read() + open(paths.FORWARDING).read()
kinds = (
    Sysctls(settings),
    Addresses(me, gateway.pair.fips),
    Strangers(gateway, me.name, lambda: False),
    routes,
    Ways(gateway, me.name),
    Neighbours(gateway, me.name, routes, lambda: wire),
    Rules(me, gateway.private_network),
)
async def look(repair=True):
    said = []
    for kind in kinds:
        for finding in await kind.findings():
            said.append(finding.wrong.thing)
            if repair and finding.repair is not None:
                try:
                    await finding.repair()
                except (NetlinkError, OSError) as error:
                    print(finding.wrong, error, file=sys.stderr)
    return said
told = []
for commands, shown in json.loads(sys.argv[1]):
    for _ in range(4):
        await look()
    before = await look(repair=False)
    for command in commands:
        done = subprocess.run(command.split(), capture_output=True, text=True)
        assert done.returncode == 0, f"{command}: {done.stderr}"
    first = await look()
    for _ in range(4):
        again = await look()
    output = subprocess.run(shown.split(), capture_output=True, text=True).stdout
    told.append([before, first, again, output])
    subprocess.run("ip address flush dev eth1 to 192.168.1.77".split())
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def node(machine: Scratch) -> Scratch:
    machine.write(paths.CONFIG, EXAMPLE.read_text())
    machine.write(paths.SYSCTL, FILES[paths.SYSCTL])
    for interface in ("eth0", "eth1"):
        machine.run("sysctl", "-qw", f"net.ipv4.conf.{interface}.promote_secondaries=1")
    machine.run("ip", "-batch", "-", stdin=FILES[paths.ROUTES])
    machine.run("ip", "route", "replace", "default", "via", "203.0.113.1")
    machine.run("ip", "-6", "route", "replace", "default", "via", "2001:db8:100::1", "dev", "eth0")
    return machine


@dataclass(frozen=True)
class Told:
    """What was found wrong before and just after the commands of a story, a while later, and what the kernel shows."""

    before: list[str]
    first: list[str]
    again: list[str]
    shown: str


def tell(node: Scratch, stories: Sequence[tuple[Sequence[str], str]]) -> list[Told]:
    """Each story is told on the node as the one before it left it: a process for each would take a second."""
    return [Told(*entry) for entry in json.loads(call(node, KEEP, json.dumps(stories)))]


SOURCE = ("ip route get 192.168.1.4", "src 192.168.1.3 ")
TO_CLIENTS = ("ip route get 192.168.1.101", "192.168.1.101 dev eth1 ")
SERVER = ("ip route get 2600:3c0f:18:34::1", "dev eth0")

MISROUTED: tuple[tuple[tuple[str, ...], str, tuple[str, str]], ...] = (
    (
        (
            "ip address add 192.168.1.77/24 dev eth1",
            "ip address del 192.168.1.3/24 dev eth1",
            "ip address add 192.168.1.3/24 dev eth1",
        ),
        "way to 192.168.1.4",
        SOURCE,
    ),
    (
        ("ip address add 192.168.1.77/32 dev eth1", "ip route replace 192.168.1.0/24 dev eth1 src 192.168.1.77"),
        "way to 192.168.1.4",
        SOURCE,
    ),
    (("ip route add 192.168.1.4/32 via 203.0.113.9",), "way to 192.168.1.4", SOURCE),
    (("ip route add blackhole 192.168.1.4/32",), "way to 192.168.1.4", SOURCE),
    (("ip route add unreachable 192.168.1.0/25",), "way to 192.168.1.4", SOURCE),
    (("ip route del 192.168.1.0/24 dev eth1 proto kernel",), "route 192.168.1.0/24", SOURCE),
    (("ip route del 192.168.1.0/24 dev eth1 metric 4096",), "spare route 192.168.1.0/24", TO_CLIENTS),
    (
        ("ip route add 192.168.9.0/24 dev eth1 metric 4096 proto 110",),
        "spare route 192.168.9.0/24",
        ("ip route", "203.0.113"),
    ),
    (("ip route del 203.0.113.0/24 dev eth0",), "route 203.0.113.0/24", ("ip route", "203.0.113.0/24 dev eth0")),
    (
        ("ip route del local 192.168.1.3 dev eth1 table local",),
        "local route 192.168.1.3",
        ("ip route get 192.168.1.3", "local 192.168.1.3"),
    ),
    (
        ("ip -6 route del local 2001:db8:100::3 dev eth0 table local",),
        "local route 2001:db8:100::3",
        ("ip -6 route get 2001:db8:100::3", "local 2001:db8:100::3"),
    ),
    (("ip -6 route add 2600:3c0f:18:34::/64 dev eth1",), "way to 2600:3c0f:18:34::1", SERVER),
    (("ip -6 route add blackhole 2600:3c0f::/32",), "way to 2600:3c0f:18:34::1", SERVER),
    (("ip -6 route add default dev eth1 proto ra metric 100",), "way to 2600:3c0f:18:34::1", SERVER),
    (("ip rule del pref 0",), "ip rule local", ("ip rule", "lookup local")),
    (("ip -6 rule del pref 32766",), "ip -6 rule main", ("ip -6 rule", "lookup main")),
    (("ip -6 rule del pref 0",), "ip -6 rule local", ("ip -6 rule", "lookup local")),
    (
        ("ip neigh replace 203.0.113.1 lladdr 02:00:00:00:0b:ad nud permanent dev eth0",),
        "neighbour 203.0.113.1",
        ("ip neigh", ""),
    ),
    (
        ("ip neigh replace 203.0.113.1 lladdr 02:00:00:00:0b:ad nud stale dev eth0",),
        "neighbour 203.0.113.1",
        ("ip neigh", ""),
    ),
    (
        ("ip -6 neigh replace 2001:db8:100::1 lladdr 02:00:00:00:0b:ad nud noarp dev eth0",),
        "neighbour 2001:db8:100::1",
        ("ip -6 neigh", ""),
    ),
    (("ip neigh del 192.168.1.4 dev eth1",), "neighbour 192.168.1.4", ("ip neigh", "02:00:00:00:00:04 PERMANENT")),
    (
        ("ip neigh replace 192.168.1.4 lladdr 02:00:00:00:0b:ad nud permanent dev eth1",),
        "neighbour 192.168.1.4",
        ("ip neigh", "02:00:00:00:00:04 PERMANENT"),
    ),
    (
        ("ip -6 route del default", "ip -6 route add default via 2001:db8:100::1 dev eth0 expires 1", "sleep 1.5"),
        "IPv6 default route",
        SERVER,
    ),
    (("sysctl -qw net.ipv6.conf.all.disable_ipv6=1",), "sysctl net/ipv6/conf/all/disable_ipv6", SERVER),
    (("sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1",), "sysctl net/ipv6/conf/eth0/disable_ipv6", SERVER),
    (
        ("sysctl -qw net.ipv4.conf.eth0.forwarding=0",),
        "sysctl net/ipv4/conf/eth0/forwarding",
        ("sysctl net.ipv4.conf.eth0.forwarding", "= 1"),
    ),
    (
        ("sysctl -qw net.ipv6.conf.eth1.accept_ra=2",),
        "sysctl net/ipv6/conf/eth1/accept_ra",
        ("sysctl net.ipv6.conf.eth1.accept_ra", "= 0"),
    ),
)
STRANGERS = (
    ("ip address add 192.168.1.1/24 dev eth1", "192.168.1.1"),
    ("ip address add 192.168.1.1/32 dev eth1", "192.168.1.1"),
    ("ip address add 192.168.1.1/32 dev eth0", "192.168.1.1"),
    ("ip address add 192.168.1.1/32 dev lo", "192.168.1.1"),
    ("ip address add 192.168.1.4/24 dev eth1", "192.168.1.4"),
    ("ip address add 203.0.113.4/32 dev lo", "203.0.113.4"),
    ("ip address add 2001:db8:100::4/64 dev eth0 nodad", "2001:db8:100::4"),
)
OTHERS = (
    "ip address add 192.168.1.77/24 dev eth1",
    "ip address add 10.1.2.3/24 dev eth0",
    "ip route add 10.9.0.0/16 via 192.168.1.50",
    "ip route add blackhole 192.168.1.66",
    "ip -6 route add 2001:db8:7::/48 dev eth1",
    "ip neigh replace 192.168.1.66 lladdr 02:00:00:00:0a:0a nud permanent dev eth1",
    "ip neigh replace 203.0.113.1 lladdr 02:00:00:00:01:01 nud permanent dev eth0",
)


@pytest.fixture(scope="module")
def misrouted(node: Scratch) -> list[Told]:
    return tell(node, [(commands, look[0]) for commands, _, look in MISROUTED])


@pytest.fixture(scope="module")
def strangers(node: Scratch) -> list[Told]:
    return tell(node, [([command], "ip address") for command, _ in STRANGERS])


@pytest.fixture(scope="module")
def others(node: Scratch) -> list[Told]:
    return tell(node, [([command], "true") for command in OTHERS])


@pytest.mark.parametrize("number", range(len(MISROUTED)), ids=[row[0][-1] for row in MISROUTED])
def test_what_misroutes_the_pairs_own_packets_is_seen_and_undone(misrouted: list[Told], number: int) -> None:
    _, thing, (_, expected) = MISROUTED[number]
    told = misrouted[number]
    assert told.before == [], "nothing is wrong to begin with"
    assert thing in told.first
    assert told.again == []
    assert expected in told.shown
    assert "0b:ad" not in told.shown


@pytest.mark.parametrize("number", range(len(STRANGERS)), ids=[row[0] for row in STRANGERS])
def test_an_address_that_belongs_to_another_goes(strangers: list[Told], number: int) -> None:
    told, address = strangers[number], STRANGERS[number][1]
    assert (told.before, told.first[0], told.again) == ([], f"address {address}", [])
    assert f" {address}/" not in told.shown
    assert "inet 192.168.1.3/24" in told.shown


@pytest.mark.parametrize("number", range(len(OTHERS)), ids=OTHERS)
def test_what_leaves_the_pair_alone_is_nobodys_business(others: list[Told], number: int) -> None:
    assert (others[number].first, others[number].again) == ([], [])


def test_while_the_own_address_is_away_clients_are_still_reached(node: Scratch) -> None:
    (told,) = tell(node, [([], "true")])
    assert told.again == []
    node.run("ip", "address", "add", "192.168.1.1/32", "dev", "eth1")
    node.run("ip", "address", "del", "192.168.1.3/24", "dev", "eth1")
    try:
        assert TO_CLIENTS[1] in node.run(*TO_CLIENTS[0].split()).stdout
    finally:
        node.run("ip", "address", "add", "192.168.1.3/24", "dev", "eth1")
        node.run("ip", "address", "del", "192.168.1.1/32", "dev", "eth1")
    assert SOURCE[1] in node.run(*SOURCE[0].split()).stdout


def test_an_agent_that_starts_while_a_default_route_is_away_knows_it(node: Scratch) -> None:
    (told,) = tell(node, [([], "true")])
    assert told.again == []
    node.run("ip", "-6", "route", "flush", "default")
    (told,) = tell(node, [([], SERVER[0])])
    assert told.again == []
    assert SERVER[1] in told.shown


def test_an_address_that_was_refused_as_a_duplicate_becomes_usable(node: Scratch) -> None:
    """The far end of the cable has the address, too, and says so."""
    node.run("ip", "-6", "address", "add", "2001:db8:100::3/64", "dev", "far1", "nodad")
    commands = (
        "ip address del 2001:db8:100::3/64 dev eth0",
        "ip address add 2001:db8:100::3/64 dev eth0",
        "sleep 2.5",
    )
    try:
        (told,) = tell(node, [(commands, "ip address show dev eth0")])
    finally:
        node.run("ip", "-6", "address", "del", "2001:db8:100::3/64", "dev", "far1")
    assert "address 2001:db8:100::3" in told.first
    assert told.again == []
    assert "dadfailed" not in told.shown
