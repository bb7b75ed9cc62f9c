"""Guesses from what a machine shows: a node as natpair wants it, and machines that tell less."""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv6Interface

from natpair.core.guess import Guess, Interface, Seen, guess

PUBLIC = Interface("eth0", (IPv4Interface("203.0.113.3/24"),), (IPv6Interface("2001:db8:100::3/64"),))
VLAN = Interface("eth1", (IPv4Interface("192.168.1.3/24"),))


def test_a_node_tells_almost_all() -> None:
    assert guess(Seen((PUBLIC, VLAN), "eth0")) == Guess(
        "eth0",
        IPv4Interface("203.0.113.3/24"),
        IPv6Interface("2001:db8:100::3/64"),
        "eth1",
        IPv4Interface("192.168.1.3/24"),
        IPv4Interface("192.168.1.1/24"),
        IPv4Interface("192.168.1.4/24"),
    )


def test_a_machine_without_anything_tells_nothing() -> None:
    assert guess(Seen()) == Guess()
    assert guess(Seen((Interface("eth0"),), "eth0")) == Guess(public_interface="eth0")


def test_the_public_interface_is_never_the_private_one_and_unique_local_is_not_routed() -> None:
    behind = Interface("eth0", (IPv4Interface("10.0.0.9/24"),), (IPv6Interface("fd00::9/64"),))
    found = guess(Seen((behind,), "eth0"))
    assert (found.private_interface, found.public_address6) == (None, None)


def test_the_vip_and_the_peer_are_addresses_nobody_has() -> None:
    first = guess(Seen((PUBLIC, Interface("eth1", (IPv4Interface("10.0.0.1/29"),))), "eth0"))
    assert (str(first.vip), str(first.peer_private_address)) == ("10.0.0.2/29", "None")
    last = guess(Seen((PUBLIC, Interface("eth1", (IPv4Interface("10.0.0.6/29"),))), "eth0"))
    assert (str(last.vip), str(last.peer_private_address)) == ("10.0.0.1/29", "10.0.0.5/29")
