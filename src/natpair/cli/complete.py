"""Shell completions, and which labs run on this machine.

Everything is read from files, because a completion must be fast.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from natpair.core import paths

LABS = Path("/run/natpair-lab")
GENERATIONS = Path(paths.GENERATIONS)


def running() -> list[str]:
    """The names of the existing labs."""
    return names_in(LABS)


def nodes_of(lab: str) -> list[str]:
    """The nodes of a lab."""
    return names_in(LABS / lab / "nodes")


def nodes_in_file(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The names of the nodes in the file on the command line; none if it cannot be read."""
    import tomllib

    try:
        # Click does not parse the arguments of an incomplete command line.
        file = context.args[0] if context.args else context.params.get("file")
        document = tomllib.loads(Path(str(file)).read_text(encoding="utf-8-sig"))
        names = [str(node["name"]) for node in document["node"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return items(names, incomplete)


def regions(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The regions whose route servers are known."""
    from natpair.core.regions import DCIDS

    return items(DCIDS, incomplete)


def generations(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The numbers of the generations on this node."""
    names = [name.removesuffix(".json").lstrip("0") for name in names_in(GENERATIONS) if name.endswith(".json")]
    return items(names, incomplete)


def names_in(folder: Path) -> list[str]:
    """The visible names in a folder, sorted; none if it cannot be read."""
    try:
        return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        return []


def items(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    """Those of `names` that begin with the incomplete word."""
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]
