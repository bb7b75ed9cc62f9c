"""Running something asynchronous from a command, so that a signal ends it in order whatever it is doing.

`cli.main` ends a command on SIGTERM by an exception out of the handler. With an event loop that may strike inside a
callback of the interpreter, which drops exceptions, and the signal would be lost; a cancelled task cannot miss it.
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
    """What `work` returns. SIGTERM and SIGHUP cancel it, it has its `finally`, and the program ends with 128 + n."""
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
            # A second one must not interrupt what the first one has begun to undo.
            if not told:
                told.append(number)
                task.cancel()

        for number in _ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
                loop.add_signal_handler(number, end, number)
    return await work
