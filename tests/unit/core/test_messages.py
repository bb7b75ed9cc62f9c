"""The message: what it holds, what it refuses, and that it tells the state of its sender."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from pydantic import ValidationError

from natpair.core.messages import CLAIMING, PeerMessage, Phase, VrrpRole
from natpair.core.state import Answer, Challenge, Handover, NodeState, message_of
from node_strategies import NOW, messages, states
from nodes import MINE, THEIRS, active, node, standby


@given(messages)
def test_a_message_survives_json(message: PeerMessage) -> None:
    assert PeerMessage.model_validate_json(message.model_dump_json()) == message


@pytest.mark.parametrize("phase", Phase)
def test_active_means_that_it_claims_the_role(phase: Phase) -> None:
    assert PeerMessage(phase=phase, vrrp=VrrpRole.INIT).active is (phase in CLAIMING)


@pytest.mark.parametrize(
    "wrong",
    [
        {"phase": "king"},
        {"vrrp": "master"},
        {"epoch": -1},
        {"epoch": 2**63},
        {"flows": "many"},
        {"clients": ["not an address"]},
        {"clients": ["192.168.1.1"] * 5},
        {"config_hash": "x" * 65},
        {"vrrp": None},
    ],
)
def test_what_is_out_of_range_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        PeerMessage.model_validate({"phase": "active", "vrrp": "MASTER"} | wrong)


@pytest.mark.parametrize("name", [n for n, f in PeerMessage.model_fields.items() if n not in {"phase", "vrrp"}])
def test_another_version_may_say_more_or_less(name: str) -> None:
    said = message_of(active(), 0.0).model_dump(mode="json")
    del said[name]
    heard = PeerMessage.model_validate(said | {"a_field_of_tomorrow": [1, {"x": None}]})
    assert heard == PeerMessage.model_validate(said)
    assert heard.phase is Phase.ACTIVE


def test_a_message_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        PeerMessage(phase=Phase.ACTIVE, vrrp=VrrpRole.MASTER).epoch = 3  # type: ignore[misc]


@settings(max_examples=200)
@given(states())
def test_every_state_has_a_message_that_says_what_it_is(state: NodeState) -> None:
    said = message_of(state, NOW)
    assert (said.phase, said.vrrp, said.epoch) == (state.phase, state.vrrp, state.epoch)
    assert said.active is state.claims_active
    assert said.drained is state.drained
    assert not (said.handover and said.prepared_for), "nobody gives and takes at once"


def test_the_two_sides_of_a_handover_speak_of_its_number() -> None:
    giver = message_of(node(Phase.HANDING_OVER, handover=Handover(MINE, 0.0)), 0.0)
    taker = message_of(node(Phase.PREPARING, handover=Handover(THEIRS, 0.0)), 0.0)
    assert (giver.handover, giver.prepared_for) == (MINE, 0)
    assert (taker.handover, taker.prepared_for) == (0, THEIRS)


def test_a_challenge_and_an_answer_are_told_with_their_nonces() -> None:
    asking = message_of(node(Phase.CHALLENGING, challenge=Challenge(4, 0.0, 0.03)), 0.0)
    assert (asking.challenge, asking.answer, asking.evidence) == (4, 0, None)
    answering = message_of(active(answer=Answer(5, 2)), 0.0)
    assert (answering.challenge, answering.answer, answering.evidence) == (0, 5, 2)


def test_a_standby_tells_whether_it_could_take_over() -> None:
    good = message_of(standby(), 0.0)
    assert (good.ready, good.synced, good.flushed_for) == (True, True, THEIRS)
    assert not message_of(standby(vrrp=VrrpRole.FAULT), 0.0).ready
    assert not message_of(standby(), 10.0).synced, "what it was in sync with has fallen silent"
