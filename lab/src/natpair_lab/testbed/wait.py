"""Waits for conditions in the lab. A missed deadline is an error with a diagnosis.

It has a module of its own because its error is the lab's, which the product does not know.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from natpair.errors import LabError
from natpair.system.wait import poll

T = TypeVar("T")

_POLL_SECONDS = 0.02


def wait_until(
    condition: Callable[[], T | None],
    *,
    deadline_seconds: float,
    what: str,
    diagnose: Callable[[], str] = lambda: "",
    poll_seconds: float = _POLL_SECONDS,
) -> T:
    """Return the first true value of `condition`; LabError after `deadline_seconds`, with `diagnose()` as its hint.

    `what` completes the sentence "… did not happen within".
    """
    value = poll(condition, deadline_seconds=deadline_seconds, poll_seconds=poll_seconds)
    if value is None:
        raise LabError(f"{what} did not happen within {deadline_seconds:g} s", fix=diagnose())
    return value
