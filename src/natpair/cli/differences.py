"""Differences as text: keys by their names in the configuration, files as unified diffs."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from natpair.cli.output import say, symbols

if TYPE_CHECKING:
    from natpair.apply.transaction import Plan
    from natpair.config.compare import KeyChange


def say_keys(changes: Sequence[KeyChange]) -> None:
    """Print one line for each key that differs."""
    for change in changes:
        before = change.before if change.before is not None else "absent"
        after = change.after if change.after is not None else "absent"
        say(f"{change.key}: {before} {symbols().arrow} {after}")


def say_files(plan: Plan) -> None:
    """Print the difference of each file of `plan`."""
    for line in file_lines(plan):
        say(line)


def file_lines(plan: Plan) -> Iterator[str]:
    """The lines of a diff from the installed files to those of `plan`, without gateway.toml: `say_keys` prints that."""
    from natpair.core import paths
    from natpair.system.files import read_if_there

    for file in plan.changed:
        there = read_if_there(Path(file.path))
        if file.path in {paths.CONFIG, paths.APPLIED}:
            continue
        if there is None:
            yield f"+ {file.path} (new)"
        elif there == file.text:
            yield f"! {file.path}: mode should be {file.mode:04o}"
        else:
            yield from _unified(file.path, there, file.text)
    yield from (f"- {path} (removed)" for path in plan.removed)


def _unified(path: str, before: str, after: str) -> Iterator[str]:
    yield from difflib.unified_diff(before.splitlines(), after.splitlines(), path, path, lineterm="", n=2)
