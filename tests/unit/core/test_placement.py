"""Where a node's own addresses stand, said as people would."""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv6Interface

import pytest

from natpair.core.guess import Interface
from natpair.core.placement import misplaced, strays
from samples import gateway

NODE = gateway().node[0]
PUBLIC, PUBLIC6 = IPv4Interface("203.0.113.3/24"), IPv6Interface("2001:db8:100::3/64")
PRIVATE, OTHER = IPv4Interface("192.168.1.3/24"), IPv4Interface("192.168.1.9/24")


def seen(eth0: tuple[IPv4Interface, ...], eth1: tuple[IPv4Interface, ...], six: str = "eth0") -> list[Interface]:
    return [Interface(name, four, (PUBLIC6,) if name == six else ()) for name, four in (("eth0", eth0), ("eth1", eth1))]


@pytest.mark.parametrize(
    ("machine", "said"),
    [
        (seen((PUBLIC,), (PRIVATE,)), []),
        (seen((PUBLIC,), (OTHER,)), ["192.168.1.3 is not on eth1, which has 192.168.1.9"]),
        (seen((PUBLIC,), ()), ["192.168.1.3 is not on eth1, which has no address of this kind"]),
        (
            seen((PRIVATE,), (PUBLIC,), "eth1"),
            [
                "192.168.1.3 is on eth0, not eth1",
                "203.0.113.3 is on eth1, not eth0",
                "2001:db8:100::3 is on eth1, not eth0",
            ],
        ),
        (seen((PUBLIC, PRIVATE), (PRIVATE, OTHER)), []),
    ],
)
def test_an_own_address_that_is_not_where_it_should_be(machine: list[Interface], said: list[str]) -> None:
    assert [str(one) for one in misplaced(NODE, machine)] == said


def test_one_that_stands_twice_is_a_stray_on_the_wrong_interface() -> None:
    assert list(strays(NODE, seen((PUBLIC, PRIVATE), (PRIVATE, PUBLIC)))) == [
        (PRIVATE, "eth0", "eth1"),
        (PUBLIC, "eth1", "eth0"),
    ]
