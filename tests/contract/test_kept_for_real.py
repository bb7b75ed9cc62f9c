"""What a node must hold: each kind sees what was changed in a real kernel, and puts it back."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from checks.scratch import Scratch
from contract.daemons import FILES, call
from samples import EXAMPLE

pytestmark = pytest.mark.root

KEEP = """
import json, subprocess
from natpair.config.load import parse
from natpair.core.paths import CONFIG
from natpair.render.base import Sides
from natpair.render.nftables import off_limits
from natpair.drift.items import Addresses, Guard, Routes, Rules
gateway = parse(open(sys.argv[1]).read())
me = gateway.node[0]
kinds = (
    Addresses(me, gateway.pair.fips),
    Routes(gateway.pair.fips, "eth0", 1000),
    Rules(me, gateway.private_network, off_limits(Sides.of(gateway, me.name))),
    Guard(open("/etc/natpair/generated/guard.tc").read(), "eth0"),
)
async def look(repair=True):
    said = []
    for kind in kinds:
        for finding in await kind.findings():
            said.append(finding.wrong.thing)
            if repair and finding.repair is not None:
                try:
                    await finding.repair()
                except OSError as error:
                    print(finding.wrong, error, file=sys.stderr)
    return said
before = await look(repair=False)
for command in sys.argv[2:]:
    subprocess.run(command.split(), check=True)
first = await look()
for _ in range(3):
    again = await look()
print(json.dumps([before, first, again]))
"""


@pytest.fixture
def furnished(machine: Scratch) -> Iterator[Scratch]:
    machine.run("ip", "-batch", "-", stdin=FILES["/etc/natpair/generated/routes.ip"])
    machine.run("tc", "-batch", "-", stdin=FILES["/etc/natpair/generated/guard.tc"])
    machine.run("ip", "route", "replace", "default", "via", "203.0.113.1")
    machine.run("ip", "address", "replace", "2001:db8:100::3/64", "dev", "eth0", "nodad")
    machine.run("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=2")
    yield machine
    machine.run("ip", "route", "del", "default", ok=(0, 2))


@pytest.mark.parametrize(
    ("command", "thing"),
    [
        ("ip address del 192.168.1.3/24 dev eth1", "address 192.168.1.3"),
        ("ip address del 2001:db8:100::3/64 dev eth0", "address 2001:db8:100::3"),
        ("ip address add 192.0.2.221/32 dev lo", "address 192.0.2.221"),
        ("ip route del blackhole 192.0.2.221", "blackhole route 192.0.2.221"),
        ("ip route add 192.0.2.221/32 dev eth0 metric 5", "route 192.0.2.221"),
        ("ip route del default", "IPv4 default route"),
        ("ip rule del pref 32766", "ip rule main"),
        ("ip rule add pref 70 from 192.168.1.0/24 blackhole", "ip rule 70"),
        ("ip rule add pref 71 from 192.168.1.64/26 blackhole", "ip rule 71"),
        ("ip rule add pref 73 from 192.168.1.64/24 blackhole", "ip rule 73"),
        ("ip rule add pref 72 to 198.51.100.0/24 blackhole", "ip rule 72"),
        ("tc qdisc del dev eth0 clsact", "egress guard"),
        ("tc filter del dev eth0 egress", "egress guard"),
    ],
)
def test_a_change_is_seen_and_undone(furnished: Scratch, command: str, thing: str) -> None:
    furnished.write("/etc/natpair/gateway.toml", EXAMPLE.read_text())
    before, first, again = json.loads(call(furnished, KEEP, "/etc/natpair/gateway.toml", command))
    assert before == [], "nothing is wrong to begin with"
    assert thing in first
    assert again == []


def test_of_two_rules_of_one_preference_only_the_wrong_one_goes(furnished: Scratch) -> None:
    furnished.write("/etc/natpair/gateway.toml", EXAMPLE.read_text())
    rules = [
        "ip rule add pref 75 from 10.9.0.0/16 iif eth0 lookup 52 suppress_prefixlength 0",
        "ip rule add pref 75 to 10.8.0.0/16 ipproto udp dport 53 lookup 53",
        "ip rule add pref 75 from 192.168.1.64/26 blackhole",
    ]
    try:
        before, first, again = json.loads(call(furnished, KEEP, "/etc/natpair/gateway.toml", *rules))
        assert (before, first, again) == ([], ["ip rule 75"], [])
        left = furnished.run("ip", "rule", "show", "pref", "75").stdout
        assert "10.9.0.0/16 iif eth0 lookup 52 suppress_prefixlength 0" in left
        assert "to 10.8.0.0/16 ipproto udp dport 53 lookup 53" in left
        assert "192.168.1.64" not in left
    finally:
        while furnished.run("ip", "rule", "del", "pref", "75", ok=(0, 2)).returncode == 0:
            pass


def test_an_own_address_that_was_never_there_is_named_and_not_installed(furnished: Scratch) -> None:
    """It may be a mistake in the file, or another machine's."""
    text = EXAMPLE.read_text().replace("192.168.1.3/24", "192.168.1.44/24").replace("203.0.113.3/24", "203.0.113.44/24")
    furnished.write("/etc/natpair/gateway.toml", text)
    furnished.run("rm", "-f", "/run/natpair/addresses.json")
    before, first, again = json.loads(call(furnished, KEEP, "/etc/natpair/gateway.toml"))
    assert before == first == again == ["address 192.168.1.44", "address 203.0.113.44"]
    assert "192.168.1.44" not in furnished.run("ip", "address").stdout


def test_an_own_address_that_went_while_no_agent_ran_is_put_back(furnished: Scratch) -> None:
    furnished.write("/etc/natpair/gateway.toml", EXAMPLE.read_text())
    assert json.loads(call(furnished, KEEP, "/etc/natpair/gateway.toml"))[2] == []
    furnished.run("ip", "address", "del", "192.168.1.3/24", "dev", "eth1")
    assert "address 192.168.1.3" in json.loads(call(furnished, KEEP, "/etc/natpair/gateway.toml"))[0]
    assert "192.168.1.3/24" in furnished.run("ip", "address").stdout


def test_a_rule_that_leaves_clients_alone_is_nobodys_business(furnished: Scratch) -> None:
    furnished.write("/etc/natpair/gateway.toml", EXAMPLE.read_text())
    rules = [
        "ip rule add pref 80 from 10.9.0.0/16 blackhole",
        "ip rule add pref 84 from 10.9.0.5/16 lookup 52",
        "ip rule add pref 81 fwmark 5 lookup 52",
        "ip rule add pref 82 to 10.8.0.0/16 blackhole",
        "ip rule add pref 83 to 198.51.100.0/24 lookup main",
    ]
    try:
        assert json.loads(call(furnished, KEEP, "/etc/natpair/gateway.toml", *rules)) == [[], [], []]
    finally:
        for pref in ("80", "81", "82", "83", "84"):
            furnished.run("ip", "rule", "del", "pref", pref)


def test_the_kernel_says_who_changed_the_ruleset(machine: Scratch) -> None:
    body = """
import select, subprocess
from natpair.system import links
_, rules = links.notice_sockets()
subprocess.run(["nft", "add table ip stranger; delete table ip stranger"], check=True)
select.select([rules], [], [], 2)
print(links.ruleset_authors(links.drain(rules)))
"""
    assert call(machine, body) == "('nft',)"
