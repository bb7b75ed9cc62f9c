from __future__ import annotations

from collections.abc import Iterator

import pytest

from emulator.served import Served, served


@pytest.fixture
def api() -> Iterator[Served]:
    with served() as running:
        yield running
