"""ARP frames, parsed and refused. tests/contract sends real ones."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address
from unittest.mock import MagicMock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natpair.system.arp import ArpPort, Heard, parse

MAC = bytes.fromhex("02aabbccddee")


def frame(
    sender: str = "192.168.1.101",
    operation: int = 1,
    ethertype: int = 0x0806,
    hardware: int = 1,
    protocol: int = 0x0800,
    mac: bytes = MAC,
) -> bytes:
    head = struct.pack("!6s6sHHHBBH", b"\xff" * 6, mac, ethertype, hardware, protocol, 6, 4, operation)
    return head + mac + IPv4Address(sender).packed + b"\0" * 6 + IPv4Address("192.168.1.1").packed


def test_a_request_and_a_reply_tell_their_sender() -> None:
    assert parse(frame()) == Heard(IPv4Address("192.168.1.101"), MAC, reply=False)
    assert parse(frame(operation=2)) == Heard(IPv4Address("192.168.1.101"), MAC, reply=True)


def test_a_flood_does_not_hold_the_reader_for_ever() -> None:
    port = object.__new__(ArpPort)
    endless = MagicMock()
    endless.recv.return_value = frame()
    port.socket, port.mac = endless, b"\2" * 6
    heard = port.heard()
    assert 300 <= len(heard) <= 1000, "what a queue of 208 kB holds, and not much more"


def test_padding_to_the_shortest_ethernet_frame_does_no_harm() -> None:
    assert parse(frame() + b"\0" * 18) == parse(frame())


@pytest.mark.parametrize(
    "wrong",
    [
        frame(sender="0.0.0.0"),  # noqa: S104 - an address probe of RFC 5227 claims nothing
        frame(operation=3),
        frame(ethertype=0x0800),
        frame(hardware=6),
        frame(protocol=0x86DD),
        frame()[:-1],
        b"",
    ],
    ids=["probe", "rarp", "ip", "not-ethernet", "not-ipv4", "short", "empty"],
)
def test_anything_else_is_nothing(wrong: bytes) -> None:
    assert parse(wrong) is None


@given(st.binary(max_size=300))
def test_noise_never_raises(noise: bytes) -> None:
    heard = parse(noise)
    assert heard is None or len(heard.mac) == 6


@given(st.ip_addresses(v=4).filter(lambda address: int(address) != 0), st.binary(min_size=6, max_size=6))
def test_every_sender_is_read_as_it_is(address: IPv4Address, mac: bytes) -> None:
    assert parse(frame(str(address), mac=mac)) == Heard(address, mac, reply=False)
