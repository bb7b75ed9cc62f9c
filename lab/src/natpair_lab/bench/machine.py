"""What a bench ran on: processor, kernel, and the daemons' versions."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

from natpair.errors import CommandFailed, Unsupported
from natpair.system.process import run
from natpair_lab.bench.results import Machine

_ASK = {
    "keepalived": ("keepalived", "--version"),
    "conntrackd": ("conntrackd", "-v"),
    "nftables": ("nft", "--version"),
    "bird": ("bird", "--version"),
    "gobgpd": ("gobgpd", "--version"),
}
_SECONDS = 10.0


def this_machine() -> Machine:
    """This machine; a program that is not there has the version "none"."""
    return Machine(
        cpu=_cpu(),
        cpus=os.cpu_count() or 1,
        kernel=platform.release(),
        versions={name: _version(argv) for name, argv in _ASK.items()},
    )


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
    """The first dotted number in what a program says about itself."""
    found = re.search(r"\d+(?:\.\d+)+", text)
    return found[0] if found else "unknown"
