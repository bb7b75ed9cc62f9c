"""The status document: the keys that drills, metrics and people read, on every state."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings

from natpair.core.messages import Phase
from natpair.core.snapshot import SCHEMA, role, snapshot
from natpair.core.state import NodeState
from node_strategies import NOW, states
from nodes import MINE, THEIRS, active, node, says, standby

KEYS = {
    "schema",
    "node",
    "peer",
    "role",
    "phase",
    "vrrp",
    "epoch",
    "change_complete",
    "synced",
    "ready",
    "eligible",
    "drained",
    "boosted",
    "fenced",
    "config_hash",
    "desired",
    "health",
    "bgp",
    "flows",
    "peer_view",
    "conditions",
}


@settings(max_examples=150)
@given(states())
def test_every_state_gives_a_document_of_the_same_shape(state: NodeState) -> None:
    document = json.loads(json.dumps(snapshot(state, NOW)))
    assert document.keys() >= KEYS
    assert document["schema"] == SCHEMA
    assert document["phase"] == state.phase.value
    assert all(condition.keys() == {"code", "severity", "text", "cure", "node"} for condition in document["conditions"])
    assert all(entry.keys() == {"name", "ok", "detail"} for entry in document["health"])


@pytest.mark.parametrize("phase", Phase)
def test_the_role_is_one_of_five_words(phase: Phase) -> None:
    assert role(phase) in {"active", "standby", "fault", "drained", "booting"}
    assert (role(phase) == "active") is node(phase).claims_active


def test_the_active_of_a_healthy_pair() -> None:
    document = snapshot(active(), 0.1)
    assert (document["role"], document["epoch"], document["change_complete"]) == ("active", MINE, True)
    assert document["conditions"] == []
    assert document["desired"] == {
        "traffic": "local",
        "announcement": {"community": "65000:1", "med": 2**31 - MINE},
    }
    peer = document["peer_view"]
    assert isinstance(peer, dict)
    assert (peer["role"], peer["ready"], peer["synced"]) == ("standby", True, True)
    assert (peer["heard_private_ms"], peer["heard_public_ms"], peer["fresh"]) == (100, 100, True)


def test_the_standby_of_a_healthy_pair() -> None:
    document = snapshot(standby(), 0.1)
    assert (document["role"], document["ready"], document["synced"]) == ("standby", True, True)
    peer = document["peer_view"]
    assert isinstance(peer, dict)
    assert (peer["role"], peer["epoch"]) == ("active", THEIRS)


def test_a_change_is_complete_only_after_the_resync() -> None:
    assert snapshot(active(completing=True), 0.1)["change_complete"] is False
    assert snapshot(standby(), 0.1)["change_complete"] is False


def test_a_peer_never_heard_has_ages_and_nothing_else() -> None:
    peer = snapshot(node(Phase.BOOTING), 2.0)["peer_view"]
    assert peer == {"heard_private_ms": 2000, "heard_public_ms": 2000, "fresh": False}


def test_a_peer_that_fell_silent_is_shown_as_it_was_and_as_stale() -> None:
    peer = snapshot(active(said=says(Phase.STANDBY)), 60.0)["peer_view"]
    assert isinstance(peer, dict)
    assert (peer["role"], peer["fresh"]) == ("standby", False)
