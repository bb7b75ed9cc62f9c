from __future__ import annotations

import pytest

from natpair.config.checks import cross_check
from natpair.config.load import parse
from natpair.errors import ConfigError
from samples import gateway, text_with

A = 'private_address = "192.168.1.3/24"'
B = 'private_address = "192.168.1.4/24"'
PUBLIC_A, PUBLIC_B = 'public_address = "203.0.113.3/24"', 'public_address = "203.0.113.4/24"'
PUBLIC6_B = 'public_address6 = "2001:db8:100::4/64"'
API = '[linode]\ntoken_file = "/etc/natpair/linode.token"'
VIP, FIPS, REGION = 'vip = "192.168.1.1/24"', 'fips = ["192.0.2.221"]', 'region = "us-ord"'

CASES = [
    ((VIP, 'vip = "192.168.1.0/24"'), "", "pair.vip", "network or broadcast address"),
    ((VIP, 'vip = "192.168.1.255/24"'), "", "pair.vip", "network or broadcast address"),
    ((VIP, 'vip = "192.168.1.3/24"'), "", "node[0].private_address", "is the VIP"),
    ((FIPS, 'fips = ["192.168.1.9"]'), "", "pair.fips[0]", "in the private subnet"),
    ((FIPS, 'fips = ["192.0.2.1", "192.0.2.1"]'), "", "pair.fips[1]", "listed twice"),
    ((FIPS, 'fips = ["224.0.0.5"]'), "", "pair.fips[0]", "not a host address"),
    ((FIPS, 'fips = ["203.0.113.4"]'), "", "node[1].public_address", "one of pair.fips"),
    (('name = "nat-b"', 'name = "nat-a"'), "", "node[1].name", "same on both nodes"),
    ((B, A), "", "node[1].private_address", "same on both nodes"),
    ((PUBLIC_B, PUBLIC_A), "", "node[1].public_address", "same on both nodes"),
    ((PUBLIC6_B, 'public_address6 = "2001:db8:100::3/64"'), "", "node[1].public_address6", "same on both nodes"),
    ((PUBLIC6_B, 'public_address6 = "fe80::4/64"'), "", "node[1].public_address6", "not a global address"),
    ((B, 'private_address = "192.168.2.4/24"'), "", "node[1].private_address", "outside the VIP's subnet"),
    ((B, 'private_address = "192.168.1.4/25"'), "", "node[1].private_address", "different prefix length"),
    ((B, 'private_address = "192.168.1.4"'), "", "node[1].private_address", "no usable subnet"),
    ((PUBLIC_B, 'public_address = "192.168.1.200/24"'), "", "node[1].public_address", "overlaps the private subnet"),
    ((PUBLIC_B, 'public_address = "203.0.113.0/24"'), "", "node[1].public_address", "network or broadcast"),
    (('private_interface = "eth1"', 'private_interface = "eth0"'), "", "node[0].private_interface", "also the public"),
    (('public_interface = "eth0"', 'public_interface = "lo"'), "", "node[0].public_interface", "loopback"),
    ((REGION, 'region = "de-fra-2"'), "", "bgp.region", "natpair does not know the route servers"),
    ((REGION, "local_as = 65002"), "", "bgp", "neither a region nor route servers"),
    ((REGION, 'route_servers = ["2001:db8::1", "2001:db8::1"]'), "", "bgp.route_servers[1]", "listed twice"),
    ((REGION, 'route_servers = ["2001:db8:100::3"]'), "", "bgp.route_servers[0]", "a node's own address"),
    ((REGION, f"{REGION}\nlocal_as = 65000"), "", "bgp.local_as", "the same as bgp.peer_as"),
    ((REGION, REGION), "[heartbeat]\nport = 3780", "heartbeat.port", "same port as sync.port"),
    ((REGION, REGION), "[sync]\nport = 179", "sync.port", "port of BGP"),
    ((REGION, REGION), "[firewall]\nmanagement_tcp_ports = [22, 179]", "firewall.management_tcp_ports[1]", "open BGP"),
    ((REGION, REGION), '[heartbeat]\nkey_file = "pair.key"', "heartbeat.key_file", "not an absolute path"),
    ((REGION, REGION), "[sync]\nrefresh_seconds = 200", "sync.refresh_seconds", "would expire"),
    ((REGION, REGION), "[watch]\nenabled = true", "linode.token_file", "required by watch.enabled"),
    ((REGION, REGION), f"{API.replace('/', '')}\n[watch]\nenabled = true", "linode.token_file", "required by"),
    ((REGION, REGION), "[watch]\nrepair_shares = true", "watch", "has keys but not enabled"),
    (
        (REGION, REGION),
        f"{API}\n[watch]\nenabled = true\ninterval_seconds = 60\nmaintenance_lead_seconds = 179",
        "watch.maintenance_lead_seconds",
        "shorter than three intervals",
    ),
    (
        (REGION, REGION),
        '[health]\npublic_gateway = "198.51.100.1"',
        "health.public_gateway",
        "not in the subnet of nat-a",
    ),
]


@pytest.mark.parametrize(("change", "extra", "key", "message"), CASES, ids=lambda value: str(value)[:50])
def test_each_rule_finds_its_fault(change: tuple[str, str], extra: str, key: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text_with(change, extra=extra + "\n"))
    found = [problem for problem in caught.value.problems if problem.key == key and message in problem.message]
    assert len(found) == 1, caught.value.problems
    assert found[0].accepted


def test_a_hold_time_below_detection_is_refused_with_the_profile() -> None:
    change = ('profile = "balanced"', 'profile = "conservative"')
    with pytest.raises(ConfigError) as caught:
        parse(text_with(change, (REGION, f"{REGION}\nhold_seconds = 3")))
    (problem,) = caught.value.problems
    assert (problem.key, problem.accepted) == ("bgp.hold_seconds", "more than 3")
    assert "conservative" in problem.message


def test_an_unknown_region_says_how_to_go_on() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text_with((REGION, 'region = "us-odr"')))
    accepted = caught.value.problems[0].accepted
    assert accepted.startswith("did you mean us-ord?")
    assert "2600:3c0f:N:34::1" in accepted


def test_a_good_gateway_has_no_problem() -> None:
    assert cross_check(gateway()) == []


def test_rules_run_over_what_is_readable() -> None:
    """One bad field hides only the rules that need it."""
    with pytest.raises(ConfigError) as caught:
        parse(text_with((A, 'private_address = "x"'), (B, 'private_address = "10.0.0.4/24"'), (PUBLIC_B, PUBLIC_A)))
    assert {p.key for p in caught.value.problems} == {
        "node[0].private_address",
        "node[1].private_address",
        "node[1].public_address",
    }
