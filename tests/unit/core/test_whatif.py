"""What a change would do to live flows, rule by rule; a change without consequences has none."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from natpair.core.whatif import Context, Effect, LiveFlow, anything, effects
from samples import gateway

FIP = IPv4Address("192.0.2.221")
ONE, FAR = IPv4Address("192.168.1.101"), IPv4Address("192.168.1.200")
TCP = LiveFlow("tcp", True, ONE, FIP, 7400)
UDP = LiveFlow("udp", False, FAR, FIP, 20)
FLOWS = (TCP, UDP, LiveFlow("tcp", True, FAR, IPv4Address("192.0.2.222"), 7000))
OLD = gateway(('fips = ["192.0.2.221"]', 'fips = ["192.0.2.221", "192.0.2.222"]'))
_FIPS = ('fips = ["192.0.2.221"]', 'fips = ["192.0.2.221", "192.0.2.222"]')


def of(*changes: tuple[str, str], extra: str = "", relayed: bool = False) -> tuple[Effect, ...]:
    return effects(OLD, gateway(_FIPS, *changes, extra=extra), Context("nat-a", FLOWS, relayed))


def test_no_change_has_no_effect() -> None:
    assert of() == ()
    assert of(extra="[firewall]\nmanagement_tcp_ports = [22, 2222]\n") == ()


def test_a_fip_that_goes_takes_its_flows_along() -> None:
    (effect,) = effects(OLD, gateway(), Context("nat-a", FLOWS))
    assert (effect.key, effect.breaks) == ("pair.fips", 1)
    assert "192.0.2.222 goes" in effect.text


def test_a_fip_that_comes_breaks_nothing() -> None:
    (effect,) = effects(gateway(), OLD, Context("nat-a", FLOWS))
    assert (effect.breaks, effect.stalls, effect.ages) == (0, 0, 0)


def test_another_vip_cuts_everybody_off_and_a_smaller_subnet_those_outside() -> None:
    assert of(('vip = "192.168.1.1/24"', 'vip = "192.168.1.2/24"'))[0].breaks == 3
    nodes = [(f'"192.168.1.{n}/24"', f'"192.168.1.{n}/25"') for n in (3, 4)]
    (smaller,) = [e for e in of(('"192.168.1.1/24"', '"192.168.1.1/25"'), *nodes) if e.key == "pair.vip"]
    assert smaller.breaks == 2


@pytest.mark.parametrize("change", [("us-ord", "us-sea"), ('profile = "balanced"', 'profile = "fast"')])
def test_bgp_anew_stalls_all_unless_the_peer_relays(change: tuple[str, str]) -> None:
    assert of(change)[0].stalls == 3
    assert all(effect.stalls == 0 for effect in of(change, relayed=True))


@pytest.mark.parametrize(("profile", "first"), [("fast", "the node that serves"), ("conservative", "the standby")])
def test_another_profile_says_where_to_begin(profile: str, first: str) -> None:
    texts = [effect.text for effect in of(('profile = "balanced"', f'profile = "{profile}"'), relayed=True)]
    assert any(text.endswith(f"begin with {first}") for text in texts)


def test_idle_flows_age_when_the_time_gets_shorter() -> None:
    quiet = "[nat]\nudp_seconds = 200\n"
    (effect,) = [effect for effect in of(extra=quiet) if effect.key == "nat.udp_seconds"]
    assert effect.ages == 1  # idle for 280 s of 300
    assert of(extra="[nat]\nudp_seconds = 290\n")[0].ages == 0
    assert of(extra="[nat]\nudp_seconds = 400\n") == ()


def test_a_table_smaller_than_what_is_in_it() -> None:
    many = Context("nat-a", (TCP,) * 1024)
    (effect,) = effects(OLD, gateway(_FIPS, extra="[nat]\nmax_flows = 1024\n"), many)
    assert "1024 flows live now" in effect.text


def test_the_machine_s_own_addresses_and_the_election() -> None:
    assert of(('"203.0.113.3/24"', '"203.0.113.9/24"'))[0].key == "node.public_address"
    assert of(('"203.0.113.4/24"', '"203.0.113.9/24"')) == ()
    assert of(extra="[vrrp]\nrouter_id = 52\n")[0].stalls == 3


def test_from_nobody_knows_what_every_flow_counts_as_broken() -> None:
    flows = (LiveFlow("udp", False, IPv4Address("192.168.1.9"), IPv4Address("192.0.2.221"), 9),) * 3
    assert (anything(flows).breaks, anything(()).breaks) == (3, 0)
