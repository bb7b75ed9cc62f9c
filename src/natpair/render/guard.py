"""The second fail-closed layer: a classic BPF allow-list on egress of the public interface.

It works without any ruleset: even after `nft flush ruleset`, no packet with a private source leaves. The program is
built here instruction by instruction (classic BPF, the kernel's networking/filter documentation).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address

from natpair.core import paths
from natpair.render.base import RenderedFile, Sides, fill

LOAD_HALF = 0x28
LOAD_WORD = 0x20
JUMP_EQUAL = 0x15
RETURN = 0x06
"""BPF_LD|BPF_H|BPF_ABS, BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, BPF_RET|BPF_K."""

ETHERTYPE_OFFSET = 12
SOURCE_OFFSET = 26
ETHERTYPE_IPV4 = 0x0800
PASS = 0
DROP = 2
"""TC_ACT_OK and TC_ACT_SHOT, which need `direct-action` on the filter."""

_UNSPECIFIED = IPv4Address(0)


@dataclass(frozen=True, slots=True)
class Instruction:
    """One classic BPF instruction: code, jumps if true and if false, operand."""

    code: int
    if_true: int
    if_false: int
    operand: int

    def __str__(self) -> str:
        return f"{self.code} {self.if_true} {self.if_false} {self.operand}"


def allow_list(sources: Sequence[IPv4Address]) -> tuple[Instruction, ...]:
    """A program that drops IPv4 Ethernet frames whose source is not in `sources`, and passes everything else."""
    count = len(sources)
    tests = [
        # The n-th test jumps over the remaining tests and the drop, to the pass at the end.
        Instruction(JUMP_EQUAL, count - n, 0, int(source))
        for n, source in enumerate(sources)
    ]
    return (
        Instruction(LOAD_HALF, 0, 0, ETHERTYPE_OFFSET),
        Instruction(JUMP_EQUAL, 0, count + 2, ETHERTYPE_IPV4),
        Instruction(LOAD_WORD, 0, 0, SOURCE_OFFSET),
        *tests,
        Instruction(RETURN, 0, 0, DROP),
        Instruction(RETURN, 0, 0, PASS),
    )


def bytecode(program: Sequence[Instruction]) -> str:
    """The program in the notation of tc-bpf(8): the number of instructions, then each one."""
    return ",".join([str(len(program)), *map(str, program)])


def allowed_sources(sides: Sides) -> tuple[IPv4Address, ...]:
    """The sources that may leave on the WAN: the node's own address, the FIPs, and 0.0.0.0.

    0.0.0.0 is the source of a DHCP client without a lease (RFC 2131 section 4.1). Without it, a node that lost its
    lease could not get a new one.
    """
    return tuple(dict.fromkeys((sides.node.public_address.ip, *sides.gateway.pair.fips, _UNSPECIFIED)))


def guard_file(sides: Sides) -> RenderedFile:
    """guard.tc: commands for `tc -force -batch`; it is safe to run them again at any time."""
    sources = allowed_sources(sides)
    text = fill(
        "guard.tc.j2",
        sides,
        interface=sides.node.public_interface,
        sources=", ".join(map(str, sources)),
        bytecode=bytecode(allow_list(sources)),
    )
    return RenderedFile(paths.GUARD, text)
