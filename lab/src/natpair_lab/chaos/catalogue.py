"""The fault matrix: each row a `Fault` or a `NotPossible`, in the order of their numbers."""

from __future__ import annotations

from collections.abc import Mapping

from natpair.errors import Usage
from natpair_lab.chaos import account, clock, disk, fabric, kernel, lifecycle, links, load, neighbours, processes, truth
from natpair_lab.chaos.fault import Fault, NotPossible

_ALL: tuple[Fault | NotPossible, ...] = (
    *processes.FAULTS,
    *links.FAULTS,
    *fabric.FAULTS,
    *account.FAULTS,
    *kernel.FAULTS,
    *disk.FAULTS,
    *clock.FAULTS,
    *load.FAULTS,
    *neighbours.FAULTS,
    *lifecycle.FAULTS,
    *truth.FAULTS,
)

CATALOGUE: Mapping[int, Fault | NotPossible] = {row.id: row for row in sorted(_ALL, key=lambda row: row.id)}
"""Every row by its number."""


def row(number: int) -> Fault | NotPossible:
    """The row with a number; Usage if there is none."""
    found = CATALOGUE.get(number)
    if found is None:
        raise Usage(f"there is no fault {number}", cure=f"one of 1 to {max(CATALOGUE)}; natpair chaos --list")
    return found
