from __future__ import annotations

import pytest

from natpair.config.describe import accepted, leaves, model_of


@pytest.mark.parametrize(
    ("location", "phrase"),
    [
        (("pair", "fips"), 'a list of 1 to 16, each an IPv4 address such as "192.0.2.221"'),
        (("pair", "fips", 3), 'an IPv4 address such as "192.0.2.221"'),
        (("firewall", "management_tcp_ports"), "a list, each a whole number from 1 to 65535"),
        (("firewall", "management_tcp_ports", 0), "a whole number from 1 to 65535"),
        (("bgp", "hold_seconds"), "a whole number from 3 to 65535"),
        (("bgp", "region"), "text in quotes"),
        (("vrrp",), "a table with router_id"),
        (("nothing", "here"), ""),
    ],
)
def test_phrases_come_from_the_models(location: tuple[str | int, ...], phrase: str) -> None:
    assert accepted(location) == phrase


def test_no_key_is_without_a_phrase() -> None:
    assert [location for location, _ in leaves() if "typing" in accepted(location) or not accepted(location)] == []


def test_models_are_found_by_location() -> None:
    assert model_of(("node", 1)) is model_of(("node",))
    assert model_of(("pair", "vip")) is None
