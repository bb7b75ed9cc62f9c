"""Replaces files atomically: a temporary file beside it, fsync, rename. A reader sees the old or the new file.

`Replacement` does that for a whole set of files at once, with a journal, so that an interrupted set is
finished or rolled back the next time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_NEW = ".natpair-new"
_PREVIOUS = ".natpair-previous"
_SMALL_BYTES = 4096


def write_atomic(path: Path, text: str, *, mode: int = 0o644, sync: bool = True) -> None:
    """Put `text` at `path` with `mode`: readers see the old file or the new one, also after a power cut.

    `sync=False` leaves out the fsync, for files in /run that a power cut takes anyway. OSError if it cannot be written.
    """
    temporary = path.with_name(f".{path.name}{_NEW}")
    _write(temporary, text, mode, sync=sync)
    temporary.replace(path)
    if sync:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_if_there(path: Path) -> str | None:
    """The text of `path`, None if there is no such file."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def read_small(path: str) -> str:
    """The text of a small kernel file, in three system calls. pathlib takes three times as long, and some are read
    often.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _SMALL_BYTES).decode()
    finally:
        os.close(descriptor)


def read_number(path: str) -> int:
    """The number in one of them; 0 if there is none."""
    try:
        return int(read_small(path))
    except (OSError, ValueError):
        return 0


def probe(path: Path) -> None:
    """Write one block of `path` and wait until it is on disk, however long that takes. OSError if the disk refuses."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        # Written in place, so that nothing is allocated and no file grows.
        os.pwrite(descriptor, b"natpair writes this to see that the disk answers\n", 0)
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def _write(path: Path, text: str, mode: int, *, sync: bool) -> None:
    # A leftover of an interrupted run is replaced. O_EXCL makes sure that no symbolic link is followed.
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        os.fchmod(stream.fileno(), mode)  # whatever the umask
        stream.write(text)
        stream.flush()
        if sync:
            os.fsync(stream.fileno())


@dataclass(frozen=True, slots=True)
class Change:
    """One file to write, or to delete (`text` None)."""

    path: Path
    text: str | None
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class Replacement:
    """A set of file changes that takes effect as a whole.

    `stage` writes temporary files, `commit` renames them, `close` ends it; `rollback` restores the previous files
    at any point in between. The journal lets a later run do the same after a kill or a power cut.
    """

    changes: tuple[Change, ...]
    journal: Path

    def stage(self) -> None:
        """Copy the present files, open the journal, and write every new file beside its place."""
        existed = {change.path: change.path.exists() for change in self.changes}
        for change in self.changes:
            change.path.parent.mkdir(parents=True, exist_ok=True)
            if existed[change.path]:
                _copy_over(change.path, previous(change.path))
        self.journal.parent.mkdir(parents=True, exist_ok=True)
        entries = {str(path): was_there for path, was_there in existed.items()}
        write_atomic(self.journal, json.dumps(entries) + "\n", mode=0o600)
        for change in self.changes:
            if change.text is not None:
                _write(staged(change.path), change.text, change.mode, sync=True)
        _sync_folders(change.path for change in self.changes)

    def commit(self) -> None:
        """Rename the new files into place."""
        for change in self.changes:
            if change.text is None:
                change.path.unlink(missing_ok=True)
            else:
                staged(change.path).replace(change.path)
        _sync_folders(change.path for change in self.changes)

    def rollback(self) -> None:
        """Restore the previous files, and delete those that did not exist before."""
        recover(self.journal)

    def close(self) -> None:
        """End the set. It can no longer be undone."""
        self.journal.unlink(missing_ok=True)
        sync_folder(self.journal.parent)
        for change in self.changes:
            previous(change.path).unlink(missing_ok=True)


def staged(path: Path) -> Path:
    """Where the new file waits before it is renamed to `path`."""
    return path.with_name(f".{path.name}{_NEW}")


def previous(path: Path) -> Path:
    """Where the file that stood at `path` before the last change is kept."""
    return path.with_name(f".{path.name}{_PREVIOUS}")


def recover(journal: Path) -> tuple[Path, ...]:
    """Undo an unfinished set. Returns its files; none if the last run ended properly.

    It may be interrupted and run again, because the journal is deleted last.
    """
    existed = _read_journal(journal)
    for path, was_there in existed.items():
        staged(path).unlink(missing_ok=True)
        if not was_there:
            path.unlink(missing_ok=True)
        elif previous(path).exists():
            _copy_over(previous(path), path)
    _sync_folders(existed)
    journal.unlink(missing_ok=True)
    for path in existed:
        previous(path).unlink(missing_ok=True)
    return tuple(existed)


def _read_journal(journal: Path) -> dict[Path, bool]:
    text = read_if_there(journal)
    if text is None:
        return {}
    entries: dict[str, bool] = json.loads(text)
    return {Path(path): was_there for path, was_there in entries.items()}


def _copy_over(source: Path, target: Path) -> None:
    mode = source.stat().st_mode & 0o7777
    write_atomic(target, source.read_text(encoding="utf-8"), mode=mode)


def _sync_folders(paths: Iterable[Path]) -> None:
    for folder in sorted({path.parent for path in paths}):
        if folder.is_dir():
            sync_folder(folder)
