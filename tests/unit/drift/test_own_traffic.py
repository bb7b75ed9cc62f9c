"""The route of a table that decides about an address."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from natpair.drift.own_traffic import best


@dataclass(frozen=True)
class Message:
    """As much of a netlink message as is looked at."""

    dst: str | None
    length: int
    metric: int | None = None

    def __getitem__(self, key: str) -> int:
        six = self.dst is not None and ":" in self.dst
        return {"dst_len": self.length, "family": socket.AF_INET6 if six else socket.AF_INET}[key]

    def get_attr(self, name: str) -> object:
        return {"RTA_DST": self.dst, "RTA_PRIORITY": self.metric}[name]


DEFAULT, NETWORK = Message(None, 0), Message("192.168.1.0", 24)
SPARE, HALF, HOST = Message("192.168.1.0", 24, 4096), Message("192.168.1.0", 25), Message("192.168.1.4", 32, 50)


@pytest.mark.parametrize(
    ("routes", "expected"),
    [
        ([], None),
        ([DEFAULT], DEFAULT),
        ([DEFAULT, SPARE, NETWORK], NETWORK),
        ([NETWORK, HALF], HALF),
        ([HOST, NETWORK], HOST),
        ([Message("10.0.0.0", 8)], None),
    ],
)
def test_the_longest_prefix_decides_then_the_lowest_metric(routes: list[Message], expected: Message | None) -> None:
    assert best(routes, IPv4Address("192.168.1.4")) is expected


def test_families_do_not_mix() -> None:
    six = Message("2600:3c0f::", 32)
    assert best([six], IPv6Address("2600:3c0f:18:34::1")) is six
    assert best([six], ip_address("192.0.2.1")) is None
