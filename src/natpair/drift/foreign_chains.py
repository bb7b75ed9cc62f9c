"""Other tools' tables that stand in the clients' way: found by effect, named, and never touched.

A drop in any table is final, whatever natpair's own tables accept (nft(8)). Container engines and firewall front ends
drop by policy and let through what they know, so that such a chain is there proves nothing: it is held against
it only while clients send and not one of their packets leaves.
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
"""Looks of which one asks for all chains, should a notice have been lost."""
_RESTLESS_LOOKS = 6
"""After a change of the chains of others so many looks follow each other soon."""
_PAIRS = (("arrived", "routed"), ("offered", "passed"))
"""Counters before and behind the chains of others. In between natpair itself drops nothing, nor does the kernel's
routing (TTL, MTU, no route): what of the first is missing in the second was dropped by somebody else."""


@dataclass(frozen=True, slots=True)
class Chain:
    """A base chain of somebody else on the way of the clients' packets."""

    family: str
    table: str
    name: str
    drops: bool

    def __str__(self) -> str:
        """As people would say it to nft."""
        return f"table {self.family} {self.table} chain {self.name}"


def chains_in_the_way(listed: str) -> tuple[Chain, ...]:
    """Those of others in the answer to `nft -j list chains`: the ones that drop by policy, or else all."""
    entries = (entry["chain"] for entry in json.loads(listed)["nftables"] if "chain" in entry)
    found = [_chain(entry) for entry in entries if _stands_in_the_way(entry)]
    return tuple([chain for chain in found if chain.drops] or found)


def _stands_in_the_way(entry: dict[str, Any]) -> bool:
    on_the_way = entry.get("hook") in _ON_THE_WAY and entry["family"] in _FAMILIES
    return on_the_way and entry.get("type") == "filter" and entry["table"] != _OURS


def _chain(entry: dict[str, Any]) -> Chain:
    return Chain(entry["family"], entry["table"], entry["name"], entry.get("policy") == "drop")


class Passage:
    """While somebody else's chain is on the way, the counts of natpair's ruleset say whether clients get through."""

    noticed: ClassVar[bool] = False

    def __init__(self) -> None:
        self._looks = 0
        self._calm_at = 0
        self._chains: tuple[Chain, ...] = ()
        self._rules = ""
        self._tallies: dict[str, Tally] = {}

    def changed(self) -> None:
        """Some ruleset has changed."""
        self._looks = self._calm_at = 0

    @property
    def restless(self) -> bool:
        """Whether the next look should come soon: a chain is new, or packets of clients have just been lost."""
        lost = any(tally.lost and not tally.quiet for tally in self._tallies.values())
        return bool(self._chains) and (lost or self._looks < self._calm_at)

    @property
    def barred(self) -> tuple[str, ...]:
        """The chains that may drop what clients send, to go by the last few packets."""
        return tuple(map(str, self._chains)) if any(tally.suspect for tally in self._tallies.values()) else ()

    async def findings(self) -> list[Finding]:
        """One, with every chain that may be to blame. Without foreign chains it costs a process now and then."""
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
        """Ask for the chains; what was held against them falls when they or their rules are others now."""
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
