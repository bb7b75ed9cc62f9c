"""The note of an apply that waits to be confirmed."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from natpair.apply import confirm
from natpair.apply.confirm import Unconfirmed


def test_a_note_is_found_again_until_it_is_cleared(tmp_path: Path) -> None:
    note = tmp_path / "var" / "unconfirmed"
    assert confirm.read(note) is None
    confirm.write(Unconfirmed(3, 99.5), note)
    assert confirm.read(note) == Unconfirmed(3, 99.5)
    confirm.clear(note)
    confirm.clear(note)
    assert confirm.read(note) is None


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"back_to": 3}', '{"back_to": "x", "deadline": 1}'])
def test_a_damaged_note_is_none(tmp_path: Path, damage: str) -> None:
    (tmp_path / "note").write_text(damage)
    assert confirm.read(tmp_path / "note") is None


def test_waiting_ends_at_the_deadline(tmp_path: Path) -> None:
    note = tmp_path / "note"
    confirm.write(Unconfirmed.after(0.3, 3), note)
    began = time.monotonic()
    assert confirm.await_due(note) == confirm.read(note)
    assert time.monotonic() - began >= 0.25


def test_waiting_ends_when_somebody_confirms(tmp_path: Path) -> None:
    note = tmp_path / "note"
    confirm.write(Unconfirmed.after(60, 3), note)
    threading.Timer(0.2, confirm.clear, [note]).start()
    assert confirm.await_due(note) is None


def test_there_is_one_guard_only(tmp_path: Path) -> None:
    note = tmp_path / "note"
    with confirm.only_guard(note) as first, confirm.only_guard(note) as second:
        assert (first, second) == (True, False)
    with confirm.only_guard(note) as again:
        assert again


@pytest.mark.parametrize("step", [-86_400, 86_400])
def test_a_clock_that_is_set_moves_no_deadline(monkeypatch: pytest.MonkeyPatch, step: float) -> None:
    note = Unconfirmed.after(60, 3)
    now = time.time()
    monkeypatch.setattr(confirm.time, "time", lambda: now + step)
    assert 50 < note.left_seconds <= 60
    assert note.in_this_boot() == note


@pytest.mark.parametrize(("passed", "left"), [(20, 40), (90, -30), (-86_400, 60)])
def test_after_another_boot_the_clock_decides_and_never_makes_it_longer(
    monkeypatch: pytest.MonkeyPatch, passed: float, left: float
) -> None:
    note = Unconfirmed.after(60, 3)
    now = time.time()
    monkeypatch.setattr(confirm, "_boot", lambda: "another")
    monkeypatch.setattr(confirm.time, "time", lambda: now + passed)
    assert note.in_this_boot().left_seconds == pytest.approx(left, abs=2)


def test_who_waits_is_seen(tmp_path: Path) -> None:
    note = tmp_path / "note"
    assert not confirm.guarded(note)
    with confirm.only_guard(note):
        assert confirm.guarded(note)
    assert not confirm.guarded(note)
