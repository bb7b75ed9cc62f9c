"""A view that renews itself: on a terminal in place, through a pipe as one block after another."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from threading import Event

from natpair.cli.output import colour_wanted, say

Frame = Callable[[], Sequence[str]]


def watch(frame: Frame, interval_seconds: float, *, frames: int | None = None) -> None:
    """Show what `frame` gives, every `interval_seconds`, until interrupted or for so many `frames`."""
    if sys.stdout.isatty():
        _in_place(frame, interval_seconds, frames)
        return
    for _ in rounds(interval_seconds, frames):
        for line in frame():
            say(line)
        say()
        sys.stdout.flush()


def rounds(interval_seconds: float, limit: int | None) -> Iterator[int]:
    """1, 2, 3 … with a pause before each but the first; for ever if `limit` is None."""
    pause = Event()
    for number in count(1):
        if limit is not None and number > limit:
            return
        if number > 1:
            pause.wait(interval_seconds)
        yield number


def _in_place(frame: Frame, interval_seconds: float, frames: int | None) -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(no_color=not colour_wanted(sys.stdout), highlight=False)
    with Live(console=console, auto_refresh=False, screen=True) as live:
        for _ in rounds(interval_seconds, frames):
            live.update(Text("\n".join(frame())), refresh=True)
