"""Finds other tools' nftables chains that drop clients' packets. It names them and never changes them.

A drop in any table is final, even if natpair's own tables accept the packet (nft(8)). Container engines and firewalls
drop by policy and accept what they know. So the existence of such a chain proves nothing. It is reported
only while clients send and none of their packets leaves.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar

from natpair.core.passage import Tally
from natpair.core.repair import Wrong
from natpair.drift.items import Finding
from natpair.system import nft
from natpair.system.process import arun

_SECONDS = 5.0
_OURS = "natpair"
_ON_THE_WAY = frozenset({"ingress", "prerouting", "forward", "postrouting", "egress"})
_FAMILIES = frozenset({"ip", "inet", "netdev"})
_SCAN_EVERY = 8
"""One in so many checks reads all chains, in case a notice was lost."""
_RESTLESS_LOOKS = 6
"""The number of quick checks after a change of another tool's chains."""
_PAIRS = (("arrived", "routed"), ("offered", "passed"))
"""Counters before and after the other tools' chains. Between them neither natpair drops anything nor does the kernel's
routing (TTL, MTU, no route). So packets that only the first one counted were dropped by another tool."""


@dataclass(frozen=True, slots=True)
class Chain:
    """A base chain of another tool that clients' packets pass."""

    family: str
    table: str
    name: str
    drops: bool

    def __str__(self) -> str:
        """The chain as nft's commands name it."""
        return f"table {self.family} {self.table} chain {self.name}"


def chains_in_the_way(listed: str) -> tuple[Chain, ...]:
    """The other tools' chains in the output of `nft -j list chains`: those that drop by policy, or all if none does."""
    entries = (entry["chain"] for entry in json.loads(listed)["nftables"] if "chain" in entry)
    found = [_chain(entry) for entry in entries if _stands_in_the_way(entry)]
    return tuple([chain for chain in found if chain.drops] or found)


def _stands_in_the_way(entry: dict[str, Any]) -> bool:
    on_the_way = entry.get("hook") in _ON_THE_WAY and entry["family"] in _FAMILIES
    return on_the_way and entry.get("type") == "filter" and entry["table"] != _OURS


def _chain(entry: dict[str, Any]) -> Chain:
    return Chain(entry["family"], entry["table"], entry["name"], entry.get("policy") == "drop")


class Passage:
    """If another tool's chain is in the path, compares natpair's counters to see whether clients'
    packets get through.
    """

    noticed: ClassVar[bool] = False

    def __init__(self) -> None:
        self._looks = 0
        self._calm_at = 0
        self._chains: tuple[Chain, ...] = ()
        self._rules = ""
        self._tallies: dict[str, Tally] = {}

    def changed(self) -> None:
        """Check soon, because a ruleset has changed."""
        self._looks = self._calm_at = 0

    @property
    def restless(self) -> bool:
        """True if the next check should come soon: a chain is new, or clients' packets have just been lost."""
        lost = any(tally.lost and not tally.quiet for tally in self._tallies.values())
        return bool(self._chains) and (lost or self._looks < self._calm_at)

    @property
    def barred(self) -> tuple[str, ...]:
        """The chains that may drop clients' packets, from the last few packets."""
        return tuple(map(str, self._chains)) if any(tally.suspect for tally in self._tallies.values()) else ()

    async def findings(self) -> list[Finding]:
        """One finding with every chain that may be the cause. Without foreign chains it costs one process in
        `_SCAN_EVERY` checks.
        """
        if self._looks % _SCAN_EVERY == 0:
            await self._scan()
        self._looks += 1
        counts = nft.counters() if self._chains else {}
        for before, behind in _PAIRS:
            if before in counts and behind in counts:
                offered, passed = counts[before], counts[behind]
                self._tallies[before] = self._tallies.get(before, Tally(offered, passed)).read(offered, passed)
        blocked = [tally for tally in self._tallies.values() if tally.blocked]
        if not blocked:
            return []
        found = f"{blocked[0].lost} packets of clients came in and none left"
        return [Finding(Wrong(", ".join(map(str, self._chains)), found, "clients get through"), None)]

    async def _scan(self) -> None:
        """Read the chains. If they or their rules have changed, the counts start again."""
        listed = await arun(["nft", "-j", "list", "chains"], timeout=_SECONDS)
        chains = chains_in_the_way(listed.stdout)
        rules = "".join([await self._rules_of(chain) for chain in chains])
        if (chains, rules) != (self._chains, self._rules):
            self._tallies = {}
            self._calm_at = self._looks + _RESTLESS_LOOKS
        self._chains, self._rules = chains, rules

    async def _rules_of(self, chain: Chain) -> str:
        argv = ["nft", "--stateless", "list", "chain", chain.family, chain.table, chain.name]
        return (await arun(argv, timeout=_SECONDS)).stdout
