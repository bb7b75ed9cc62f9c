"""Do packets come back? A toy of `agent.replies`: it reads and probes as that does, and `core.replies` checks.

There is one FIP. Each machine has two facts of its own: `shared`, the fabric takes its route to the FIP, the active
node's rather than the standby's, and `line`, packets get through behind its gateway, both ways.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Protocol

from natpair.agent.replies import (
    DESTINATIONS_SECONDS,
    FAR_SECONDS,
    PROBE_SECONDS,
    REACHED_SECONDS,
    READ_SECONDS,
    URGENT_SECONDS,
    grace,
)
from natpair.core.replies import FipReplies, Replies, Where
from natpair.core.state import NodeState

FIP, OWN = "192.0.2.1", "198.51.100.1"
DESTINATIONS = (IPv4Address("203.0.113.1"), IPv4Address("203.0.113.2"))
PACKETS = 10
"""What the clients send between two readings."""


class Node(Protocol):
    """What is true of the machine."""

    shared: bool
    state: NodeState | None

    @property
    def gateway_answers(self) -> bool: ...

    @property
    def leads_on(self) -> bool: ...

    @property
    def translates(self) -> bool: ...


def _fresh() -> Replies:
    return Replies.of((FIP,), behind=False)


@dataclass
class ReplyWatch:
    """Lives as long as an agent. `wake` is called when what it says has changed."""

    node: Node
    wake: Callable[[], None]
    _replies: Replies = field(default_factory=_fresh)
    verdicts: tuple[FipReplies, ...] = ()
    _count: tuple[int, int] = (0, 0)
    _probed_at: float = 0.0
    _far_at: float = 0.0
    _reached_at: float | None = None
    _helping: bool = False

    @property
    def asking(self) -> tuple[IPv4Address, ...]:
        """What the peer should try: the FIP as a sender, or destinations from its own address."""
        if any(one.where is Where.FIP for one in self.verdicts):
            return (IPv4Address(FIP),)
        return DESTINATIONS if self._replies.suspect or any(one.where for one in self.verdicts) else ()

    def reached(self, now: float) -> bool | None:
        """Whether this standby reaches what its peer asked about."""
        return None if not self._helping or self._reached_at is None else now - self._reached_at < REACHED_SECONDS

    def look(self, now: float) -> float:
        """One round; returns the seconds until the next."""
        state = self.node.state
        assert state is not None
        before = self.asking, [(one.state, one.where) for one in self.verdicts]
        said = state.peer.fresh(state.terms, now)
        if state.claims_active:
            self._replies = self._replies.with_peer(reaches=said is not None and said.reached is True)
            self._serve(now, settled=now >= state.since + grace(state, said))
        elif said is not None and said.ask:
            self._help(said.ask, now)
        else:
            self._rest()
        if before != (self.asking, [(one.state, one.where) for one in self.verdicts]):
            self.wake()
        return URGENT_SECONDS if self._helping or self._replies.urgent(now) else READ_SECONDS

    def _rest(self) -> None:
        self._replies, self.verdicts = _fresh(), ()
        self._helping, self._reached_at = False, None

    def _serve(self, now: float, *, settled: bool) -> None:
        node = self.node
        self._helping = False
        sent, back = self._count
        if node.translates:
            self._count = (sent + PACKETS, back + (PACKETS if node.shared and node.leads_on else 0))
        self._replies = self._replies.counted({FIP: self._count}, now)
        self.verdicts = self._replies.verdicts(now, settled=settled)
        self._probe(now)
        if self._replies.want_far(now) and now - self._far_at >= self._far_pause():
            self._far_at = now
            self._replies = self._replies.asked_far(FIP, len(DESTINATIONS))
            if node.shared and node.leads_on:
                self._replies = self._replies.answered_far(FIP, now)

    def _far_pause(self) -> float:
        return DESTINATIONS_SECONDS if self._replies.patient(FIP) else FAR_SECONDS

    def _probe(self, now: float) -> None:
        pace = URGENT_SECONDS if self._replies.urgent(now) else PROBE_SECONDS
        if not self._replies.to_ask(now) or now - self._probed_at < 0.9 * pace:
            return
        self._probed_at = now
        self._replies = self._replies.asked((FIP,))
        if self.node.gateway_answers:
            self._replies = self._replies.answered(OWN, now)
            if self.node.shared:
                self._replies = self._replies.answered(FIP, now)

    def _help(self, asked: tuple[IPv4Address, ...], now: float) -> None:
        if not self._helping:
            self._rest()
            self._helping = True
        self._reached_at = self._reached_at or -REACHED_SECONDS
        # The active node's route is not taken, or it would not ask: what is for the FIP comes here, if here is shared.
        fip = IPv4Address(FIP) in asked
        if (self.node.shared and self.node.gateway_answers) if fip else self.node.leads_on:
            self._reached_at = now
