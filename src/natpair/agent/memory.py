"""Follows the state and saves what the next agent needs, and records when the peer was first heard as active."""

from __future__ import annotations

from functools import partial

from natpair.agent import journal
from natpair.agent.disk import Lane
from natpair.core.state import NodeState


class Memory:
    """A follower of the `StateCell`. `var` is the lane of /var. state.json is on a memory file system and written at
    once.
    """

    def __init__(self, var: Lane, events: journal.Events) -> None:
        self._var = var
        self._events = events
        self._log = journal.event_log()
        self._rival = 0

    def follow(self, before: NodeState, after: NodeState) -> None:
        """Save what has changed."""
        if _durable(before) != _durable(after):
            self._remember(after)
        if before.peer.mac != after.peer.mac:
            self._var.put("peer-mac", partial(journal.save_peer_mac, after.peer.mac))
        self._note_rival(after)

    def _note_rival(self, state: NodeState) -> None:
        """Record the first message of a promotion of the peer. Both nodes name the change by its epoch."""
        said = state.peer.said
        if said is not None and said.active and said.epoch > max(self._rival, state.epoch):
            self._rival = said.epoch
            self._events.record("peer-active", peer=state.terms.peer, epoch=said.epoch)

    def _remember(self, state: NodeState) -> None:
        """Write state.json. If /run is full, record an event and continue."""
        try:
            journal.remember(_durable(state))
        except OSError as error:
            self._events.record("step", step="state-not-written", detail=str(error))
            self._log.error("not written", file="state", reason=str(error))


def _durable(state: NodeState) -> journal.Remembered:
    handed = state.account.handed
    return journal.Remembered(
        state.claims_active, state.epoch, state.takeover.boosted, state.takeover.fenced, handed, state.peer.mac
    )
