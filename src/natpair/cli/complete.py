"""What the shell may offer behind a half-typed word: labs, their hosts and nodes, and the kinds of faults.

Read off the folders of running labs, without importing the lab: a completion must be there while the key is still down.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

LABS = Path("/run/natpair-lab")
RECORDS = "inits"
FAULTS = (
    "power-cut",
    "boot",
    "vlan-down",
    "vlan-dead",
    "public-down",
    "public-dead",
    "partition",
    "flush",
    *(
        f"{verb}:{service}"
        for verb in ("kill", "stop", "cont")
        for service in ("agent", "bird", "conntrackd", "keepalived")
    ),
)
"""As in `lab.injection`, repeated so that completing loads nothing heavy; a test compares the two."""


def labs(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The labs that are up."""
    return _items(_names(LABS), incomplete)


def hosts(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The hosts of the lab that `--name` says."""
    return _items(_names(_lab(context) / RECORDS), incomplete)


def nodes(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The pair's nodes, and the words that stand for one."""
    return _items([*_names(_lab(context) / "nodes"), "active", "standby"], incomplete)


def faults(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The kinds of faults."""
    return _items(FAULTS, incomplete)


def _lab(context: click.Context) -> Path:
    parameters: dict[str, Any] = context.params
    return LABS / str(parameters.get("name") or "lab")


def _names(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir())
    except OSError:
        return []


def _items(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]
