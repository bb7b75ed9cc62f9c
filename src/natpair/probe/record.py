"""What a probe made, on disk before it is made, so that whatever ends the probe, somebody can clear up.

A folder for each probe, readable by its owner alone: the record, the ssh key, the known hosts. It is locked while the
probe runs, and gone when everything it speaks of is gone.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from natpair.system.files import write_atomic

FILE = "record.json"
LOCK = "lock"
TAG = "natpair-probe"
"""The tag of everything a probe makes; with a hyphen and the stamp it is that of one probe."""


def state_folder(environment: dict[str, str]) -> Path:
    """Where records lie: `natpair/probe` below XDG_STATE_HOME, or below ~/.local/state."""
    base = environment.get("XDG_STATE_HOME") or str(Path(environment.get("HOME", "/root")) / ".local" / "state")
    return Path(base) / "natpair" / "probe"


@dataclass(slots=True)
class Record:
    """One probe: the stamp on its labels and tags, where it works, the Linodes it made as far as it knows."""

    folder: Path
    stamp: str
    api_url: str
    region: str
    began: str
    linodes: list[int] = field(default_factory=list)
    fip: str = ""
    creating: str = ""
    """The label of a Linode that is being created: it may show up later than we look."""
    _lock: int = -1

    @classmethod
    def begin(cls, base: Path, api_url: str, region: str, began: str) -> Record:
        """A new record with a new stamp, locked."""
        stamp = secrets.token_hex(4)
        folder = base / stamp
        folder.mkdir(mode=0o700, parents=True)
        record = cls(folder, stamp, api_url, region, began)
        record.lock()
        record.write()
        return record

    @property
    def tag(self) -> str:
        """The tag of this probe's Linodes."""
        return f"{TAG}-{self.stamp}"

    def write(self) -> None:
        """Put it on disk, whole."""
        body = {key: value for key, value in asdict(self).items() if key not in {"folder", "_lock"}}
        write_atomic(self.folder / FILE, json.dumps(body, indent=1) + "\n")

    def lock(self) -> bool:
        """Hold the folder for as long as this process lives; False if another process holds it."""
        descriptor = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._lock = descriptor
        return True

    def forget(self) -> None:
        """Remove the folder, its key included; to be called when nothing of the probe is left."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.release()

    def release(self) -> None:
        """Let others have the folder."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def records(base: Path) -> Iterator[Record]:
    """The probes that left a record, in order of their stamps."""
    for folder in sorted(base.iterdir()) if base.is_dir() else []:
        with suppress(OSError, ValueError, TypeError):
            body = json.loads((folder / FILE).read_text())
            yield Record(folder, **body)
