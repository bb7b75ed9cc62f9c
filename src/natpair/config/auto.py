"""The value "auto" in a gateway.toml, for values that only the platform can assign. Pure.

The models never contain it. While a file has "auto", the rules are checked with stand-ins: documentation addresses
that the file does not use elsewhere. `natpair cloud apply` replaces each "auto" in the file with the assigned value.
"""

from __future__ import annotations

import copy
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any

from natpair.config.lines import map_lines, map_texts
from natpair.core.model import Gateway
from natpair.errors import ConfigError, Problem

AUTO = "auto"
STAMP = "cloud.stamp"

_NODE_KEYS = ("public_address", "public_address6")
_STAND_IN_NETWORKS = ("198.51.100.0/24", "203.0.113.0/24", "192.0.2.0/24")
_CLOUD_HEADER = re.compile(r"^[ \t]*\[[ \t]*cloud[ \t]*\][^\n]*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Draft:
    """A file that may still contain "auto"; for the keys in `autos` the gateway has stand-ins."""

    text: str
    gateway: Gateway
    autos: frozenset[str] = frozenset()

    @property
    def complete(self) -> bool:
        """Whether every value is filled in, except perhaps the stamp."""
        return not self.autos - {STAMP}


def autos_in(raw: Mapping[str, Any]) -> tuple[str, ...]:
    """The keys that are "auto" and may be."""
    return tuple(key for key, value in _places(raw) if value == AUTO)


def _places(raw: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    pair, nodes, cloud = raw.get("pair"), raw.get("node"), raw.get("cloud")
    fips = pair.get("fips") if isinstance(pair, dict) else None
    for index, fip in enumerate(fips if isinstance(fips, list) else ()):
        yield f"pair.fips[{index}]", fip
    for index, node in enumerate(nodes if isinstance(nodes, list) else ()):
        for name in _NODE_KEYS if isinstance(node, dict) else ():
            yield f"node[{index}].{name}", node.get(name)
    if isinstance(cloud, dict):
        yield STAMP, cloud.get("stamp")


def with_stand_ins(raw: Mapping[str, Any], autos: Iterable[str]) -> dict[str, Any]:
    """`raw` with a valid stand-in for each "auto"."""
    made = copy.deepcopy(dict(raw))
    used = str(raw)
    free = (host for network in _STAND_IN_NETWORKS for host in IPv4Network(network).hosts() if str(host) not in used)
    for number, key in enumerate(autos):
        if key == STAMP:
            del made["cloud"]["stamp"]
        elif key.startswith("pair.fips"):
            made["pair"]["fips"][_index(key)] = str(next(free))
        elif key.endswith("6"):
            made["node"][_index(key)]["public_address6"] = f"2001:db8:ffff:{number:x}::1/64"
        else:
            made["node"][_index(key)]["public_address"] = f"{next(free)}/24"
    return made


def _index(key: str) -> int:
    return int(key.partition("[")[2].partition("]")[0])


def corrected(problems: Iterable[Problem], autos: Iterable[str]) -> list[Problem]:
    """The problems, corrected where they are only about a stand-in."""
    open_addresses = any(key.endswith(".public_address") for key in autos)
    return [
        _about_the_router(one) if open_addresses and one.key == "health.public_gateway" else one for one in problems
    ]


def _about_the_router(problem: Problem) -> Problem:
    message = "cannot be checked before the nodes' public addresses are known"
    accepted = "the key left out; each node then probes its own default gateway"
    return Problem(problem.key, problem.value, message, accepted)


def open_problem(key: str) -> Problem:
    """The problem that `check` reports for an "auto" that is not filled in yet."""
    what = "8 hexadecimal digits, or the key left out" if key == STAMP else "the address itself"
    return Problem(key, AUTO, "is not filled in yet; `natpair cloud apply` does that", what)


def fill(text: str, values: Mapping[str, str]) -> str:
    """`text` with the strings of these keys replaced and nothing else changed. Raise KeyError for a missing key."""
    places = map_texts(text)
    made = text
    for key, value in sorted(values.items(), key=lambda item: places[item[0]], reverse=True):
        start, end = places[key]
        made = f'{made[:start]}"{value}"{made[end:]}'
    return made


def with_stamp(text: str, stamp: str) -> str:
    """`text` with `cloud.stamp` set. A missing key is added below `[cloud]`, a missing table at the end."""
    if STAMP in map_texts(text):
        return fill(text, {STAMP: stamp})
    line = f'stamp = "{stamp}"'
    header = _CLOUD_HEADER.search(text)
    if header:
        made = f"{text[: header.end()]}\n{line}{text[header.end() :]}"
    elif "cloud" in map_lines(text):
        raise ConfigError("gateway.toml", [Problem(STAMP, "", "is missing", f"{line} next to the other keys of cloud")])
    else:
        made = f"{text}{'' if text.endswith(chr(10)) or not text else chr(10)}\n[cloud]\n{line}\n"
    if tomllib.loads(made).get("cloud", {}).get("stamp") != stamp:
        raise ConfigError("gateway.toml", [Problem(STAMP, "", "cannot be added to this file", f"{line} below [cloud]")])
    return made
