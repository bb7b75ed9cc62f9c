from __future__ import annotations

from pathlib import Path

import pytest

from agent_bench import BenchMaker


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BenchMaker:
    return BenchMaker(tmp_path, monkeypatch)
