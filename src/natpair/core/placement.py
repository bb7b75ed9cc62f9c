"""Where a node's own addresses stand on the machine, against what the configuration says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface

from natpair.core.guess import Interface
from natpair.core.model import Node

Own = IPv4Interface | IPv6Interface


@dataclass(frozen=True, slots=True)
class Misplaced:
    """An own address (`field` of the node) that is not on its interface: where it is instead, and what is there."""

    field: str
    own: Own
    interface: str
    elsewhere: tuple[str, ...]
    instead: tuple[Own, ...]

    def __str__(self) -> str:
        """In words for people."""
        if self.elsewhere:
            return f"{self.own.ip} is on {', '.join(self.elsewhere)}, not {self.interface}"
        there = ", ".join(str(one.ip) for one in self.instead)
        return f"{self.own.ip} is not on {self.interface}, which has {there or 'no address of this kind'}"


def own_addresses(node: Node) -> tuple[tuple[str, str, Own], ...]:
    """Field, interface and address of what a node needs to have."""
    return (
        ("private_address", node.private_interface, node.private_address),
        ("public_address", node.public_interface, node.public_address),
        ("public_address6", node.public_interface, node.public_address6),
    )


def misplaced(node: Node, seen: Sequence[Interface]) -> tuple[Misplaced, ...]:
    """The own addresses of `node` that are not on their interface."""
    return tuple(
        Misplaced(field, own, name, _holders(own, seen), _addresses(name, own, seen))
        for field, name, own in own_addresses(node)
        if name not in _holders(own, seen)
    )


def strays(node: Node, seen: Sequence[Interface]) -> Iterator[tuple[Own, str, str]]:
    """Own addresses that (also) stand on another interface than theirs: address, that interface, the right one."""
    for _, name, own in own_addresses(node):
        yield from ((own, holder, name) for holder in _holders(own, seen) if holder != name)


def _holders(own: Own, seen: Sequence[Interface]) -> tuple[str, ...]:
    return tuple(one.name for one in seen if own.ip in {there.ip for there in _addresses(one.name, own, seen)})


def _addresses(name: str, own: Own, seen: Sequence[Interface]) -> tuple[Own, ...]:
    for one in seen:
        if one.name == name:
            return one.addresses if own.version == 4 else one.addresses6
    return ()
