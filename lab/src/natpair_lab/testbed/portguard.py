"""Which sources the public switch lets out of a Linode's port: its own addresses and those shared to it. Pure text.

Frames are dropped on their way into the switch, after any tap: a drill that looks for leaks still sees them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

TABLE = "natpair_ports"


@dataclass(frozen=True, slots=True)
class Allowed:
    """What a port may send from."""

    ipv4: Iterable[IPv4Address]
    ipv6: IPv6Address


def ruleset(ports: Mapping[str, Allowed]) -> str:
    """The nft transaction that makes the public switch hold `ports` to their addresses."""
    rules = "".join(_rules(port, allowed) for port, allowed in sorted(ports.items()))
    return f"""\
add table bridge {TABLE}
delete table bridge {TABLE}
table bridge {TABLE} {{
  chain sources {{
    type filter hook prerouting priority -290; policy accept;
{rules}  }}
}}
"""


def _rules(port: str, allowed: Allowed) -> str:
    own = ", ".join(map(str, sorted(set(allowed.ipv4))))
    return f"""\
    iifname "{port}" ip saddr != {{ {own} }} counter drop
    iifname "{port}" arp saddr ip != {{ 0.0.0.0, {own} }} counter drop
    iifname "{port}" ip6 saddr != {{ ::, fe80::/10, {allowed.ipv6} }} counter drop
"""
