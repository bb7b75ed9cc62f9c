"""What the shell may offer behind a half-typed word: labs, their hosts and nodes, and the kinds of faults.

Read off the folders of running labs, without importing the lab: a completion must be there while the key is still down.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from natpair.core import paths

LABS = Path("/run/natpair-lab")
GENERATIONS = Path(paths.GENERATIONS)
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


def running() -> list[str]:
    """The names of the labs that are there."""
    return _names(LABS)


def nodes_of(lab: str) -> list[str]:
    """The nodes of a lab."""
    return _names(LABS / lab / "nodes")


def labs(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The labs that are up."""
    return _items(running(), incomplete)


def hosts(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The hosts of the lab that `--name` says."""
    return _items(_names(_lab(context) / RECORDS), incomplete)


def nodes(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The pair's nodes, and the words that stand for one."""
    return _items([*_names(_lab(context) / "nodes"), "active", "standby"], incomplete)


def faults(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The kinds of faults."""
    return _items(FAULTS, incomplete)


def nodes_in_file(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The names of the nodes in the file on the command line, as far as it can be read."""
    import tomllib

    try:
        # A half-typed line leaves its arguments unparsed.
        file = context.args[0] if context.args else context.params.get("file")
        document = tomllib.loads(Path(str(file)).read_text(encoding="utf-8-sig"))
        names = [str(node["name"]) for node in document["node"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return _items(names, incomplete)


def regions(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The regions whose route servers are known."""
    from natpair.core.regions import DCIDS

    return _items(DCIDS, incomplete)


def chaos_faults(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The numbers of the catalogue."""
    from natpair.chaos.catalogue import CATALOGUE

    rows = [(str(number), row.name) for number, row in CATALOGUE.items()]
    return [CompletionItem(number, help=name) for number, name in rows if number.startswith(incomplete)]


def generations(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The numbers of the generations on this node."""
    names = [name.removesuffix(".json").lstrip("0") for name in _names(GENERATIONS) if name.endswith(".json")]
    return _items(names, incomplete)


def _lab(context: click.Context) -> Path:
    parameters: dict[str, Any] = context.params
    return LABS / str(parameters.get("name") or "lab")


def _names(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        return []


def _items(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]
