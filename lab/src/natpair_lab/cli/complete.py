"""Shell completions for the lab's commands.

They are read from the folders of running labs, without importing the lab, because a completion must be fast.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from natpair.cli.complete import LABS, items, names_in, running

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
"""The same as in `testbed.faults`, repeated so that completion is fast; a test compares the two."""


def labs(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The labs that are up."""
    return items(running(), incomplete)


def hosts(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The hosts of the lab named by `--name`."""
    return items(names_in(_lab(context) / RECORDS), incomplete)


def nodes(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The names of the pair's nodes, and `active` and `standby`."""
    return items([*names_in(_lab(context) / "nodes"), "active", "standby"], incomplete)


def faults(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The kinds of faults."""
    return items(FAULTS, incomplete)


def chaos_faults(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The numbers of the faults in the catalogue."""
    from natpair_lab.chaos.catalogue import CATALOGUE

    rows = [(str(number), row.name) for number, row in CATALOGUE.items()]
    return [CompletionItem(number, help=name) for number, name in rows if number.startswith(incomplete)]


def _lab(context: click.Context) -> Path:
    parameters: dict[str, Any] = context.params
    return LABS / str(parameters.get("name") or "lab")
