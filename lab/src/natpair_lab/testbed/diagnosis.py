"""Saves a diagnosis when a wait in the lab fails: everything useful, in one file that outlives the lab."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from natpair.errors import CommandFailed, LabError, Unsupported
from natpair.system.process import run
from natpair_lab.testbed import netns
from natpair_lab.testbed.topology import HostKind

if TYPE_CHECKING:
    from natpair_lab.testbed.topology import Topology

_COMMANDS = (
    ("ip", "-d", "addr"),
    ("ip", "neigh"),
    ("ip", "rule"),
    ("ip", "route", "show", "table", "all"),
    ("nft", "list", "ruleset"),
)
_TAIL_LINES = 200


def save_diagnosis(name: str, folder: Path, plan: Topology) -> Path:
    """Write addresses, routes, rules and the tails of all logs of a lab to a temporary file; returns its path."""
    with tempfile.NamedTemporaryFile("w", prefix=f"natpair-lab-{name}-", suffix=".txt", delete=False) as file:
        for section in _sections(name, folder, plan):
            file.write(section)
    return Path(file.name)


def _sections(name: str, folder: Path, plan: Topology) -> Iterator[str]:
    for path in sorted(folder.glob("*/*/log/*.log")):
        tail = path.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
        yield f"\n===== {path.relative_to(folder)}\n" + "\n".join(tail) + "\n"
    for host in plan.hosts:
        commands = _COMMANDS[:1] if host.kind is HostKind.SWITCH else _COMMANDS
        for argv in commands:
            yield f"\n===== {host.name}: {' '.join(argv)}\n{_output(netns.name_of(name, host.name), argv)}"


def _output(namespace: str, argv: tuple[str, ...]) -> str:
    try:
        return run(["ip", "netns", "exec", namespace, *argv], timeout=10, ok=range(256)).stdout
    except (CommandFailed, LabError, Unsupported) as error:
        return f"{error.message}\n"
