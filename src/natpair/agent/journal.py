"""The files that the agent writes for operators and for its own next start: the event log and small state files."""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

import structlog

from natpair.agent.disk import Lane
from natpair.core import paths
from natpair.core.messages import MAX_GENERATION
from natpair.system.files import write_atomic

_EVENTS_LIMIT_BYTES = 4 * 1024 * 1024
_WAITING_LINES = 4096
"""Lines that may wait for a disk, about a megabyte: hours of normal operation, or minutes of many events."""
_RECENT_LINES = 2000
_TAIL_BYTES = 512 * 1024
_MAC = re.compile("[0-9a-f]{2}(:[0-9a-f]{2}){5}")


class LogStream:
    """A text stream whose writes go to `lane`, so that logging never waits for a supervisor that does not read.

    The queue is bounded. Further lines are dropped and counted.
    """

    def __init__(self, lane: Lane, descriptor: int = 1) -> None:
        self._lane = lane
        self._descriptor = descriptor
        self._waiting: deque[str] = deque()
        self.dropped = 0

    def write(self, text: str) -> int:
        """Queue `text`. Never waits."""
        if len(self._waiting) >= _WAITING_LINES:
            self.dropped += 1
        else:
            self._waiting.append(text)
            self._lane.put("log", self._empty)
        return len(text)

    def flush(self) -> None:
        """Nothing to do: the lane writes as soon as it can."""

    def _empty(self) -> None:
        while self._waiting:
            text = self._waiting[0].encode(errors="replace")
            while text:
                text = text[os.write(self._descriptor, text) :]
            self._waiting.popleft()


def log_to(stream: LogStream) -> None:
    """Send the agent's log to `stream`, one JSON object a line. The supervisor keeps it."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(stream),  # type: ignore[arg-type]
    )


def event_log() -> structlog.stdlib.BoundLogger:
    """The agent's logger."""
    log: structlog.stdlib.BoundLogger = structlog.get_logger()
    return log


def transition_id(*, node: str, epoch: int) -> str:
    """The id of one transition of one node. The steps that follow from it carry it, too."""
    return f"{node}-{epoch}-{int(time.time() * 1000):x}"


class Events:
    """`events.jsonl`: one JSON object a line, with wall-clock times, in two files at most.

    `record` never waits, because `lane` does the writing. The queue is bounded, and dropped lines are counted.
    """

    def __init__(self, path: str = paths.EVENTS, *, node: str = "", lane: Lane | None = None) -> None:
        self._path = Path(path)
        self._node = node
        self._lane = lane or Lane("events", path)
        self._waiting: deque[str] = deque()
        # Each counter belongs to one thread: the loop's, the lane's, the lane's.
        self._overflowed = self._refused = self._told = 0
        self.transition = ""
        self.recent: deque[dict[str, object]] = deque(maxlen=_RECENT_LINES)
        """The newest lines, oldest first, also those of earlier agents once `recall` has read them."""

    def record(self, event: str, **fields: object) -> None:
        """Record one event. If the disk hangs or is full, only the line in the file is lost."""
        head = {"time": time.time(), "node": self._node, "event": event, "transition": self.transition}
        self.recent.append(head | fields)
        if len(self._waiting) >= _WAITING_LINES:
            self._overflowed += 1
            return
        self._waiting.append(json.dumps({**head, **fields}))
        self._lane.put("events", self._write)

    def recall(self) -> None:
        """Fill `recent` with the end of the file, once. It reads the disk, so call it from a lane."""
        before = tuple(self.recent)
        first = float(str(before[0]["time"])) if before else float("inf")
        older = [line for line in _tail(self._path) if float(str(line["time"])) < first]
        self.recent.extendleft(reversed(older[-(_RECENT_LINES - len(before)) :]))

    def flush(self, seconds: float) -> bool:
        """Wait until all lines are in the file; False if that takes longer."""
        return self._lane.flush(seconds)

    @property
    def dropped(self) -> int:
        """The number of lines that were not written, because the disk was too slow or refused them."""
        return self._overflowed + self._refused

    def _write(self) -> None:
        lines = [self._waiting.popleft() for _ in range(len(self._waiting))]
        dropped = self.dropped
        if dropped > self._told:
            head = {"time": time.time(), "node": self._node, "event": "events-lost", "transition": ""}
            lines.append(json.dumps({**head, "count": dropped - self._told}))
        try:
            self._append(lines)
        except OSError:
            self._refused += len(lines) - (dropped > self._told)
            raise
        self._told = dropped

    def _append(self, lines: Iterable[str]) -> None:
        if self._path.exists() and self._path.stat().st_size > _EVENTS_LIMIT_BYTES:
            self._path.replace(self._path.with_suffix(".1.jsonl"))
        with self._path.open("a") as file:
            file.write("".join(f"{line}\n" for line in lines))


def _tail(path: Path) -> list[dict[str, object]]:
    """The last complete lines of the file; none if there is no file."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    found = []
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and isinstance(entry.get("time"), int | float):
            found.append(entry)
    return found


@dataclass(frozen=True, slots=True)
class Remembered:
    """What an agent of the same boot left in /run: enough to adopt a node that is active."""

    active: bool = False
    epoch: int = 0
    boosted: bool = False
    fenced: bool = False
    handed: tuple[str, ...] = ()
    peer_mac: str = ""


def recall(path: str = paths.STATE) -> Remembered:
    """What /run/natpair/state.json says; an empty record if it is missing or unreadable."""
    try:
        raw = json.loads(Path(path).read_text())
        active, boosted, fenced = raw["role"] == "active", bool(raw["boosted"]), bool(raw["fenced"])
        handed, mac = tuple(map(str, raw.get("handed", ()))), _mac(str(raw.get("peer_mac", "")))
        return Remembered(active, int(raw["epoch"]), boosted, fenced, handed, mac)
    except (OSError, ValueError, KeyError, TypeError):
        return Remembered()


def remember(state: Remembered, path: str = paths.STATE) -> None:
    """Replace state.json. There is no fsync, because /run is in memory."""
    role = "active" if state.active else "standby"
    document: dict[str, object] = {"role": role, "epoch": state.epoch, "boosted": state.boosted}
    document |= {"fenced": state.fenced, "handed": state.handed, "peer_mac": state.peer_mac}
    write_atomic(Path(path), json.dumps(document), sync=False)


def reserved_generation(path: str = paths.EPOCH) -> int:
    """The highest generation ever reserved on this disk; 0 if the file is missing, unreadable or out of range."""
    try:
        found = int(Path(path).read_text())
    except (OSError, ValueError):
        return 0
    return found if 0 <= found < MAX_GENERATION // 2 else 0


def reserve_generation(ceiling: int, path: str = paths.EPOCH) -> None:
    """Reserve generations up to `ceiling`. They are on disk when this returns. Called in advance, never
    in a takeover.
    """
    write_atomic(Path(path), f"{ceiling}\n")


def is_drained(path: str = paths.DRAINED) -> bool:
    """Whether an operator has drained this node."""
    return Path(path).exists()


def save_drained(drained: bool, path: str = paths.DRAINED) -> None:
    """Save whether the node is drained, so that it survives a reboot."""
    target = Path(path)
    if drained:
        target.touch()
    else:
        target.unlink(missing_ok=True)


def given_up(fips: Iterable[IPv4Address], path: str = paths.FIPS) -> tuple[IPv4Address, ...]:
    """The FIPs that the last agent of this boot had and that are not in `fips`. Saves `fips` for the next agent."""
    try:
        before = {IPv4Address(line) for line in Path(path).read_text().split()}
    except (OSError, ValueError):
        before = set()
    with contextlib.suppress(OSError):
        Path(path).write_text("\n".join(map(str, fips)))
    return tuple(sorted(before - set(fips)))


def peer_mac(path: str = paths.PEER_MAC) -> str:
    """The peer's MAC from its last sealed heartbeat, possibly before a reboot; empty if it is not known."""
    try:
        return _mac(Path(path).read_text().strip())
    except (OSError, ValueError):
        return ""


def save_peer_mac(mac: str, path: str = paths.PEER_MAC) -> None:
    """Save the peer's MAC for the next boot. It may wait for the disk, so do not call it from the loop."""
    write_atomic(Path(path), f"{mac}\n", sync=False)


def _mac(text: str) -> str:
    return text if _MAC.fullmatch(text) else ""
