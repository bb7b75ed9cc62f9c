"""An agent's loop, its executor and its memory among fakes that only remember what they were asked."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from natpair.agent import journal
from natpair.agent.beginning import Begin
from natpair.agent.cell import StateCell
from natpair.agent.executor import Executor
from natpair.agent.journal import Events, Remembered
from natpair.agent.loop import DecisionLoop
from natpair.agent.memory import Memory
from natpair.core.actions import Conntrack
from natpair.core.desired import Desired
from natpair.core.messages import PeerMessage
from natpair.core.state import NodeState
from natpair.core.wire import Path as Link
from natpair.system.keepalived import NotifyFifo
from samples import gateway

KEY = b"0123456789abcdef0123456789abcdef"


@dataclass
class Recorder:
    """Reconciler, VLAN, peer link, disk and account watch, which keep a list; `calls` is all of it in order."""

    calls: list[tuple[str, object]] = field(default_factory=list)

    def named(self, name: str) -> list[object]:
        return [what for called, what in self.calls if called == name]

    def want(self, desired: Desired) -> None:
        self.calls.append(("want", desired))

    def send(self, message: PeerMessage) -> None:
        self.calls.append(("send", message))

    def probe(self, nonce: int) -> None:
        self.calls.append(("probe", nonce))

    def claim_vip(self) -> None:
        self.calls.append(("claim_vip", None))

    def put(self, _name: str, work: Callable[[], None]) -> None:
        work()

    def save_drained(self, drained: bool) -> None:
        self.calls.append(("save_drained", drained))

    def repair_shares(self) -> None:
        self.calls.append(("repair_shares", None))


@dataclass
class Bench:
    """A loop, what it asked for, and what it wrote down."""

    loop: DecisionLoop
    cell: StateCell
    executor: Executor
    effects: Recorder
    events: Path
    remembered: list[Remembered]
    journal: Events

    @property
    def state(self) -> NodeState:
        return self.cell.get()

    @state.setter
    def state(self, state: NodeState) -> None:
        self.cell.put(state)

    def jobs(self) -> list[Conntrack]:
        """What is queued for conntrackd."""
        queue = self.executor._jobs
        return [queue.get_nowait() for _ in range(queue.qsize())]

    def lines(self) -> list[dict[str, Any]]:
        """What stands in the event log."""
        assert self.journal.flush(5.0)
        return [json.loads(text) for text in self.events.read_text().splitlines()]


def alive(state: NodeState, age: float = 0.0) -> NodeState:
    """The same state on this machine's clock."""
    now = time.monotonic()
    peer = replace(state.peer, heard=dict.fromkeys(Link, now - age))
    return replace(state, since=now, refresh_at=now + 60, peer=peer)


class BenchMaker:
    """Makes a bench around a state whose clock begins now."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self._folder, self._patch = folder, patch

    def __call__(self, state: NodeState) -> Bench:
        effects, remembered = Recorder(), list[Remembered]()
        self._patch.setattr(journal, "remember", remembered.append)
        self._patch.setattr(journal, "save_drained", effects.save_drained)
        self._patch.setattr(journal, "save_peer_mac", lambda _mac: None)
        path = self._folder / "events.jsonl"
        events, cell = Events(str(path)), StateCell(state)
        loop = DecisionLoop(cell, events)
        others: Any = effects
        executor = Executor(cell, loop.handle, others, others, others, events, asyncio.Event(), effects.repair_shares)
        cell.subscribe(Memory(others, events).follow)
        loop.connect(effects.want, executor.execute)
        return Bench(loop, cell, executor, effects, path, remembered, events)


def begin(folder: Path, node: str = "nat-a") -> Begin:
    """What an agent needs before it can begin, with a FIFO of its own."""
    path = folder / "notify.fifo"
    if not path.exists():
        os.mkfifo(path)
    return Begin(gateway(), node, KEY, NotifyFifo(str(path)))
