"""The report: a JSON document for programs and issues, and text. Pure; it never contains a token or a key."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from natpair.probe.analysis import Spread
from natpair.probe.facts import Fact, Facts, Value
from natpair.probe.recommend import Recommendation, recommend

SCHEMA = "natpair/probe/v1"

_ADDRESS = re.compile(r"(?<![\w:.])(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-fA-F]{0,4}(?::[0-9a-fA-F]{0,4}){2,7})(?![\w:])")
_ROUTE_SERVERS = ipaddress.IPv6Network("2600:3c0f::/32")
_MASKS = {4: ipaddress.ip_network("192.0.2.0/24"), 6: ipaddress.ip_network("2001:db8::/32")}
_KEPT = tuple(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "224.0.0.0/4", "fe80::/10")
)


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Where, when and with what the facts were measured. `began` is in UTC; `ended` says how the probe ended."""

    region: str
    plan: str
    site: str
    stamp: str
    began: str
    seconds: float
    version: str
    fip: str
    nodes: tuple[str, ...]
    ended: str = "complete"
    left_behind: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """Everything of one probe."""

    circumstances: Circumstances
    facts: Facts
    recommendation: Recommendation

    @classmethod
    def of(cls, circumstances: Circumstances, facts: Facts) -> Report:
        """The report, with its recommendation."""
        return cls(circumstances, facts, recommend(facts))

    def document(self, *, mask: bool = False) -> dict[str, Any]:
        """The report as plain JSON values."""
        body = dataclasses.asdict(self.circumstances)
        found: dict[str, Any] = {
            "schema": SCHEMA,
            **body,
            "facts": {fact.name.value: _fact(fact) for fact in self.facts.facts},
            "recommendation": dataclasses.asdict(self.recommendation) | {"fragment": fragment(self.recommendation)},
        }
        text = json.dumps(found)
        plain: dict[str, Any] = json.loads(masked(text) if mask else text)
        return plain


def _fact(fact: Fact) -> dict[str, Any]:
    value = dataclasses.asdict(fact.value) if isinstance(fact.value, Spread) else fact.value
    told = {"value": value, "evidence": fact.evidence}
    return told if fact.value is not None else {"value": None, "not_measured": fact.not_measured}


def masked(text: str) -> str:
    """`text` with each public address consistently replaced; private addresses and route servers are kept."""
    known: dict[str, str] = {}

    def replace(found: re.Match[str]) -> str:
        try:
            address = ipaddress.ip_address(found[0])
        except ValueError:
            return found[0]
        if address in _ROUTE_SERVERS or any(address in network for network in _KEPT):
            return found[0]
        number = sum(ipaddress.ip_address(a).version == address.version for a in known.values()) + 1
        return known.setdefault(str(address), str(_MASKS[address.version][number]))

    return _ADDRESS.sub(replace, text)


def fragment(recommendation: Recommendation) -> str:
    """The settings as lines of gateway.toml, with the reasons as comments."""
    lines: list[str] = []
    for table in dict.fromkeys(setting.table for setting in recommendation.settings):
        lines += [""] * bool(lines) + [f"[{table}]"]
        for setting in (s for s in recommendation.settings if s.table == table):
            lines += [f"# {setting.reason}", f"{setting.key} = {json.dumps(setting.value)}"]
    return "\n".join(lines) + "\n"


def shown(value: Value) -> str:
    """A value as text."""
    match value:
        case Spread(median_ms, worst_ms, runs):
            return f"{median_ms:g} ms (median of {runs}; worst {worst_ms:g} ms)"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g}"
    return str(value)


def lines(report: Report, *, mask: bool = False) -> Iterator[str]:
    """The report as text."""
    text = "\n".join(_lines(report))
    yield from (masked(text) if mask else text).splitlines()


def _lines(report: Report) -> Iterator[str]:
    about = report.circumstances
    yield f"natpair cloud probe: {about.region}, {about.plan}, {about.began} UTC, {about.seconds:.0f} s, {about.ended}"
    yield ""
    width = max(len(fact.words) for fact in report.facts.facts)
    for fact in report.facts.facts:
        if fact.value is None:
            yield f"  {fact.words:<{width}}  not measured: {fact.not_measured}"
        else:
            yield f"  {fact.words:<{width}}  {shown(fact.value)}"
    for head, told in (("Warnings", report.recommendation.warnings), ("Remarks", report.recommendation.remarks)):
        if told:
            yield from ("", f"{head}:", *(f"  - {line}" for line in told))
    yield from ("", "For gateway.toml:", "")
    yield from (f"  {line}".rstrip() for line in fragment(report.recommendation).splitlines())
    yield ""
    if about.left_behind:
        yield "LEFT BEHIND, which costs money: " + ", ".join(about.left_behind)
        yield "  to remove it, run: natpair cloud probe --clean-up"
    else:
        yield "Everything that the probe created is removed."
