"""One machine for each file of tests, with the rendered files in place."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from checks.scratch import Scratch, scratch_node
from contract.daemons import NODE, furnish


@pytest.fixture(scope="module")
def machine() -> Iterator[Scratch]:
    with scratch_node(NODE) as scratch:
        furnish(scratch)
        yield scratch
