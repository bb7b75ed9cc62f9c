"""What a node was made of after each apply: whole bundles of files, numbered, the newest few kept for going back."""

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
    """One bundle that was in force; `made` in seconds since 1970, `why` in words for people."""

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
        """The text of the gateway.toml the files were made from."""
        return next((file.text for file in self.files if file.path == paths.APPLIED), "")

    @property
    def bundle(self) -> tuple[RenderedFile, ...]:
        """What an apply puts in place to go back here: the files, and gateway.toml as it was."""
        return (RenderedFile(paths.CONFIG, self.config), *self.files)


def save(files: Sequence[RenderedFile], why: str, *, folder: Path = FOLDER) -> Generation:
    """Keep `files` as the newest generation, and let the oldest go beyond `KEPT`. gateway.toml itself is left out."""
    kept = tuple(file for file in files if file.path != paths.CONFIG)
    made = Generation(max(numbers(folder=folder), default=0) + 1, time.time(), why, kept)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomic(_place(folder, made.number), json.dumps(asdict(made), indent=1) + "\n", mode=0o600)
    for number in numbers(folder=folder)[:-KEPT]:
        _place(folder, number).unlink(missing_ok=True)
    return made


def numbers(*, folder: Path = FOLDER) -> list[int]:
    """The numbers that are kept, oldest first."""
    return sorted(int(path.stem) for path in folder.glob("[0-9]*.json") if path.stem.isdigit())


def load(number: int, *, folder: Path = FOLDER) -> Generation:
    """Generation `number`; NoInput with those there are if it is not kept or damaged."""
    try:
        raw = json.loads(_place(folder, number).read_text(encoding="utf-8"))
        files = tuple(_file(entry) for entry in raw["files"])
        return Generation(int(raw["number"]), float(raw["made"]), str(raw["why"]), files)
    except (OSError, ValueError, KeyError, TypeError) as error:
        known = ", ".join(map(str, numbers(folder=folder))) or "none"
        raise NoInput(f"there is no generation {number}", cure=f"kept are: {known}") from error


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
