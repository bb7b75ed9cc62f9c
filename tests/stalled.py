"""A disk that hangs: whoever opens, looks at or renames something below given folders waits until it is thawed."""

from __future__ import annotations

import builtins
import io
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_CALLS = ("open", "stat", "lstat", "replace", "rename", "unlink", "mkdir", "utime", "scandir", "listdir", "access")


class Stall:
    """`met` is what somebody waited for, by path. `thaw` lets everybody go on."""

    def __init__(self, folders: tuple[Path, ...]) -> None:
        self._folders = tuple(str(folder) for folder in folders)
        self._thawed = threading.Event()
        self.met: list[str] = []

    def thaw(self) -> None:
        self._thawed.set()

    def gate(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def gated(path: Any, *args: Any, **kwargs: Any) -> Any:
            name = os.fspath(path) if isinstance(path, str | os.PathLike) else ""
            if isinstance(name, str) and name.startswith(self._folders) and not self._thawed.is_set():
                self.met.append(name)
                self._thawed.wait(60)
            return call(path, *args, **kwargs)

        return gated


@contextmanager
def stalled(*folders: Path) -> Iterator[Stall]:
    """Everything below `folders` hangs until the end of the block."""
    stall = Stall(folders)
    with pytest.MonkeyPatch.context() as patch:
        for name in _CALLS:
            patch.setattr(os, name, stall.gate(getattr(os, name)))
        for module in (io, builtins):
            patch.setattr(module, "open", stall.gate(open))
        try:
            yield stall
        finally:
            stall.thaw()
