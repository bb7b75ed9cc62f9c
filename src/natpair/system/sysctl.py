"""Kernel settings: reads a sysctl.d file and writes the values that differ to /proc/sys.

Not `sysctl -p`: that one calls a key marked optional a failure when the kernel says EINVAL, which is what a
child network namespace says to keys that belong to the machine.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from natpair.errors import DaemonError
from natpair.system.files import read_small

PROC_SYS = Path("/proc/sys")


@dataclass(frozen=True, slots=True)
class Assignment:
    """One line: key with slashes, value, and whether the kernel may refuse it (a leading "-")."""

    key: str
    value: str
    optional: bool


def parse(text: str) -> tuple[Assignment, ...]:
    """The assignments of a sysctl.d file that separates the parts of a key by slashes, in its order."""
    assignments = []
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith(("#", ";")):
            continue
        key, _, value = line.partition("=")
        name = key.strip()
        assignments.append(Assignment(name.removeprefix("-"), value.strip(), optional=name.startswith("-")))
    return tuple(assignments)


def load(text: str, *, root: Path = PROC_SYS) -> tuple[Assignment, ...]:
    """Set everything in `text`; returns the optional assignments that this kernel or namespace refused.

    Settings of a missing interface are left out. DaemonError names every other one that could not be
    set.
    """
    refused = [a for a in parse(text) if not _set(a, root) and not lacks_interface(a, root)]
    needed = [assignment.key for assignment in refused if not assignment.optional]
    if needed:
        fix = "as root, on a kernel with nf_conntrack: modprobe nf_conntrack, then run it again"
        raise DaemonError(f"the kernel refused {', '.join(needed)}", fix=fix)
    return tuple(refused)


def differing(assignments: Iterable[Assignment], *, root: Path = PROC_SYS) -> tuple[Assignment, ...]:
    """Those of `assignments` that differ from the kernel's values."""
    return tuple([assignment for assignment in assignments if current(assignment, root) != assignment.value])


def put(key: str, value: str, *, root: Path = PROC_SYS) -> bool:
    """Set one key; False if the kernel refuses or has no such key."""
    return _set(Assignment(key, value, optional=True), root)


def lacks_interface(assignment: Assignment, root: Path = PROC_SYS) -> bool:
    """True if the assignment is for an interface that does not exist yet."""
    parts = assignment.key.split("/")
    if len(parts) < 5 or parts[0] != "net" or parts[2] != "conf":
        return False
    folder = root.joinpath(*parts[:3])
    return folder.is_dir() and not (folder / parts[3]).is_dir()


def _set(assignment: Assignment, root: Path) -> bool:
    if current(assignment, root) == assignment.value:
        return True
    try:
        (root / assignment.key).write_text(assignment.value + "\n")
    except OSError:
        return False
    return True


def current(assignment: Assignment, root: Path = PROC_SYS) -> str | None:
    """The kernel's current value for the key of `assignment`; None if it has no such key."""
    try:
        return read_small(f"{root}/{assignment.key}").strip()
    except OSError:
        return None
