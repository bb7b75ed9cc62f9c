"""What Linode's specification says of request bodies, rule by rule, and a body that breaks each rule.

Two sources. The table inside linode-cli (spec 4.229.1) has every key of every body with its type, and which are
required. It has no lengths, patterns and choices, and does not look into lists of lists: those below are facts from
`openapi.json` of linode/linode-api-openapi at 5c7b318e, at the offsets (in characters) that stand beside them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from unit.linode.published import Published

_LABEL = r"^[a-zA-Z]((?!--|__|\.\.)[a-zA-Z0-9-_.])+$"
_PURPOSES = ("public", "vlan", "vpc")
_DISK_OR_NOT = ("enabled", "disabled")
_POLICIES = ("linode/migrate", "linode/power_off_on")
_ACTIONS = ("ACCEPT", "DROP")
_PROTOCOLS = ("TCP", "UDP", "ICMP", "IPENCAP")


@dataclass(frozen=True)
class Limits:
    """What a value may be. `least` and `most`: characters of a text, items of a list; `minimum`: of a number."""

    at: int
    least: int = 0
    most: int | None = None
    pattern: str | None = None
    choices: tuple[str, ...] = ()
    minimum: int | None = None
    required: bool = False

    def complaints(self, value: Any) -> Iterator[str]:
        """Everything that is wrong with a value; a null is none."""
        if isinstance(value, str | list) and not self.least <= len(value) <= (self.most or len(value)):
            yield "length"
        if isinstance(value, str) and self.pattern and not re.search(self.pattern, value):
            yield "pattern"
        if isinstance(value, str) and self.choices and value not in self.choices:
            yield "choice"
        if isinstance(value, int) and self.minimum is not None and value < self.minimum:
            yield "minimum"


_RULE = {
    "action": Limits(6_740_000, choices=_ACTIONS),
    "addresses.ipv4": Limits(6_740_200, least=1),
    "addresses.ipv6": Limits(6_740_800, least=1),
    "description": Limits(6_741_500, least=1, most=100),
    "label": Limits(6_741_800, least=3, most=32),
    "protocol": Limits(6_743_200, choices=_PROTOCOLS),
}
_RULES = {f"{side}.{name}": limits for side in ("inbound", "outbound") for name, limits in _RULE.items()} | {
    "inbound_policy": Limits(6_743_700, choices=_ACTIONS),
    "outbound_policy": Limits(6_748_500, choices=_ACTIONS),
}
_DISK = {
    "disk_encryption": Limits(3_119_000, choices=_DISK_OR_NOT),
    "maintenance_policy": Limits(3_121_500, choices=_POLICIES),
    "root_pass": Limits(3_124_800, least=7, most=128),
}
_LEGACY = {
    "interfaces.label": Limits(3_164_000, least=1, most=64, pattern=r"^(?!.*--)[a-zA-Z0-9-]+$"),
    "interfaces.purpose": Limits(3_168_000, choices=_PURPOSES, required=True),
}
_VLAN = Limits(3_142_900, least=1, most=64, pattern=r"^[a-zA-Z0-9-]+$")
_CREATE = _DISK | {
    "firewall_id": Limits(3_127_600, minimum=-1),
    "interface_generation": Limits(3_128_500, choices=("legacy_config", "linode")),
    "kernel": Limits(3_170_200, least=1, most=100),
    "label": Limits(3_170_700, least=3, most=64, pattern=_LABEL),
}

FACTS: Mapping[str, Mapping[str, Limits]] = {
    "POST /linode/instances": _CREATE | _LEGACY,
    "POST /linode/instances, Linode interfaces": {
        "interfaces.firewall_id": Limits(3_134_000, minimum=-1),
        "interfaces.vlan.vlan_label": _VLAN,
        "interfaces.public.ipv4.addresses.address": Limits(3_136_500, least=1),
    },
    "POST /linode/instances/{linodeId}/rebuild": _DISK,
    "PUT /linode/instances/{linodeId}/configs/{configId}": _LEGACY,
    "POST /linode/instances/{linodeId}/interfaces": {
        "vlan.vlan_label": _VLAN,
        "firewall_id": Limits(4_023_000, minimum=-1),
    },
    "POST /networking/firewalls": {
        "label": Limits(4_265_000, least=3, most=32, pattern=_LABEL),
        **{f"rules.{name}": limits for name, limits in _RULES.items()},
    },
    "PUT /networking/firewalls/{firewallId}/rules": _RULES,
}


def bare(operation: str) -> str:
    """The operation without what tells two bodies of one operation apart."""
    return operation.partition(",")[0]


def values_at(body: Any, path: Sequence[str]) -> Iterator[Any]:
    """Every value at the end of the path, in all items of lists on the way."""
    if isinstance(body, list) and path:
        for item in body:
            yield from values_at(item, path)
    elif not path:
        yield body
    elif isinstance(body, Mapping) and path[0] in body:
        yield from values_at(body[path[0]], path[1:])


def complaints(operation: str, body: Mapping[str, Any]) -> list[str]:
    """What the facts hold against a body."""
    return [
        f"{path} = {value!r}: {complaint}"
        for known, facts in FACTS.items()
        if bare(known) == operation
        for path, limits in facts.items()
        for value in values_at(body, path.split("."))
        for complaint in limits.complaints(value)
    ]


@dataclass(frozen=True)
class Rule:
    """One rule of one operation; `broken` is a value that breaks it, None stands for leaving the key out."""

    operation: str
    path: str
    kind: str
    broken: Any

    @property
    def name(self) -> str:
        """As the table of what is not enforced names it."""
        return f"{self.operation}: {self.path} {self.kind}"

    def break_in(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """A copy of a good body in which this rule is broken."""
        made = deepcopy(dict(body))
        *way, leaf = self.path.split(".")
        place: Any = made
        for part in way:
            if isinstance(place, list):
                place = next((one for one in place if part in one), place[-1])
            place = place.setdefault(part, {})
        if isinstance(place, list):
            place = next((one for one in place if leaf in one), place[-1])
        if self.broken is None:
            place.pop(leaf, None)
        else:
            place[leaf] = self.broken
        return made


_WRONG = {"string": 7, "integer": "x", "boolean": "x", "array": "x", "object": "x"}


def rules_of(operation: str, table: Published) -> Iterator[Rule]:
    """Every rule of an operation that a body can break."""
    for one in table.arguments:
        if one.read_only:
            continue
        yield Rule(operation, one.path, "type", _WRONG[one.type])
        if one.type == "array" and one.item:
            yield Rule(operation, one.path, "item type", [_WRONG[one.item]])
        if one.required:
            yield Rule(operation, one.path, "required", None)
    for path, limits in FACTS.get(operation, {}).items():
        yield from _broken_limits(operation, path, limits)


def _broken_limits(operation: str, path: str, limits: Limits) -> Iterator[Rule]:
    many = path.endswith(("ipv4", "ipv6"))
    if limits.least:
        yield Rule(operation, path, "least", [] if many else "a" * (limits.least - 1))
    if limits.most:
        yield Rule(operation, path, "most", "a" * (limits.most + 1))
    if limits.pattern:
        for text in ("a--b", "a b", "1", "é-a") if limits.pattern == _LABEL else ("a b", "é"):
            yield Rule(operation, path, f"pattern {text!r}", text + "x" * 3)
    if limits.choices:
        yield Rule(operation, path, "choice", "no-such")
    if limits.minimum is not None:
        yield Rule(operation, path, "minimum", limits.minimum - 1)
    if limits.required:
        yield Rule(operation, path, "required", None)
