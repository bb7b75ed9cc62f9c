"""Compose the text of a gateway.toml from answers, with a comment beside the keys for later editing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_FILE = """\
# A pair of NAT gateways; the same file on both nodes, as /etc/natpair/gateway.toml.
# docs/configuration.md explains every other key and its default.

[pair]
vip = "{vip}"  # the private instances' default gateway; moves between the nodes
fips = [{fips}]  # source addresses of outgoing traffic; never change
profile = "{profile}"  # fast, balanced or conservative

[[node]]
{first}
[[node]]
{second}
[bgp]
region = "{region}"  # determines the route servers
"""
_NODE_KEYS = (
    "name",
    "private_interface",
    "private_address",
    "public_interface",
    "public_address",
    "public_address6",
)


@dataclass(frozen=True, slots=True)
class Answers:
    """The values that a file needs; those of the nodes by key. They are not checked here; `load.parse` checks them."""

    vip: str
    fips: Sequence[str]
    profile: str
    region: str
    first: Mapping[str, str]
    second: Mapping[str, str]


def compose(answers: Answers) -> str:
    """The text of the file."""
    return _FILE.format(
        vip=_bare(answers.vip),
        fips=", ".join(f'"{_bare(fip)}"' for fip in answers.fips),
        profile=_bare(answers.profile),
        region=_bare(answers.region),
        first=_node(answers.first),
        second=_node(answers.second),
    )


def _node(answers: Mapping[str, str]) -> str:
    return "".join(f'{key} = "{_bare(answers[key])}"\n' for key in _NODE_KEYS)


def quoted(answer: str) -> str:
    """An answer as a TOML string."""
    return f'"{_bare(answer)}"'


def _bare(text: str) -> str:
    # No answer needs these characters, and they could end the TOML string.
    return "".join(c for c in text.strip() if c not in '"\\' and c.isprintable())
