"""Repeated output: refreshed in place on a terminal, one block after another through a pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from itertools import islice

from natpair.cli.output import colour_wanted, say
from natpair.system.wait import ticks

Frame = Callable[[], Sequence[str]]


def watch(frame: Frame, interval_seconds: float, *, frames: int | None = None) -> None:
    """Show what `frame` gives, every `interval_seconds`, until interrupted or for so many `frames`."""
    if sys.stdout.isatty():
        _in_place(frame, interval_seconds, frames)
        return
    for _ in islice(ticks(interval_seconds), frames):
        for line in frame():
            say(line)
        say()
        sys.stdout.flush()


def _in_place(frame: Frame, interval_seconds: float, frames: int | None) -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(no_color=not colour_wanted(sys.stdout), highlight=False)
    with Live(console=console, auto_refresh=False, screen=True) as live:
        for _ in islice(ticks(interval_seconds), frames):
            live.update(Text("\n".join(frame())), refresh=True)
