"""What a rendered file is: the value that passes from the renderers to those who check and place it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from natpair.core import paths

SOME_MAC = "00:00:00:00:00:00"
"""Stands for the peer's MAC in the file of the peer guard: only a running pair knows it."""


class Checker(StrEnum):
    """Who can tell whether a file is fit for use; `system.checks` knows how to ask."""

    NFT = "nft"
    NFT_FRAGMENT = "nft-fragment"
    KEEPALIVED = "keepalived"
    BIRD = "bird"
    CONNTRACKD = "conntrackd"


@dataclass(frozen=True, slots=True)
class RenderedFile:
    """One file of a node: absolute path, whole text, mode, and who checks it before it is put in place."""

    path: str
    text: str
    mode: int = 0o644
    checker: Checker | None = None


def digest_of(files: Iterable[RenderedFile]) -> str:
    """12 hex digits over paths, modes and texts, whatever the order of the files: equal for equal files."""
    lines = sorted(f"{file.path}\0{file.mode:o}\0{file.text}\0" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:12]


def rendered_digest(files: Iterable[RenderedFile]) -> str:
    """The digest of what natpair has made of a configuration: with another version it may be another one."""
    return digest_of(file for file in files if file.path not in {paths.CONFIG, paths.APPLIED})


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What the programs on a node understand beyond Debian 12's versions; passed in, never probed here."""

    keepalived_late_master_steps_down: bool = False
