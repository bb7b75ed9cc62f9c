"""What holds for every state and every event, whatever the story."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from natpair.core.actions import Action, Conntrack, ConntrackJob, Journal, Reply, Speak
from natpair.core.desired import Traffic, desired
from natpair.core.events import ClientsSeen, Event, Frozen, HealthRead, Tick, VrrpChanged
from natpair.core.machine import RECORD, step
from natpair.core.messages import CLAIMING, Phase, VrrpRole
from natpair.core.moves import NEXT
from natpair.core.snapshot import snapshot
from natpair.core.state import NodeState, Takeover, message_of
from node_strategies import EVENTS, NOW, any_event, states

PAIRS = [(phase, kind) for phase in Phase for kind in EVENTS]


def reachable(phase: Phase, moves: Mapping[Phase, frozenset[Phase]] = NEXT) -> frozenset[Phase]:
    """Where the rules may lead from `phase` in any number of moves, itself included."""
    found, new = frozenset({phase}), frozenset({phase})
    while new:
        new = frozenset().union(*(moves[one] for one in new)) - found
        found |= new
    return found


def moves_of(actions: tuple[Action, ...]) -> list[tuple[Phase, Phase]]:
    return [(action.before, action.after) for action in actions if isinstance(action, Journal)]


def test_every_event_has_a_recorder_and_a_strategy() -> None:
    assert set(RECORD) == set(get_args(Event)) == set(EVENTS)


@pytest.mark.parametrize(("phase", "kind"), PAIRS, ids=[f"{phase}-{kind.__name__}" for phase, kind in PAIRS])
@settings(max_examples=15)
@given(data=st.data())
def test_every_pair_of_phase_and_event_settles_along_the_table(phase: Phase, kind: type, data: st.DataObject) -> None:
    state, event = data.draw(states(phase)), data.draw(EVENTS[kind])
    after, actions = (outcome := step(state, event, NOW)).state, outcome.actions
    place = phase
    for before, entered in moves_of(actions):
        assert before is place
        assert entered in NEXT[before] or (kind is Frozen and entered is Phase.BOOTING)
        place = entered
    assert after.phase is place


@settings(max_examples=200)
@given(states(), any_event)
def test_a_second_step_at_the_same_time_changes_nothing(state: NodeState, event: Event) -> None:
    once = step(state, event, NOW).state
    twice = step(once, Tick(), NOW)
    assert twice.state == once
    assert twice.actions == ()


@settings(max_examples=200)
@given(states(), any_event)
def test_the_same_story_replays_the_same(state: NodeState, event: Event) -> None:
    assert step(state, event, NOW) == step(state, event, NOW)


@settings(max_examples=200)
@given(states(), any_event)
def test_whatever_the_peer_may_know_is_told_at_once_unless_it_is_only_a_count(state: NodeState, event: Event) -> None:
    outcome = step(state, event, NOW)
    if message_of(outcome.state, NOW) != message_of(state, NOW) and not isinstance(event, HealthRead | ClientsSeen):
        quiet = {"clients", "flows"}
        before = message_of(state, NOW).model_dump(exclude=quiet)
        if message_of(outcome.state, NOW).model_dump(exclude=quiet) != before:
            assert Speak() in outcome.actions


@pytest.mark.parametrize("phase", [Phase.STANDBY, Phase.CHALLENGING])
@given(data=st.data())
def test_an_unplanned_promotion_raises_the_epoch_above_all_seen(phase: Phase, data: st.DataObject) -> None:
    state = data.draw(states(phase))
    outcome = step(state, VrrpChanged(VrrpRole.MASTER), NOW)
    if Phase.ACTIVE in {entered for _, entered in moves_of(outcome.actions)}:
        after = outcome.state
        assert after.epoch // 2 > state.generation_seen
        assert after.epoch % 2 == state.terms.bit
        assert after.generation_seen == after.epoch // 2
        assert after.reserved >= after.generation_seen


@settings(max_examples=200)
@given(states(), any_event)
def test_no_action_comes_twice_in_a_step(state: NodeState, event: Event) -> None:
    actions = step(state, event, NOW).actions
    assert len(set(actions)) == len(actions)


@settings(max_examples=200)
@given(states(), any_event)
def test_a_request_ends_with_one_reply_and_is_never_lost(state: NodeState, event: Event) -> None:
    outcome = step(state, event, NOW)
    replies = [action for action in outcome.actions if isinstance(action, Reply)]
    numbers = [reply.number for reply in replies]
    if state.request is not None and outcome.state.request is None:
        assert state.request.number in numbers
    assert all(reply.message and (reply.ok or reply.fix) for reply in replies), "a refusal says what to do"


@settings(max_examples=200)
@given(states(), any_event)
def test_only_a_node_that_serves_completes_and_only_one_that_does_not_abandons(state: NodeState, event: Event) -> None:
    outcome = step(state, event, NOW)
    jobs = {action.job for action in outcome.actions if isinstance(action, Conntrack)}
    served = state.claims_active or Phase.ACTIVE in {after for _, after in moves_of(outcome.actions)}
    assert served or not jobs & {ConntrackJob.COMPLETE, ConntrackJob.BULK}
    assert not outcome.state.claims_active or ConntrackJob.ABANDON not in jobs


@settings(max_examples=200)
@given(states(), any_event)
def test_a_node_that_leaves_the_role_keeps_nothing_of_it(state: NodeState, event: Event) -> None:
    after = step(state, event, NOW).state
    if state.claims_active and not after.claims_active:
        assert (after.takeover, after.local_for) == (Takeover(), None)
        assert after.resync.flushed_for is None
        assert not desired(after, NOW).duplicate
        assert desired(after, NOW).traffic is not Traffic.LOCAL


@settings(max_examples=150)
@given(states())
def test_every_state_can_be_shown(state: NodeState) -> None:
    assert snapshot(state, NOW).phase == state.phase.value


@settings(max_examples=200)
@given(states(), st.lists(any_event, max_size=30))
def test_a_random_walk_never_gets_stuck_or_throws(state: NodeState, walk: list[Event]) -> None:
    now = NOW
    for event in walk:
        now += 0.3
        state = step(state, event, now).state
        assert state.phase in reachable(state.phase)


@pytest.mark.parametrize("role", [VrrpRole.BACKUP, VrrpRole.INIT, VrrpRole.FAULT])
@pytest.mark.parametrize("phase", sorted(CLAIMING))
@given(data=st.data())
def test_without_keepalived_nobody_keeps_the_role(phase: Phase, role: VrrpRole, data: st.DataObject) -> None:
    """Rule 3 of the architecture. Only after it let go of the VIP itself does an old active forward on for a while."""
    state = data.draw(states(phase))
    released = phase is Phase.HANDING_OVER and state.handover is not None and state.handover.released_at is not None
    if not released:
        assert not step(state, VrrpChanged(role), NOW).state.claims_active
