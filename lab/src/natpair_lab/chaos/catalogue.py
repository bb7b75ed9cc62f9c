"""The catalogue of faults: every row from the modules of `faults`, in the order of their numbers.

It has a module of its own because it imports every module of faults, which import `fault`.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module

from natpair.errors import Usage
from natpair_lab.chaos import faults
from natpair_lab.chaos.fault import Fault


def _rows() -> Iterator[Fault]:
    for found in pkgutil.iter_modules(faults.__path__, f"{faults.__name__}."):
        for value in vars(import_module(found.name)).values():
            if isinstance(value, Fault) and value.inject.__module__ == found.name:  # not an imported row
                yield value


def numbered(rows: Iterable[Fault]) -> Mapping[int, Fault]:
    """The rows by number. ValueError unless the numbers run from 1 without gaps or repeats."""
    ordered = sorted(rows, key=lambda row: row.id)
    if (numbers := [row.id for row in ordered]) != list(range(1, len(ordered) + 1)):
        raise ValueError(f"the faults are not numbered from 1 without a gap, each number once: {numbers}")
    return {row.id: row for row in ordered}


CATALOGUE = numbered(_rows())
"""Every row by its number."""


def row(number: int) -> Fault:
    """The row with this number; Usage if there is none."""
    found = CATALOGUE.get(number)
    if found is None:
        raise Usage(f"there is no fault {number}", fix=f"one of 1 to {max(CATALOGUE)}; natpair chaos --list")
    return found
