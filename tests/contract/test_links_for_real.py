"""Links, addresses, routes and notices, in a network namespace of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from checks.scratch import Scratch
from contract.daemons import FILES, call

pytestmark = pytest.mark.root

UP = "from natpair.system import links\nprint(links.is_up(sys.argv[1]))"
ADDRESS = """
from ipaddress import IPv4Address
from natpair.system import links
print(await links.has_address(IPv4Address(sys.argv[1])))
"""
GATEWAY = """
from natpair.system import links
try:
    print(await links.default_gateway(sys.argv[1]))
except OSError as error:
    print("OSError")
"""
ROUTES = """
from ipaddress import IPv4Address
from natpair.system.links import RelayRoutes
fips = tuple(map(IPv4Address, sys.argv[2:]))
routes = RelayRoutes(fips, IPv4Address("192.168.1.4"), "eth1")
try:
    done = await getattr(routes, sys.argv[1])()
    print(done)
except OSError as error:
    print("OSError")
"""
NOTICES = """
import select, subprocess
from natpair.system import links
links_changed, rules_changed = links.notice_sockets()
for command in sys.argv[1:]:
    for notices in (links_changed, rules_changed):
        links.drain(notices)
    subprocess.run(command.split(), check=True, capture_output=True)
    ready = select.select([links_changed, rules_changed], [], [], 2)[0]
    print("links" if links_changed in ready else "rules" if rules_changed in ready else "silence")
"""
FIPS = ("192.0.2.221", "192.0.2.222")


@pytest.mark.parametrize(
    ("commands", "up"),
    [
        ([], True),
        ([("ip", "link", "set", "eth1", "down")], False),
        ([("ip", "link", "set", "far0", "down")], False),
        ([("ip", "link", "set", "far0", "down"), ("ip", "link", "set", "far0", "up")], True),
    ],
    ids=["up", "down", "no-carrier", "carrier-back"],
)
def test_up_means_up_with_a_carrier(machine: Scratch, commands: list[tuple[str, ...]], up: bool) -> None:
    try:
        for command in commands:
            machine.run(*command)
        assert call(machine, UP, "eth1") == str(up)
    finally:
        machine.run("ip", "link", "set", "eth1", "up")
        machine.run("ip", "link", "set", "far0", "up")


@pytest.mark.parametrize("name", ["eth9", "a-name-of-16-byte"])
def test_an_interface_that_is_not_there_is_not_up(machine: Scratch, name: str) -> None:
    assert call(machine, UP, name) == "False"


def test_addresses_are_found_on_any_interface(machine: Scratch) -> None:
    assert call(machine, ADDRESS, "192.168.1.3") == "True"
    assert call(machine, ADDRESS, "203.0.113.3") == "True"
    assert call(machine, ADDRESS, "192.168.1.1") == "False"
    machine.run("ip", "address", "add", "192.168.1.1/24", "dev", "eth1")
    assert call(machine, ADDRESS, "192.168.1.1") == "True"
    machine.run("ip", "address", "del", "192.168.1.1/24", "dev", "eth1")


def test_the_default_gateway_is_that_of_the_asked_interface(machine: Scratch) -> None:
    assert call(machine, GATEWAY, "eth0") == "None"
    machine.run("ip", "route", "add", "default", "via", "203.0.113.1")
    try:
        assert call(machine, GATEWAY, "eth0") == "203.0.113.1"
        assert call(machine, GATEWAY, "eth1") == "None"
    finally:
        machine.run("ip", "route", "del", "default")
    assert call(machine, GATEWAY, "eth9") == "OSError"


@pytest.fixture
def blackholes(machine: Scratch) -> Iterator[None]:
    """Those of the rendered file, and one more like it."""
    batch = FILES["/etc/natpair/generated/routes.ip"]
    machine.run("ip", "-force", "-batch", "-", stdin=batch + batch.replace(*FIPS))
    yield
    for fip in FIPS:
        machine.run("ip", "route", "flush", f"{fip}/32")


def routes(machine: Scratch, verb: str, *fips: str) -> str:
    return call(machine, ROUTES, verb, *(fips or FIPS))


def way(machine: Scratch) -> str:
    """Where the kernel would send a packet for the FIP."""
    return machine.run("ip", "route", "get", FIPS[0], ok=(0, 1, 2)).stdout


def test_relay_routes_come_and_go_over_the_blackhole(machine: Scratch, blackholes: None) -> None:
    assert routes(machine, "present") == "False"
    for _ in range(2):
        assert routes(machine, "add") == "None"
        assert routes(machine, "present") == "True"
    assert "via 192.168.1.4 dev eth1" in way(machine)
    for _ in range(2):
        assert routes(machine, "remove") == "None"
        assert routes(machine, "present") == "False"
    assert "via" not in way(machine)
    assert machine.run("ip", "route", "show", "type", "blackhole").stdout.count("blackhole") == len(FIPS)


def test_one_of_two_is_not_all(machine: Scratch, blackholes: None) -> None:
    routes(machine, "add", FIPS[0])
    assert routes(machine, "present") == "False"
    assert routes(machine, "present", FIPS[0]) == "True"


def test_a_route_of_a_stranger_to_somewhere_else_is_not_ours(machine: Scratch, blackholes: None) -> None:
    machine.run("ip", "route", "add", FIPS[0], "via", "203.0.113.9", "dev", "eth0", "metric", "10")
    assert routes(machine, "present", FIPS[0]) == "False"
    routes(machine, "add", FIPS[0])
    assert routes(machine, "present", FIPS[0]) == "True"


def test_a_link_that_is_down_is_an_os_error(machine: Scratch, blackholes: None) -> None:
    machine.run("ip", "link", "set", "eth1", "down")
    try:
        assert routes(machine, "add") == "OSError"
        assert routes(machine, "remove") == "None"
    finally:
        machine.run("ip", "link", "set", "eth1", "up")


def test_every_change_gives_notice_on_its_socket(machine: Scratch) -> None:
    # The kernel's own IPv6 addresses, once they have proved unique, would be news a second later.
    machine.run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
    nft = "/etc/natpair/generated"
    stories = {
        "ip link set far0 down": "links",
        "ip link set far0 up": "links",
        "ip address add 192.168.1.77/32 dev eth1": "links",
        "ip address del 192.168.1.77/32 dev eth1": "links",
        "ip route add blackhole 198.51.100.77": "links",
        "ip route del blackhole 198.51.100.77": "links",
        "sysctl -qw net.ipv4.conf.eth1.forwarding=1": "links",
        "sysctl -qw net.ipv4.conf.eth1.forwarding=0": "links",
        "sysctl -qw net.ipv4.conf.eth1.rp_filter=1": "links",
        "ip -6 rule add pref 99 lookup main": "links",
        "ip -6 rule del pref 99": "links",
        f"nft -f {nft}/nftables.nft": "rules",
        f"nft -f {nft}/traffic-local.nft": "rules",
        "nft flush ruleset": "rules",
        "true": "silence",
    }
    assert call(machine, NOTICES, *stories).split() == list(stories.values())
    assert f"{nft}/nftables.nft" in FILES


def test_a_pinned_neighbour_is_not_moved_by_arp_and_let_go_again(machine: Scratch) -> None:
    pin = """
from ipaddress import IPv4Address
from natpair.system import links
try:
    await links.pin_neighbour(sys.argv[1], IPv4Address("192.168.1.4"), sys.argv[2])
except OSError:
    print("OSError")
"""
    for _ in range(2):
        assert call(machine, pin, "eth1", "02:00:00:00:00:04") == ""
        shown = machine.run("ip", "neigh", "show", "192.168.1.4").stdout
        assert "lladdr 02:00:00:00:00:04 PERMANENT" in shown
    for _ in range(2):
        assert call(machine, pin, "eth1", "") == ""
        assert "PERMANENT" not in machine.run("ip", "neigh", "show", "192.168.1.4").stdout
    assert call(machine, pin, "eth9", "02:00:00:00:00:04") == "OSError"
