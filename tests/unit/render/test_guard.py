"""The egress program, run by a small interpreter of classic BPF against frames of all kinds."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natpair.render.base import Sides
from natpair.render.guard import (
    DROP,
    ETHERTYPE_IPV4,
    JUMP_EQUAL,
    LOAD_HALF,
    LOAD_WORD,
    PASS,
    RETURN,
    Instruction,
    allow_list,
    allowed_sources,
    bytecode,
    guard_file,
)
from samples import gateway

INTERNET = IPv4Address("198.51.100.10")
NO_LEASE = str(IPv4Address(0))

addresses = st.integers(0, 2**32 - 1).map(IPv4Address)


def execute(program: Sequence[Instruction], frame: bytes) -> int:
    """What the kernel would return: accumulator, program counter, nothing else is needed for this program."""
    accumulator, at = 0, 0
    while True:
        instruction = program[at]
        at += 1
        match instruction.code:
            case c if c == LOAD_HALF:
                (accumulator,) = struct.unpack_from("!H", frame, instruction.operand)
            case c if c == LOAD_WORD:
                (accumulator,) = struct.unpack_from("!I", frame, instruction.operand)
            case c if c == JUMP_EQUAL:
                at += instruction.if_true if accumulator == instruction.operand else instruction.if_false
            case c if c == RETURN:
                return instruction.operand
            case code:
                raise AssertionError(f"unknown instruction {code:#x}")


def ipv4_frame(source: IPv4Address, destination: IPv4Address = INTERNET, rest: bytes = b"") -> bytes:
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28, 0, 0, 64, 17, 0, source.packed, destination.packed)
    return bytes(12) + struct.pack("!H", ETHERTYPE_IPV4) + header + bytes(8) + rest


@given(st.lists(addresses, min_size=1, max_size=18, unique=True), addresses, addresses, st.binary(max_size=64))
def test_exactly_the_listed_sources_pass(
    listed: list[IPv4Address], source: IPv4Address, destination: IPv4Address, rest: bytes
) -> None:
    program = allow_list(listed)
    assert execute(program, ipv4_frame(source, destination, rest)) == (PASS if source in listed else DROP)
    for address in listed:
        assert execute(program, ipv4_frame(address, destination, rest)) == PASS


@given(st.lists(addresses, min_size=1, max_size=18, unique=True), st.integers(0, 0xFFFF), st.binary(min_size=40))
def test_what_is_not_ipv4_passes(listed: list[IPv4Address], ethertype: int, rest: bytes) -> None:
    frame = bytes(12) + struct.pack("!H", ethertype) + rest
    if ethertype != ETHERTYPE_IPV4:
        assert execute(allow_list(listed), frame) == PASS


@given(st.lists(addresses, min_size=1, max_size=18, unique=True))
def test_every_jump_lands_inside_and_fits_a_byte(listed: list[IPv4Address]) -> None:
    program = allow_list(listed)
    for at, instruction in enumerate(program):
        for jump in (instruction.if_true, instruction.if_false):
            assert 0 <= jump <= 255
            assert at + 1 + jump < len(program) or instruction.code == RETURN


def test_a_private_source_and_the_peer_do_not_leave() -> None:
    program = allow_list(allowed_sources(Sides.of(gateway(), "nat-a")))
    verdicts = {
        source: execute(program, ipv4_frame(IPv4Address(source)))
        for source in ("203.0.113.3", "192.0.2.221", NO_LEASE, "192.168.1.101", "192.168.1.1", "203.0.113.4")
    }
    assert verdicts == {
        "203.0.113.3": PASS,
        "192.0.2.221": PASS,
        NO_LEASE: PASS,
        "192.168.1.101": DROP,
        "192.168.1.1": DROP,
        "203.0.113.4": DROP,
    }


def test_the_notation_is_that_of_tc() -> None:
    """The program that was measured in the lab, built from its two addresses."""
    program = allow_list([IPv4Address("203.0.113.3"), IPv4Address("192.0.2.221")])
    expected = "7,40 0 0 12,21 0 4 2048,32 0 0 26,21 2 0 3405803779,21 1 0 3221226205,6 0 0 2,6 0 0 0"
    assert bytecode(program) == expected


@pytest.mark.parametrize("node", ["nat-a", "nat-b"])
def test_the_file_names_the_interface_of_its_node(node: str) -> None:
    text = guard_file(Sides.of(gateway(), node)).text
    assert "qdisc replace dev eth0 clsact" in text
