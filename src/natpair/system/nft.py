"""The ruleset in the kernel, by `nft` as a child process: text in, one transaction, text back.

What is in force is always read, never remembered: each role chain begins with a rule whose comment names
the state it stands for (see `render/nftables.py`).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from natpair.core.desired import Traffic
from natpair.errors import CommandFailed
from natpair.system.process import Spare, arun

_SECONDS = 5.0
_MARK = re.compile(r'comment "natpair (traffic|duplicate|fence|peer)=([a-z0-9:]+)"')
_MARKS = {"traffic", "duplicate", "fence", "peer"}
# Terse, without elements: the sets that the ruleset fills itself are no part of what was rendered, and 32,000 elements
# (250 clients, each with its lists) took nft 1.0.6 1.5 s. The set of that table that is rendered is listed on its own.
_LISTS = (
    ("--terse", "list", "table", "ip", "natpair"),
    ("list", "set", "ip", "natpair", "fips"),
    ("list", "table", "inet", "natpair"),
)


@dataclass(frozen=True, slots=True)
class Ruleset:
    """natpair's tables as the kernel holds them: the whole listing, without counts, and the four marks."""

    listing: str
    traffic: Traffic
    duplicate: bool
    fence: bool
    peer: str


class Loader:
    """Loads rulesets. While nothing happens it keeps one `nft` waiting, so that the next load starts no process."""

    def __init__(self) -> None:
        self._spare = Spare(["nft", "-f", "-"])

    async def ready(self) -> None:
        """Have an `nft` wait for the next load; OSError if none can be started."""
        await self._spare.ready()

    async def transact(self, text: str) -> None:
        """Apply `text` as one kernel transaction; CommandFailed leaves everything as it was (nft(8))."""
        await self._spare.feed(text, timeout=_SECONDS)

    async def close(self) -> None:
        """End the `nft` that waits."""
        await self._spare.close()


async def read() -> Ruleset | None:
    """The ruleset in force; None if natpair's tables or their marks are not all there."""
    # A process for each: two list commands in one make nft 1.0.6 look for the first table in the second's family. One
    # after the other: a node that can start hardly any process can still look.
    try:
        listing = "".join([(await arun(["nft", "--stateless", *words], timeout=_SECONDS)).stdout for words in _LISTS])
    except CommandFailed as error:
        if error.rc is None:
            raise
        return None
    marks = dict(_MARK.findall(listing))
    if marks.keys() != _MARKS or marks["traffic"] not in set(Traffic):
        return None
    return Ruleset(
        listing, Traffic(marks["traffic"]), marks["duplicate"] == "on", marks["fence"] == "on", marks["peer"]
    )


async def counters() -> dict[str, int]:
    """Packets of each named counter of table ip natpair; empty if the table is gone, or no process can be started."""
    try:
        done = await arun(["nft", "-j", "list", "counters", "table", "ip", "natpair"], timeout=_SECONDS)
    except (CommandFailed, OSError):
        return {}
    entries = (entry["counter"] for entry in json.loads(done.stdout)["nftables"] if "counter" in entry)
    return {entry["name"]: int(entry["packets"]) for entry in entries}
