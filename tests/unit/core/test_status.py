"""The status document: read back whatever the version, and what is a ready pair."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from natpair.core.condition import Severity
from natpair.core.snapshot import snapshot
from natpair.core.status import PeerStatus, Role, Status, missing_for_pair, parse, ready_pair, to_json
from nodes import active

ROOT = Path(__file__).parents[3]


def document() -> dict[str, Any]:
    found = json.loads(json.dumps(to_json(snapshot(active(), 0.0))))
    assert isinstance(found, dict)
    return found


def test_the_schema_is_up_to_date() -> None:
    done = subprocess.run([sys.executable, ROOT / "scripts" / "schemas", "--check"], timeout=60, check=False)
    assert done.returncode == 0, "schemas/status.json is stale: .venv/bin/python scripts/schemas"


# Versions


def test_an_older_agent_that_says_less_is_read_with_defaults() -> None:
    status = parse({"schema": "natpair/status/v1", "node": "nat-a", "role": "standby"})
    assert status == Status(node="nat-a", role=Role.STANDBY)
    assert (status.history, status.most_flows, status.bgp.total, status.sync.flows_missing) == (None, 0, 0, None)


@pytest.mark.parametrize("key", sorted(document().keys() - {"node", "role"}))
def test_no_other_key_is_needed(key: str) -> None:
    less = document()
    del less[key]
    assert parse(less).node == "nat-a"


def test_a_newer_agent_that_says_more_is_read_as_far_as_it_is_understood() -> None:
    more = {**document(), "colour": "blue", "bgp": {"established": 2, "total": 4, "damped": 1}, "flows": "many"}
    status = parse(more)
    assert (status.bgp.established, status.bgp.total, status.flows) == (2, 4, 0)


def test_a_condition_of_a_severity_that_is_not_known_is_a_warning() -> None:
    found = {"code": "new", "severity": "dire", "text": "it burns", "fix": "water", "node": ""}
    (condition,) = parse({**document(), "conditions": [found]}).conditions
    assert (condition.text, condition.severity) == ("it burns", Severity.WARNING)


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        [],
        "active",
        {},
        {"node": "nat-a"},
        {"node": "nat-a", "role": "emperor"},
        {"node": 3, "role": "active"},
        {"schema": "natpair/lab/v1", "node": "nat-a", "role": "active"},
    ],
)
def test_what_is_no_status_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match=r"without|no Status|not a document"):
        parse(wrong)


# A ready pair

ACTIVE = Status(node="nat-a", peer="nat-b", role=Role.ACTIVE, change_complete=True, eligible=True)
STANDBY = Status(node="nat-b", peer="nat-a", role=Role.STANDBY, synced=True, ready=True, eligible=True)


def seen(status: Status, peer: Status) -> Status:
    """`status` of a node that hears its peer."""
    view = PeerStatus(fresh=True, role=peer.role, synced=peer.synced, ready=peer.ready)
    return replace(status, peer_view=view)


def test_a_healthy_pair_is_ready_from_both_sides() -> None:
    assert ready_pair(ACTIVE, STANDBY) == ready_pair(STANDBY, ACTIVE) == ("nat-a", "nat-b")
    assert missing_for_pair(seen(ACTIVE, STANDBY)) == ""
    assert missing_for_pair(seen(STANDBY, ACTIVE)) == ""


@pytest.mark.parametrize(
    ("first", "second", "word"),
    [
        (ACTIVE, replace(STANDBY, synced=False), "nat-b is not in sync yet"),
        (ACTIVE, replace(STANDBY, ready=False), "nat-b is not ready to take over"),
        (ACTIVE, replace(STANDBY, role=Role.BOOTING), "nat-a is active, nat-b is booting"),
        (replace(ACTIVE, role=Role.STANDBY), STANDBY, "nat-a is standby, nat-b is standby"),
        (ACTIVE, replace(STANDBY, role=Role.ACTIVE), "nat-a is active, nat-b is active"),
    ],
)
def test_what_is_missing_is_the_same_from_both_sides(first: Status, second: Status, word: str) -> None:
    assert ready_pair(first, second) is None
    assert missing_for_pair(seen(first, second)) == word
    other = missing_for_pair(seen(second, first))
    assert set(other.split(", ")) == set(word.split(", "))


@pytest.mark.parametrize(
    ("first", "second", "word"),
    [
        (replace(ACTIVE, change_complete=False), STANDBY, "nat-a has not completed its takeover yet"),
        (replace(STANDBY, eligible=False), ACTIVE, "nat-b is not ready to take over"),
    ],
)
def test_what_a_node_does_not_tell_its_peer_is_seen_on_that_node_alone(
    first: Status, second: Status, word: str
) -> None:
    assert ready_pair(first, second) is None
    assert missing_for_pair(seen(first, second)) == word
    assert missing_for_pair(seen(second, first)) == ""


def test_a_peer_that_is_not_heard_makes_no_pair() -> None:
    assert missing_for_pair(ACTIVE) == "nat-a is active, nat-b is not heard"
