"""What a rendered file is: the value that passes from the renderers to those who check and place it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Checker(StrEnum):
    """Who can tell whether a file is fit for use; `system.judges` knows how to ask."""

    NFT = "nft"
    NFT_FRAGMENT = "nft-fragment"
    KEEPALIVED = "keepalived"
    BIRD = "bird"
    CONNTRACKD = "conntrackd"


@dataclass(frozen=True, slots=True)
class RenderedFile:
    """One file of a node: absolute path, whole text, mode, and who judges it before it is put in place."""

    path: str
    text: str
    mode: int = 0o644
    checker: Checker | None = None


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What the programs on a node understand beyond Debian 12's versions; passed in, never probed here."""

    keepalived_late_master_steps_down: bool = False
