"""Run a coroutine from a command so that a signal ends it cleanly.

`cli.main` ends a command on SIGTERM by raising an exception in the signal handler. With an event loop that exception
can arise in an interpreter callback that drops exceptions, and the signal would be lost. So here a signal cancels the
task.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")

_ENDING = (signal.SIGTERM, signal.SIGHUP)


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Return what `work` returns. SIGTERM and SIGHUP cancel it, `finally` blocks run, and the program exits 128 + n."""
    told: list[int] = []
    before = {number: signal.getsignal(number) for number in _ENDING}
    try:
        return asyncio.run(_told_by_signals(work, told))
    except asyncio.CancelledError:
        if not told:
            raise
        sys.exit(128 + told[0])
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)


async def _told_by_signals(work: Coroutine[Any, Any, Result], told: list[int]) -> Result:
    task = asyncio.current_task()
    if task is not None and threading.current_thread() is threading.main_thread():
        loop = asyncio.get_running_loop()

        def end(number: int) -> None:
            # A second signal must not interrupt the cleanup that the first one started.
            if not told:
                told.append(number)
                task.cancel()

        for number in _ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
                loop.add_signal_handler(number, end, number)
    return await work
