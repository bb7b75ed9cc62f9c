"""The ruleset in the kernel, by `nft` as a child process: text in, one transaction, text back.

The state in force is always read, never remembered. Each role chain begins with a rule whose comment names
its state (see `render/nftables.py`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from natpair.core.desired import Traffic
from natpair.errors import CommandFailed
from natpair.system import counters as named
from natpair.system.process import Spare, arun, run

_SECONDS = 5.0
_LIST_SECONDS = 20.0
FAMILIES = ("ip", "inet")
MARKS = ("traffic", "duplicate", "fence", "peer")
"""What the agent switches in the ruleset. Each is read back from the comment of its chain's first rule."""
_MARK = re.compile(rf'comment "natpair ({"|".join(MARKS)})=([a-z0-9:]+)"')
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
    """Loads rulesets. Between loads it keeps one `nft` process waiting, so that the next load starts none."""

    def __init__(self) -> None:
        self._spare = Spare(["nft", "-f", "-"])

    async def ready(self) -> None:
        """Start an `nft` that waits for the next load. OSError if none can be started."""
        await self._spare.ready()

    async def transact(self, text: str) -> None:
        """Apply `text` as one kernel transaction; CommandFailed leaves everything as it was (nft(8))."""
        await self._spare.feed(text, timeout=_SECONDS)

    async def close(self) -> None:
        """End the `nft` that waits."""
        await self._spare.close()


def marks(listing: str) -> dict[str, str]:
    """The marks in what `nft list` has printed, by name."""
    return dict(_MARK.findall(listing))


def table(family: str) -> str:
    """natpair's table of `family` in the kernel. CommandFailed if it is missing or unreadable."""
    return run(["nft", "--stateless", "--terse", "list", "table", family, "natpair"], timeout=_LIST_SECONDS).stdout


def marks_in_force() -> dict[str, str]:
    """The marks of both tables, as far as they exist. CommandFailed if nft fails."""
    found: dict[str, str] = {}
    for family in FAMILIES:
        try:
            found |= marks(table(family))
        except CommandFailed as error:
            if error.rc is None:
                raise
    return found


async def read() -> Ruleset | None:
    """The ruleset in force; None if one of natpair's tables or marks is missing."""
    # A process for each: two list commands in one make nft 1.0.6 look for the first table in the second's family. One
    # after the other: a node that can start hardly any process can still look.
    try:
        listing = "".join([(await arun(["nft", "--stateless", *words], timeout=_SECONDS)).stdout for words in _LISTS])
    except CommandFailed as error:
        if error.rc is None:
            raise
        return None
    found = marks(listing)
    if found.keys() != set(MARKS) or found["traffic"] not in set(Traffic):
        return None
    return Ruleset(
        listing, Traffic(found["traffic"]), found["duplicate"] == "on", found["fence"] == "on", found["peer"]
    )


def counter(name: str) -> int:
    """Packets of one named counter of table ip natpair; 0 if it cannot be read."""
    try:
        return named.read_one(name)
    except OSError:
        return 0


def counters() -> dict[str, int]:
    """Packets of each named counter of table ip natpair, and `passed` for all FIPs; empty if they cannot be read."""
    try:
        found = named.read()
    except OSError:
        return {}
    if found:
        found["passed"] = sum(packets for name, packets in found.items() if name.startswith("passed_"))
    return found
