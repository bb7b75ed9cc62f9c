"""The way to one of the probe's machines: run something there, copy files there.

`Channel` is all that the measurements know of a machine. The real one is `ssh`; the lab's is the lab's business.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Protocol

from natpair.probe import wire
from natpair.system.process import Completed, arun

SHIPPED = ("core/packets", "probe/wire", "probe/node", "probe/stream", "probe/senders")
"""The modules of natpair that run on the probe's machines."""
COPY_SECONDS = 30.0

_UNPACK = """\
import json, os, sys
for path, text in json.load(sys.stdin).items():
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    with open(path + ".new", "w", opener=lambda p, flags: os.open(p, flags, 0o600)) as file:
        file.write(text)
    os.replace(path + ".new", path)
"""


class Channel(Protocol):
    """One machine."""

    @property
    def name(self) -> str:
        """What people call it."""

    async def run(
        self, argv: Sequence[str], *, stdin: str = "", timeout_seconds: float = 10, ok: Sequence[int] = (0,)
    ) -> Completed:
        """Run a program there to its end. CommandFailed for a status outside `ok` or when time runs out."""


class Here:
    """This machine."""

    name = "here"

    async def run(
        self, argv: Sequence[str], *, stdin: str = "", timeout_seconds: float = 10, ok: Sequence[int] = (0,)
    ) -> Completed:
        """Run a program here."""
        return await arun(argv, stdin=stdin, timeout=timeout_seconds, ok=ok)


async def copy(channel: Channel, files: Mapping[str, str]) -> None:
    """Write files (path → text) on the machine, each whole or not at all, for its owner alone."""
    argv = ["python3", "-c", _UNPACK]
    await channel.run(argv, stdin=json.dumps(dict(files)), timeout_seconds=COPY_SECONDS)


async def ship(channel: Channel, folder: str = wire.FOLDER) -> None:
    """Bring the probe's own programs to the machine."""
    package = resources.files("natpair")
    files = {f"{folder}/natpair/{name}": "" for name in ("__init__.py", "core/__init__.py", "probe/__init__.py")}
    files |= {f"{folder}/natpair/{name}.py": (package / f"{name}.py").read_text("utf-8") for name in SHIPPED}
    await copy(channel, files)


def program(module: str, arguments: Sequence[str], folder: str = wire.FOLDER) -> list[str]:
    """The argument list that runs a shipped module; -S keeps whatever natpair the machine has out of the way."""
    return ["env", f"PYTHONPATH={folder}", "python3", "-S", "-m", f"natpair.probe.{module}", *arguments]
