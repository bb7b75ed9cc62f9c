"""What the lookout does when a disk hangs: it goes on."""

from __future__ import annotations

import threading
import time

import pytest

from natpair.agent import lookout
from natpair.agent.lookout import Lookout
from natpair.apply.confirm import Unconfirmed
from samples import gateway


async def test_a_note_on_a_disk_that_hangs_holds_nothing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    free, begun = threading.Event(), list[int]()

    def read() -> Unconfirmed:
        begun.append(1)
        free.wait(10)
        return Unconfirmed(3, time.time() + 40)

    monkeypatch.setattr(lookout.confirm, "read", read)
    made = Lookout(gateway(), "nat-a", lambda: False, lambda: None)
    for _ in range(5):
        await made._look_at_note()
    assert len(begun) <= 1, "one reader, however long it takes"
    free.set()
    assert made._reading is not None
    await made._reading
    await made._look_at_note()
    assert made.seen.rollback_at is not None
    assert 30 < made.seen.rollback_at - time.monotonic() < 41
