"""What the agent leaves behind for people and for its own next start: the event log and small state files."""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

import structlog

from natpair.core import paths
from natpair.core.messages import MAX_GENERATION

_EVENTS_LIMIT_BYTES = 4 * 1024 * 1024


def event_log() -> structlog.stdlib.BoundLogger:
    """The agent's logger: one JSON object a line on stderr, which the supervisor keeps."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(),
    )
    log: structlog.stdlib.BoundLogger = structlog.get_logger()
    return log


class Events:
    """`events.jsonl`: one object a line, wall-clock times, never waited for, never larger than two files."""

    def __init__(self, path: str = paths.EVENTS, *, node: str = "") -> None:
        self._path = Path(path)
        self._node = node
        self.transition = ""

    def record(self, event: str, **fields: object) -> None:
        """Append one event; a full disk loses the line and nothing else."""
        head = {"time": time.time(), "node": self._node, "event": event, "transition": self.transition}
        line = json.dumps({**head, **fields})
        with contextlib.suppress(OSError):
            if self._path.exists() and self._path.stat().st_size > _EVENTS_LIMIT_BYTES:
                self._path.replace(self._path.with_suffix(".1.jsonl"))
            with self._path.open("a") as file:
                file.write(line + "\n")


@dataclass(frozen=True, slots=True)
class Remembered:
    """What an agent of the same boot left in /run: enough to adopt a node that is active."""

    active: bool = False
    epoch: int = 0
    boosted: bool = False
    fenced: bool = False
    handed: tuple[str, ...] = ()


def recall(path: str = paths.STATE) -> Remembered:
    """What stands in /run/natpair/state.json; nothing if there is none or it cannot be read."""
    try:
        raw = json.loads(Path(path).read_text())
        active, boosted, fenced = raw["role"] == "active", bool(raw["boosted"]), bool(raw["fenced"])
        return Remembered(active, int(raw["epoch"]), boosted, fenced, tuple(map(str, raw.get("handed", ()))))
    except (OSError, ValueError, KeyError, TypeError):
        return Remembered()


def remember(state: Remembered, path: str = paths.STATE) -> None:
    """Replace state.json; /run is memory, so no fsync."""
    role = "active" if state.active else "standby"
    document: dict[str, object] = {"role": role, "epoch": state.epoch, "boosted": state.boosted}
    document |= {"fenced": state.fenced, "handed": state.handed}
    target = Path(path)
    fresh = target.with_suffix(".new")
    fresh.write_text(json.dumps(document))
    fresh.replace(target)


def reserved_generation(path: str = paths.EPOCH) -> int:
    """The highest generation ever reserved on this disk; 0 if the file is lost, damaged or beyond belief."""
    try:
        found = int(Path(path).read_text())
    except (OSError, ValueError):
        return 0
    return found if 0 <= found < MAX_GENERATION // 2 else 0


def reserve_generation(ceiling: int, path: str = paths.EPOCH) -> None:
    """Reserve up to `ceiling`, on the disk before this returns. Called ahead of need, not in a takeover."""
    target = Path(path)
    fresh = target.with_suffix(".new")
    with fresh.open("w") as file:
        file.write(f"{ceiling}\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(target)


def is_drained(path: str = paths.DRAINED) -> bool:
    """An operator drained this node."""
    return Path(path).exists()


def save_drained(drained: bool, path: str = paths.DRAINED) -> None:
    """Write the operator's wish down, or take it away."""
    target = Path(path)
    if drained:
        target.touch()
    else:
        target.unlink(missing_ok=True)
