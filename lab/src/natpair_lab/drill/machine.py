"""Describes the machine that a drill, chaos run or bench ran on: processor, kernel, and versions of the programs."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import natpair
from natpair.errors import CommandFailed, Unsupported
from natpair.system.process import run

_ASK = {
    "keepalived": ("keepalived", "--version"),
    "conntrackd": ("conntrackd", "-v"),
    "nftables": ("nft", "--version"),
    "bird": ("bird", "--version"),
    "gobgpd": ("gobgpd", "--version"),
}
_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine of a measurement. Absolute times mean little without it."""

    cpu: str
    cpus: int
    kernel: str
    versions: Mapping[str, str]
    natpair: str = natpair.__version__


def this_machine() -> Machine:
    """This machine; a program that is not installed has the version "none"."""
    return Machine(
        cpu=_cpu(),
        cpus=os.cpu_count() or 1,
        kernel=platform.release(),
        versions={name: _version(argv) for name, argv in _ASK.items()},
    )


def load() -> float:
    """The load average of the last minute."""
    return round(os.getloadavg()[0], 2)


def _cpu() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def _version(argv: tuple[str, ...]) -> str:
    try:
        done = run(argv, timeout=_SECONDS, ok=range(256))
    except (Unsupported, CommandFailed):
        return "none"
    return version_in(done.stdout + done.stderr)


def version_in(text: str) -> str:
    """The first dotted number in a program's version output."""
    found = re.search(r"\d+(?:\.\d+)+", text)
    return found[0] if found else "unknown"
