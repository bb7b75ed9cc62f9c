"""An agent's loop among fakes that only remember what they were asked."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from natpair.agent import journal
from natpair.agent.journal import Events, Remembered
from natpair.agent.loop import DecisionLoop
from natpair.core.actions import Conntrack
from natpair.core.desired import Desired
from natpair.core.messages import PeerMessage
from natpair.core.state import NodeState, PeerView
from natpair.core.wire import Path as Leg


@dataclass
class Recorder:
    """`Effects` that keep a list; `calls` is all of it in order."""

    calls: list[tuple[str, object]] = field(default_factory=list)

    def named(self, name: str) -> list[object]:
        return [what for called, what in self.calls if called == name]

    def want(self, wish: Desired) -> None:
        self.calls.append(("want", wish))

    def send(self, message: PeerMessage) -> None:
        self.calls.append(("send", message))

    def probe_vlan(self, nonce: int) -> None:
        self.calls.append(("probe_vlan", nonce))

    def claim_vip(self) -> None:
        self.calls.append(("claim_vip", None))

    def conntrack(self, job: Conntrack) -> None:
        self.calls.append(("conntrack", job))

    def reserve(self, ceiling: int) -> None:
        self.calls.append(("reserve", ceiling))

    def save_drained(self, drained: bool) -> None:
        self.calls.append(("save_drained", drained))

    def repair_shares(self) -> None:
        self.calls.append(("repair_shares", None))


@dataclass
class Bench:
    """A loop, what it asked for, and what it wrote down."""

    loop: DecisionLoop
    effects: Recorder
    events: Path
    remembered: list[Remembered]
    journal: Events

    def lines(self) -> list[dict[str, Any]]:
        """What stands in the event log."""
        assert self.journal.flush(5.0)
        return [json.loads(text) for text in self.events.read_text().splitlines()]


def alive(state: NodeState, age: float = 0.0) -> NodeState:
    """The same state on this machine's clock."""
    now = time.monotonic()
    return replace(state, since=now, refresh_at=now + 60, peer=PeerView(dict.fromkeys(Leg, now - age), state.peer.said))


class BenchMaker:
    """Makes a bench around a state whose clock begins now."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self._folder, self._patch = folder, patch

    def __call__(self, state: NodeState) -> Bench:
        effects, remembered = Recorder(), list[Remembered]()
        self._patch.setattr(journal, "remember", remembered.append)
        path = self._folder / "events.jsonl"
        events = Events(str(path))
        return Bench(DecisionLoop(state, effects, events), effects, path, remembered, events)
