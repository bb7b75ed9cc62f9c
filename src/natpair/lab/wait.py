"""Waiting in the lab: always for a condition, always with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from natpair.errors import LabError

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
    """The first true value of `condition`; LabError after `deadline_seconds`, with `diagnose()` as its cure.

    `what` completes the sentence "… did not happen within".
    """
    end = time.monotonic() + deadline_seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= end:
            raise LabError(f"{what} did not happen within {deadline_seconds:g} s", cure=diagnose())
        time.sleep(poll_seconds)
