from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from natpair.system import files
from natpair.system.files import Change, Replacement, previous, read_if_there, recover, staged, write_atomic


def test_a_file_is_replaced_with_its_mode_whatever_the_umask(tmp_path: Path) -> None:
    target = tmp_path / "x.conf"
    before = os.umask(0o077)
    try:
        write_atomic(target, "one\n", mode=0o644)
        write_atomic(target, "two\n", mode=0o600)
    finally:
        os.umask(before)
    assert target.read_text() == "two\n"
    assert target.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [target]


def test_a_leftover_of_an_interrupted_run_or_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    target, elsewhere = tmp_path / "x.conf", tmp_path / "elsewhere"
    staged(target).symlink_to(elsewhere)
    write_atomic(target, "text\n")
    assert target.read_text() == "text\n"
    assert not elsewhere.exists()


def test_reading_what_is_not_there_is_none(tmp_path: Path) -> None:
    assert read_if_there(tmp_path / "none") is None


@pytest.fixture
def replacement(tmp_path: Path) -> Replacement:
    """One file that is changed, one that is new, one that is taken away."""
    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / "changed").write_text("old\n")
    (etc / "changed").chmod(0o640)
    (etc / "gone").write_text("old\n")
    changes = (
        Change(etc / "changed", "new\n", 0o600),
        Change(etc / "sub" / "made", "new\n"),
        Change(etc / "gone", None),
    )
    return Replacement(changes, tmp_path / "var" / "journal")


def contents(replacement: Replacement) -> list[str | None]:
    return [read_if_there(change.path) for change in replacement.changes]


OLD, NEW = ["old\n", None, "old\n"], ["new\n", "new\n", None]


def test_a_set_is_put_in_place_and_nothing_left_beside(replacement: Replacement) -> None:
    replacement.stage()
    assert contents(replacement) == OLD
    replacement.commit()
    assert contents(replacement) == NEW
    replacement.close()
    assert not any(previous(change.path).exists() for change in replacement.changes)
    assert recover(replacement.journal) == ()
    assert contents(replacement) == NEW


def test_rollback_brings_everything_back(replacement: Replacement) -> None:
    replacement.stage()
    replacement.commit()
    replacement.rollback()
    assert contents(replacement) == OLD
    assert replacement.changes[0].path.stat().st_mode & 0o777 == 0o640
    assert not replacement.journal.exists()


def test_rollback_before_the_renames_leaves_nothing_aside(replacement: Replacement) -> None:
    replacement.stage()
    replacement.rollback()
    assert contents(replacement) == OLD
    assert not any(staged(change.path).exists() for change in replacement.changes)


class Killed(BaseException):
    """Stands for SIGKILL or a power cut: nothing of ours runs after it."""


def killed_at(call: int) -> Callable[..., None]:
    """An `os.fsync` that ends the world at its n-th call."""
    left = [call]

    def fsync(descriptor: int) -> None:
        if not left[0]:
            raise Killed
        left[0] -= 1

    return fsync


@pytest.mark.parametrize("call", range(14))
def test_a_kill_at_any_fsync_leaves_all_old_after_recovery(
    replacement: Replacement, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", killed_at(call))
        try:
            replacement.stage()
            replacement.commit()
            replacement.close()
        except Killed:
            expected = OLD if replacement.journal.exists() else None
        else:
            expected = NEW
    recover(replacement.journal)
    # The journal is removed last: a kill just after that means the set was complete.
    assert contents(replacement) in ([expected] if expected else [OLD, NEW])


@pytest.mark.parametrize("call", range(3))
def test_a_recovery_that_is_killed_is_done_again(
    replacement: Replacement, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    replacement.stage()
    replacement.commit()
    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", killed_at(call))
        with pytest.raises(Killed):
            recover(replacement.journal)
    recover(replacement.journal)
    assert contents(replacement) == OLD
