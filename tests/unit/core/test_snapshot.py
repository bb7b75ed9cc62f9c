"""What of a node's status follows from its state."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings

from commands import complaints
from natpair.core.messages import Phase
from natpair.core.snapshot import role, snapshot
from natpair.core.state import NodeState
from natpair.core.status import Announced, PeerStatus, Role, Target, parse, to_json
from node_strategies import NOW, states
from nodes import MINE, THEIRS, active, node, says, standby


@settings(max_examples=150)
@given(states())
def test_every_state_gives_a_document_as_its_schema_that_reads_back_as_it_was(state: NodeState) -> None:
    status = snapshot(state, NOW)
    document = json.loads(json.dumps(to_json(status)))
    assert complaints(document) == []
    assert parse(document) == status
    assert status.phase == state.phase.value


@pytest.mark.parametrize("phase", Phase)
def test_whoever_claims_to_be_active_is_shown_as_active(phase: Phase) -> None:
    assert (role(phase) is Role.ACTIVE) is node(phase).claims_active


def test_the_active_of_a_healthy_pair() -> None:
    status = snapshot(active(), 0.1)
    assert (status.role, status.epoch, status.change_complete) == (Role.ACTIVE, MINE, True)
    assert status.conditions == ()
    assert status.desired == Target("local", Announced("65000:1", 2**31 - MINE))
    peer = status.peer_view
    assert (peer.role, peer.ready, peer.synced) == (Role.STANDBY, True, True)
    assert (peer.heard_private_ms, peer.heard_public_ms, peer.fresh) == (100, 100, True)


def test_the_standby_of_a_healthy_pair() -> None:
    status = snapshot(standby(), 0.1)
    assert (status.role, status.ready, status.synced) == (Role.STANDBY, True, True)
    assert (status.peer_view.role, status.peer_view.epoch) == (Role.ACTIVE, THEIRS)


def test_a_change_is_complete_only_after_the_resync() -> None:
    assert not snapshot(active(completing=True), 0.1).change_complete
    assert not snapshot(standby(), 0.1).change_complete


def test_a_peer_never_heard_has_ages_and_nothing_else() -> None:
    assert snapshot(node(Phase.BOOTING), 2.0).peer_view == PeerStatus(2000, 2000, fresh=False)


def test_a_peer_that_fell_silent_is_shown_as_it_was_and_as_stale() -> None:
    peer = snapshot(active(said=says(Phase.STANDBY)), 60.0).peer_view
    assert (peer.role, peer.fresh) == (Role.STANDBY, False)
