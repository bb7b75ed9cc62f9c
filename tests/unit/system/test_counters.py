"""The counters of the ruleset where they cannot be read."""

from __future__ import annotations

import errno

import pytest

from natpair.errors import CommandFailed
from natpair.system import nft


@pytest.mark.parametrize(
    "error", [CommandFailed(["nft"], 1, "No such file"), BlockingIOError(errno.EAGAIN, "no process can be started")]
)
async def test_counters_that_cannot_be_read_are_none(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(nft, "arun", refuse)
    assert await nft.counters() == {}
