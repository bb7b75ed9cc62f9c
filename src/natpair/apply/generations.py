"""Generations: the complete set of files after each apply, numbered. The newest `KEPT` are kept for rollback."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from natpair.core import paths
from natpair.core.rendered import Checker, RenderedFile, digest_of
from natpair.errors import NoInput
from natpair.system.files import write_atomic

KEPT = 10
FOLDER = Path(paths.GENERATIONS)


@dataclass(frozen=True, slots=True)
class Generation:
    """One set of files that was in force; `made` is in seconds since 1970, `why` is a text for users."""

    number: int
    made: float
    why: str
    files: tuple[RenderedFile, ...]

    @property
    def digest(self) -> str:
        """12 hex digits over paths, modes and texts: equal for equal files."""
        return digest_of(self.files)

    @property
    def config(self) -> str:
        """The text of the gateway.toml from which the files were rendered."""
        return next((file.text for file in self.files if file.path == paths.APPLIED), "")

    @property
    def bundle(self) -> tuple[RenderedFile, ...]:
        """The files that an apply installs to return to this generation, gateway.toml included."""
        return (RenderedFile(paths.CONFIG, self.config), *self.files)


def save(files: Sequence[RenderedFile], why: str, *, folder: Path = FOLDER) -> Generation:
    """Save `files` as the newest generation, without gateway.toml itself. Remove the oldest ones above `KEPT`."""
    kept = tuple(file for file in files if file.path != paths.CONFIG)
    made = Generation(max(numbers(folder=folder), default=0) + 1, time.time(), why, kept)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomic(_place(folder, made.number), json.dumps(asdict(made), indent=1) + "\n", mode=0o600)
    for number in numbers(folder=folder)[:-KEPT]:
        _place(folder, number).unlink(missing_ok=True)
    return made


def numbers(*, folder: Path = FOLDER) -> list[int]:
    """The numbers of the kept generations, oldest first."""
    return sorted(int(path.stem) for path in folder.glob("[0-9]*.json") if path.stem.isdigit())


def load(number: int, *, folder: Path = FOLDER) -> Generation:
    """Generation `number`. Raise NoInput, which lists the kept ones, if it is not kept or is damaged."""
    try:
        raw = json.loads(_place(folder, number).read_text(encoding="utf-8"))
        files = tuple(_file(entry) for entry in raw["files"])
        return Generation(int(raw["number"]), float(raw["made"]), str(raw["why"]), files)
    except (OSError, ValueError, KeyError, TypeError) as error:
        known = ", ".join(map(str, numbers(folder=folder))) or "none"
        raise NoInput(f"there is no generation {number}", fix=f"kept generations: {known}") from error


def newest(*, folder: Path = FOLDER) -> Generation | None:
    """The newest generation that can be read; None if there is none."""
    for number in reversed(numbers(folder=folder)):
        with contextlib.suppress(NoInput):
            return load(number, folder=folder)
    return None


def _file(entry: dict[str, object]) -> RenderedFile:
    checker = entry["checker"]
    mode = int(str(entry["mode"]))
    return RenderedFile(str(entry["path"]), str(entry["text"]), mode, Checker(str(checker)) if checker else None)


def _place(folder: Path, number: int) -> Path:
    return folder / f"{number:06}.json"
