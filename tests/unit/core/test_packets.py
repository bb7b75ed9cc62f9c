"""Packets: their checksums come out, and what one part puts on the wire another reads."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natpair.core import packets


@given(st.binary(max_size=80))
def test_a_checksum_makes_the_sum_come_out(data: bytes) -> None:
    even = data + b"\0" * (len(data) % 2)
    assert packets.checksum(even + struct.pack("!H", packets.checksum(even))) == 0


@pytest.mark.parametrize("data", [b"", b"\1", b"\xff\xff\xff\xff", b"\xff" * 70_000])
def test_a_carry_is_never_lost(data: bytes) -> None:
    even = data + b"\0" * (len(data) % 2)
    assert packets.checksum(even + struct.pack("!H", packets.checksum(even))) == 0


def test_what_is_no_arp_for_ipv4_is_none() -> None:
    frame = packets.arp(b"\2" * 6, packets.ARP_REQUEST, "192.168.1.1", "192.168.1.2")
    assert packets.read_arp(frame[14:]) is not None
    assert packets.read_arp(frame[14:41]) is None
    assert packets.read_arp(b"\0\6" + frame[16:]) is None


def test_capabilities_are_read_once_each_and_a_torn_list_ends() -> None:
    assert packets.bgp_capabilities(b"\2\4\x41\0\1\0" + b"\2\2\1\0" + b"\1\2\x63\0") == (1, 0x41)
    assert packets.bgp_capabilities(b"\2\x20\1") == ()
