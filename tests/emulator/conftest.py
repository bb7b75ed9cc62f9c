from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from emulator.accounts import Account, Full
from emulator.served import Served, served


@pytest.fixture
def api() -> Iterator[Served]:
    with served() as running:
        yield running


@pytest.fixture
def account() -> Account:
    return Account()


@pytest.fixture
def full() -> Full:
    return Full()


@pytest.fixture
def wait_until() -> Callable[[Callable[[], bool]], None]:
    """Look at a condition until it holds; it must within ten seconds."""

    def wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come to hold"
            time.sleep(0.02)

    return wait
