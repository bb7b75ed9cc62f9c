"""Files that are either the old or the new, never half: temporary file beside it, fsync, rename.

`Replacement` does that for a whole set of files at once, with a journal, so that an interrupted set is
finished or rolled back the next time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

_NEW = ".natpair-new"
_PREVIOUS = ".natpair-previous"


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


def _write(path: Path, text: str, mode: int, *, sync: bool) -> None:
    # A leftover of an interrupted run is replaced; O_EXCL then never follows somebody's link.
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
    """One file to put in place, or to take away (`text` None)."""

    path: Path
    text: str | None
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class Replacement:
    """A set of changes that is put in place as a whole.

    `stage` writes everything aside, `commit` renames, `rollback` brings the previous files back, `close` ends
    it and keeps the previous files. The journal tells a later run what was going on.
    """

    changes: tuple[Change, ...]
    journal: Path

    def stage(self) -> None:
        """Write every new file beside its place; nothing that is in use is touched."""
        for change in self.changes:
            change.path.parent.mkdir(parents=True, exist_ok=True)
            if change.text is not None:
                _write(staged(change.path), change.text, change.mode, sync=True)
        _sync_folders(change.path for change in self.changes)

    def abandon(self) -> None:
        """Remove what `stage` wrote."""
        for change in self.changes:
            staged(change.path).unlink(missing_ok=True)

    def commit(self) -> None:
        """Keep the previous files beside, then rename the new ones into place."""
        self._write_journal()
        for change in self.changes:
            _keep(change.path)
            if change.text is None:
                change.path.unlink(missing_ok=True)
            else:
                staged(change.path).replace(change.path)
        _sync_folders(change.path for change in self.changes)

    def rollback(self) -> None:
        """Bring the previous files back, and take away those that did not exist before."""
        restore([change.path for change in self.changes], self._existed())
        self.close()

    def close(self) -> None:
        """The set is complete: nothing to undo any more."""
        self.journal.unlink(missing_ok=True)

    def _write_journal(self) -> None:
        self.journal.parent.mkdir(parents=True, exist_ok=True)
        entries = {str(change.path): change.path.exists() for change in self.changes}
        write_atomic(self.journal, json.dumps(entries) + "\n", mode=0o600)

    def _existed(self) -> dict[Path, bool]:
        return read_journal(self.journal)


def staged(path: Path) -> Path:
    """Where the new file waits before it is renamed to `path`."""
    return path.with_name(f".{path.name}{_NEW}")


def previous(path: Path) -> Path:
    """Where the file that stood at `path` before the last change is kept."""
    return path.with_name(f".{path.name}{_PREVIOUS}")


def read_journal(journal: Path) -> dict[Path, bool]:
    """The files of an unfinished set and whether each existed before; empty if there is none."""
    text = read_if_there(journal)
    if text is None:
        return {}
    entries: dict[str, bool] = json.loads(text)
    return {Path(path): existed for path, existed in entries.items()}


def restore(paths: Sequence[Path], existed: dict[Path, bool]) -> None:
    """Undo a commit that may have stopped anywhere; doing it twice is harmless."""
    for path in paths:
        if not existed.get(path, True):
            path.unlink(missing_ok=True)
        elif not staged(path).exists() and previous(path).exists():
            _copy_over(previous(path), path)
        staged(path).unlink(missing_ok=True)
    _sync_folders(paths)


def recover(journal: Path) -> tuple[Path, ...]:
    """Undo what an interrupted run left behind; the files concerned, none if the last run ended properly."""
    existed = read_journal(journal)
    restore(list(existed), existed)
    journal.unlink(missing_ok=True)
    return tuple(existed)


def _keep(path: Path) -> None:
    if path.exists():
        _copy_over(path, previous(path))


def _copy_over(source: Path, target: Path) -> None:
    mode = source.stat().st_mode & 0o7777
    write_atomic(target, source.read_text(encoding="utf-8"), mode=mode)


def _sync_folders(paths: Iterable[Path]) -> None:
    for folder in sorted({path.parent for path in paths}):
        if folder.is_dir():
            sync_folder(folder)
