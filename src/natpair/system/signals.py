"""Delays signals during work that must not be interrupted halfway.

It has a module of its own because both the product and the lab need it, and it needs nothing.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def undisturbed(*, children: bool = False) -> Iterator[None]:
    """Block SIGINT, SIGTERM and SIGHUP until the block is done. They are delivered afterwards.

    A terminal sends Ctrl-C to the programs that run in the block as well. With `children` they are protected: they
    inherit the signal mask. No such program may outlive the block.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        arrived.append(number)

    before = {number: signal.signal(number, note) for number in _SIGNALS}
    masked = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS if children else ())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, masked)
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
    if arrived:
        signal.raise_signal(arrived[0])
