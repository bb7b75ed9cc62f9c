"""Control groups of chaos, for what only the kernel can do to processes: freeze them, limit memory, refuse forks.

These are version 1 hierarchies, as this kernel's container has them. On a machine with version 2 alone it raises an
error.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from natpair.errors import LabError
from natpair.system.process import run
from natpair_lab.testbed.wait import wait_until
from natpair_lab.testbed.world import Lab

ROOT = Path("/sys/fs/cgroup")
_SECONDS = 10.0


class Group:
    """One group of one controller. `close` releases its members and removes it."""

    def __init__(self, controller: str, name: str) -> None:
        hierarchy = ROOT / controller
        if not (hierarchy / "cgroup.procs").exists():
            raise LabError(f"this machine has no {controller} control groups of version 1", fix=f"mount {hierarchy}")
        self._parent = hierarchy
        self.folder = hierarchy / f"natpair-chaos-{name}"
        self.folder.mkdir(exist_ok=True)

    def add(self, pids: Iterable[int]) -> None:
        """Add processes to the group; processes that have ended are ignored."""
        for pid in pids:
            with suppress(ProcessLookupError):
                (self.folder / "cgroup.procs").write_text(f"{pid}\n")

    def set(self, key: str, value: object) -> None:
        """Write a file of the controller."""
        (self.folder / key).write_text(f"{value}\n")

    def read(self, key: str) -> str:
        """Read a file of the controller."""
        return (self.folder / key).read_text().strip()

    def close(self) -> None:
        """Release the members and remove the group."""
        wait_until(self._removed, deadline_seconds=_SECONDS, what=f"the end of the control group {self.folder}")

    def _removed(self) -> bool:
        with suppress(OSError):
            # Read again each time: a process that a member starts before its release is born a member.
            for pid in (self.folder / "cgroup.procs").read_text().split():
                (self._parent / "cgroup.procs").write_text(f"{pid}\n")
            self.folder.rmdir()
        return not self.folder.exists()


def pids(lab: Lab, node: str, word: str = "") -> list[int]:
    """The process ids of a node as this machine numbers them, of those with `word` in their command line."""
    found = []
    for text in run(["ip", "netns", "pids", lab.netns_of(node)], timeout=_SECONDS).stdout.split():
        with suppress(OSError):
            told = Path(f"/proc/{text}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            # An observer in the namespace is no process of the node.
            if word in told and "monitor address" not in told:
                found.append(int(text))
    return found
