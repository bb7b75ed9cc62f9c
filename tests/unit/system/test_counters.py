"""The counters of the ruleset where they cannot be read."""

from __future__ import annotations

import errno

import pytest

from natpair.system import counters, nft


@pytest.mark.parametrize("error", [OSError(errno.EPERM, "refused"), TimeoutError()])
def test_counters_that_cannot_be_read_are_none(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def refuse() -> None:
        raise error

    monkeypatch.setattr(counters, "read", refuse)
    assert nft.counters() == {}
