"""Work in an event loop ends in order on a signal, wherever it strikes."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from natpair.cli.running import run


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_with_its_finally(number: signal.Signals) -> None:
    undone = []

    async def work() -> None:
        try:
            asyncio.get_running_loop().call_soon(os.kill, os.getpid(), number)
            await asyncio.sleep(20)
        finally:
            await asyncio.sleep(0.01)
            undone.append(True)

    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as caught:
        run(work())
    assert caught.value.code == 128 + number
    assert undone == [True]
    assert signal.getsignal(number) == before


def test_a_second_signal_does_not_break_the_undoing() -> None:
    undone = []

    async def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(20)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(0.05)
            undone.append(True)

    with pytest.raises(SystemExit):
        run(work())
    assert undone == [True]


def test_what_it_returns_is_returned() -> None:
    assert run(asyncio.sleep(0, 7)) == 7


def test_a_cancellation_that_no_signal_made_is_a_bug_and_stays_one() -> None:
    async def work() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        run(work())
