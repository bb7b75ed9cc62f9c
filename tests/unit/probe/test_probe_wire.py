"""The probe's packets, made and read; and that what is shipped runs on a bare Python."""

from __future__ import annotations

import ast
import struct
import sys
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natpair.core import packets
from natpair.probe import wire
from natpair.probe.channel import SHIPPED
from natpair.probe.hands import sessions_in
from natpair.probe.vlan import worst_excess_ms

MAC = bytes.fromhex("0200000000aa")


def ethernet(kind: int, payload: bytes) -> bytes:
    return b"\xff" * 6 + MAC + kind.to_bytes(2, "big") + payload


def ipv4(protocol: int, destination: str, body: bytes) -> bytes:
    ends = IPv4Address("192.168.1.3").packed + IPv4Address(destination).packed
    return struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, protocol, 0) + ends + body


def bgp_open(hold: int, parameters: bytes) -> bytes:
    body = struct.pack("!BHH4sB", 4, 65000, hold, bytes([10, 255, 0, 1]), len(parameters)) + parameters
    return b"\xff" * 16 + struct.pack("!HB", 19 + len(body), 1) + body


def ipv6_tcp(source_port: int, data: bytes) -> bytes:
    segment = struct.pack("!HHIIBBHHH", source_port, 40000, 0, 0, 5 << 4, 0x18, 1000, 0, 0) + data
    ends = bytes.fromhex("26003c0f001800340000000000000001") + bytes.fromhex("20010db8010000000000000000000003")
    return struct.pack("!IHBB", 6 << 28, len(segment), 6, 61) + ends + segment


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**63), st.integers(0, 255), st.integers(0, 65535))
def test_a_datagram_comes_back_as_it_was(sequence: int, stamp: int, node: int, mark: int) -> None:
    sent = wire.Datagram(wire.ANSWER, sequence, stamp, node, mark, 17, "203.0.113.9", 4711)
    assert wire.unpack(sent.pack()) == sent


def test_an_answer_is_no_longer_than_a_question() -> None:
    assert len(wire.Datagram(wire.ASK, 1, 1).pack()) == len(wire.Datagram(wire.ANSWER, 1, 1, 0, 9, 9).pack())


@pytest.mark.parametrize("data", [b"", b"npp1", b"x" * 34, b"x" * 2000])
def test_what_is_not_ours_is_nothing(data: bytes) -> None:
    assert wire.unpack(data) is None


def test_an_advert_is_heard_with_its_number_and_its_checksum_is_right() -> None:
    advert = wire.vrrp_advert("192.168.1.3", "224.0.0.18", 70_001)
    ends = bytes([192, 168, 1, 3, 224, 0, 0, 18])
    assert packets.checksum(ends + struct.pack("!BBH", 0, 112, len(advert)) + advert) == 0
    heard = wire.heard_in(ethernet(packets.ETH_IPV4, ipv4(112, "224.0.0.18", advert)), 5)
    assert heard == wire.Heard("vrrp", 5, "224.0.0.18", 70_001)


def test_other_peoples_adverts_and_arp_are_not_ours() -> None:
    foreign = bytearray(wire.vrrp_advert("192.168.1.3", "224.0.0.18", 1))
    foreign[1] = 51
    assert wire.heard_in(ethernet(packets.ETH_IPV4, ipv4(112, "224.0.0.18", bytes(foreign))), 5) is None
    question = bytearray(wire.gratuitous_arp("02:00:00:00:00:aa", "192.168.1.1"))
    question[-1] = 9  # who has .9, tell .1: not gratuitous
    assert wire.heard_in(bytes(question), 5) is None


def test_gratuitous_arp_is_heard_with_its_hardware_address() -> None:
    heard = wire.heard_in(wire.gratuitous_arp("02:00:00:00:00:aa", "192.168.1.1"), 5)
    assert heard == wire.Heard("arp", 5, mac="02:00:00:00:00:aa", address="192.168.1.1")


def test_a_sized_datagram_is_heard_with_the_length_of_the_whole_packet() -> None:
    body = struct.pack("!HHHH", 1, wire.SIZED_PORT, 1480, 0) + b"\0" * 1472
    heard = wire.heard_in(ethernet(packets.ETH_IPV4, ipv4(17, "192.168.1.4", body)), 5)
    assert heard is not None
    assert (heard.what, heard.number) == ("sized", 1500)


def test_an_open_tells_hold_time_and_capabilities() -> None:
    parameters = bytes([2, 6, 1, 4, 0, 1, 0, 1, 2, 2, 64, 0])
    said = wire.open_in(ethernet(packets.ETH_IPV6, ipv6_tcp(179, bgp_open(90, parameters))))
    assert said == wire.Open("2600:3c0f:18:34::1", 90, "10.255.0.1", (1, 64), 61)


@pytest.mark.parametrize("cut", range(14, 120, 7))
def test_half_an_open_is_none(cut: int) -> None:
    whole = ethernet(packets.ETH_IPV6, ipv6_tcp(179, bgp_open(90, bytes([2, 2, 64, 0]))))
    half = wire.open_in(whole[:cut])
    assert half is None or half.hold_seconds == 90


def test_another_port_is_not_bgp() -> None:
    assert wire.open_in(ethernet(packets.ETH_IPV6, ipv6_tcp(443, bgp_open(90, b"")))) is None


def test_the_vlan_is_charged_only_with_what_it_adds() -> None:
    step = 20_000_000
    sent = {n: n * step + (100_000_000 if n >= 3 else 0) for n in range(6)}  # the sender itself paused
    assert worst_excess_ms(sent, {n: t + 5_000 for n, t in sent.items()}) == 0
    late = {n: t + (30_000_000 if n == 4 else 0) for n, t in sent.items()}
    assert worst_excess_ms(sent, late) == 30
    lost = {n: t for n, t in sent.items() if n != 1}
    assert worst_excess_ms(sent, lost) == 20


def test_sessions_are_read_from_birds_own_words() -> None:
    shown = (
        "1002-rs1        BGP        ---        up     21:58:02.123  Established   \n"
        "1006-  BGP state:          Established\n     Hold timer:       2.345/3\n"
        " rs2        BGP        ---        start  21:58:02.123  Active        Received: Unacceptable hold time\n"
        "     Last error:       Received: Unacceptable hold time\n"
        " fip        Static     master4    up     21:58:02.123  \n0000 \n"
    )
    found = sessions_in(shown)
    assert (found.established, found.total, found.hold_seconds) == (1, 2, 3)
    assert found.errors == ("Received: Unacceptable hold time",)


def test_what_is_shipped_needs_nothing_that_is_not_shipped() -> None:
    allowed = {"natpair.probe", "natpair.core", *(f"natpair.{name.replace('/', '.')}" for name in SHIPPED)}
    for name in SHIPPED:
        source = (Path(wire.__file__).parents[1] / f"{name}.py").read_text()
        for node in ast.walk(ast.parse(source)):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for module in modules:
                assert module.split(".")[0] in sys.stdlib_module_names or module in allowed, (name, module)
