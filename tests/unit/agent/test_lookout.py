"""What the lookout does when a disk hangs: it goes on."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import pytest

from natpair.agent import lookout
from natpair.agent.cell import StateCell
from natpair.agent.lookout import Lookout
from natpair.apply.confirm import Unconfirmed
from nodes import standby
from samples import gateway


async def test_a_note_on_a_disk_that_hangs_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    free, begun = threading.Event(), list[int]()

    def read() -> Unconfirmed:
        begun.append(1)
        free.wait(10)
        return Unconfirmed(3, time.time() + 40)

    monkeypatch.setattr(lookout.confirm, "read", read)
    made = Lookout(gateway(), "nat-a", StateCell(standby()), asyncio.Event())
    for _ in range(5):
        await made._look_at_note()
    assert len(begun) <= 1, "one reader, however long it takes"
    free.set()
    assert made._reading is not None
    await made._reading
    await made._look_at_note()
    assert made.seen.rollback_at is not None
    assert 30 < made.seen.rollback_at - time.monotonic() < 41


async def test_a_key_that_is_gone_or_open_is_seen_and_is_news(tmp_path: Path) -> None:
    key = tmp_path / "key"
    pair = gateway()
    pair = pair.model_copy(update={"heartbeat": pair.heartbeat.model_copy(update={"key_file": str(key)})})
    made = Lookout(pair, "nat-a", StateCell(standby()), asyncio.Event())
    await made._look(1)
    assert made.seen.key_missing
    key.write_text("k")
    key.chmod(0o644)
    before = made.seen.essence
    await made._look(1)
    assert (made.seen.key_missing, made.seen.key_mode) == (False, 0o644)
    assert before != made.seen.essence
