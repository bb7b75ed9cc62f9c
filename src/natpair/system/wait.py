"""Waiting for a condition, always with a deadline. The one place where a thread may sleep.

It has a module of its own because everything else may not sleep: a rule of tests/repo names it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")


def ticks(seconds: float) -> Iterator[None]:
    """Yields now and again after each pause of `seconds`, for loops that run until they are interrupted."""
    while True:
        yield
        time.sleep(seconds)


def poll(condition: Callable[[], T | None], *, deadline_seconds: float, poll_seconds: float) -> T | None:
    """The first true value of `condition`, which is called every `poll_seconds`; None after `deadline_seconds`."""
    end = time.monotonic() + deadline_seconds
    while not (value := condition()):
        if time.monotonic() >= end:
            return None
        time.sleep(poll_seconds)
    return value
