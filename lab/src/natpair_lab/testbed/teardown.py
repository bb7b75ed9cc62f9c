"""Removes a lab. It uses only the lab's records, so it works after any crash, and twice."""

from __future__ import annotations

import shutil
from collections.abc import Container
from pathlib import Path

from natpair.system.signals import undisturbed
from natpair_lab.testbed import host, netns, state

__all__ = ["RECORDS", "empty", "end_hosts", "remove", "undisturbed"]

RECORDS = "inits"


def remove(folder: Path) -> None:
    """Remove the lab in `folder`: its processes, its network namespaces, the folder. Nothing else."""
    with undisturbed():
        empty(folder)
        if folder.is_dir():
            shutil.rmtree(folder)
        netns.release_folder()


def empty(folder: Path, *, keep: Container[str] = ()) -> None:
    """Remove what the lab in `folder` has in the kernel and on disk, except the folder itself and `keep` in it."""
    end_hosts(folder)
    known = state.read(folder)
    names = known.netns if known is not None else ()
    for name in names:
        host.end_guests(name)
    netns.remove(names)
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        if path.name not in keep:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def end_hosts(folder: Path) -> None:
    """End every host on record, with all its processes."""
    records = folder / RECORDS
    for record in sorted(records.iterdir()) if records.is_dir() else []:
        ref = host.read_record(record)
        if ref is not None:
            host.end(ref)
