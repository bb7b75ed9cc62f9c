"""A gateway.toml from answers: the text of a file that people go on editing, with the why beside the keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_FILE = """\
# A pair of NAT gateways; the same file on both nodes, as /etc/natpair/gateway.toml.
# Every other key, explained and at its default: docs/configuration.md.

[pair]
vip = "{vip}"  # the private instances' default gateway; moves between the nodes
fips = [{fips}]  # what the world sees; never changes
profile = "{profile}"  # fast, balanced or conservative

[[node]]
{first}
[[node]]
{second}
[bgp]
region = "{region}"  # chooses the route servers
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
    """All that has to be known; the nodes by the keys of their tables. Nothing here is checked: `load.parse` does."""

    vip: str
    fips: Sequence[str]
    profile: str
    region: str
    first: Mapping[str, str]
    second: Mapping[str, str]


def compose(answers: Answers) -> str:
    """The file."""
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
    """An answer as a TOML text."""
    return f'"{_bare(answer)}"'


def _bare(text: str) -> str:
    # No answer has a use for these, and none may end the string it stands in.
    return "".join(c for c in text.strip() if c not in '"\\' and c.isprintable())
