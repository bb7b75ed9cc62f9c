"""The note of an apply that waits to be confirmed."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from natpair.system import unconfirmed
from natpair.system.unconfirmed import Unconfirmed


def test_a_note_is_found_again_until_it_is_cleared(tmp_path: Path) -> None:
    note = tmp_path / "var" / "unconfirmed"
    assert unconfirmed.read(note) is None
    unconfirmed.write(Unconfirmed(3, 99.5), note)
    assert unconfirmed.read(note) == Unconfirmed(3, 99.5)
    unconfirmed.clear(note)
    unconfirmed.clear(note)
    assert unconfirmed.read(note) is None


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"back_to": 3}', '{"back_to": "x", "deadline": 1}'])
def test_a_damaged_note_is_none(tmp_path: Path, damage: str) -> None:
    (tmp_path / "note").write_text(damage)
    assert unconfirmed.read(tmp_path / "note") is None


def test_waiting_ends_at_the_deadline(tmp_path: Path) -> None:
    note = tmp_path / "note"
    unconfirmed.write(Unconfirmed.after(0.3, 3), note)
    began = time.monotonic()
    assert unconfirmed.await_due(note) == unconfirmed.read(note)
    assert time.monotonic() - began >= 0.25


def test_waiting_ends_when_somebody_confirms(tmp_path: Path) -> None:
    note = tmp_path / "note"
    unconfirmed.write(Unconfirmed.after(60, 3), note)
    threading.Timer(0.2, unconfirmed.clear, [note]).start()
    assert unconfirmed.await_due(note) is None


def test_there_is_one_guard_only(tmp_path: Path) -> None:
    note = tmp_path / "note"
    with unconfirmed.only_guard(note) as first, unconfirmed.only_guard(note) as second:
        assert (first, second) == (True, False)
    with unconfirmed.only_guard(note) as again:
        assert again


@pytest.mark.parametrize("step", [-86_400, 86_400])
def test_a_clock_that_is_set_moves_no_deadline(monkeypatch: pytest.MonkeyPatch, step: float) -> None:
    note = Unconfirmed.after(60, 3)
    now = time.time()
    monkeypatch.setattr(unconfirmed.time, "time", lambda: now + step)
    assert 50 < note.left_seconds <= 60
    assert note.in_this_boot() == note


@pytest.mark.parametrize(("passed", "left"), [(20, 40), (90, -30), (-86_400, 60)])
def test_after_another_boot_the_clock_decides_and_never_makes_it_longer(
    monkeypatch: pytest.MonkeyPatch, passed: float, left: float
) -> None:
    note = Unconfirmed.after(60, 3)
    now = time.time()
    monkeypatch.setattr(unconfirmed, "_boot", lambda: "another")
    monkeypatch.setattr(unconfirmed.time, "time", lambda: now + passed)
    assert note.in_this_boot().left_seconds == pytest.approx(left, abs=2)


def test_who_waits_is_seen(tmp_path: Path) -> None:
    note = tmp_path / "note"
    assert not unconfirmed.guarded(note)
    with unconfirmed.only_guard(note):
        assert unconfirmed.guarded(note)
    assert not unconfirmed.guarded(note)
