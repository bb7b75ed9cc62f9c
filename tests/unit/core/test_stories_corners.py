"""The corners: one dies in the middle of a handover, links flap, nobody else is left."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import ValidationError

from natpair.core.actions import Conntrack, Speak
from natpair.core.desired import Traffic, desired
from natpair.core.events import Frozen, HealthRead, Tick, VrrpChanged
from natpair.core.handover import RELEASE_LIMIT
from natpair.core.machine import step
from natpair.core.messages import MAX_GENERATION, Phase, VrrpRole
from natpair.core.state import FALL_HOLD_MAX, FALLS_FORGOTTEN, Handover, NodeState, PeerView, message_of
from natpair.core.wire import Path
from nodes import MINE, NEWER, SICK, THEIRS, WELL, active, hears, node, says, standby
from script import at, play

MASTER, FAULT = VrrpChanged(VrrpRole.MASTER), VrrpChanged(VrrpRole.FAULT)
FRESH_LIMIT = 0.9
"""A little more than the seconds for which a message speaks of the present."""


def conntrack(action: object) -> bool:
    return isinstance(action, Conntrack)


# --- one dies in the middle of a handover


def prepared() -> NodeState:
    """nat-a is to take the role, has announced, and translates already."""
    handover = Handover(THEIRS, 0.0, opening=True)
    said = says(Phase.HANDING_OVER, handover=THEIRS)
    return node(Phase.PREPARING, said, handover=handover, epoch=NEWER - 1, generation_seen=11, copying=True)


def test_a_giver_that_lets_go_alive_is_followed_as_planned() -> None:
    state = play(prepared(), at(0.2, hears(Phase.HANDING_OVER, handover=THEIRS)), at(0.21, MASTER, *TAKEN))
    assert (state.takeover.fenced, state.takeover.boosted, state.local_for) == (False, False, THEIRS)


TAKEN = (Phase.ACTIVE, conntrack)


def test_a_giver_that_died_meanwhile_is_fenced_like_any_that_crashed() -> None:
    state = play(prepared(), at(0.55, MASTER, *TAKEN))
    assert (state.takeover.fenced, state.takeover.boosted) == (True, True)
    assert state.epoch == NEWER - 1, "the epoch was chosen above all seen, and is announced already"


def released() -> NodeState:
    """nat-a has let go of the VIP: its taker nat-b is open and has announced."""
    handover = Handover(MINE, 0.0, prepared_at=0.0, released_at=0.0)
    said = says(Phase.PREPARING, prepared_for=MINE, epoch=NEWER, opened=True)
    return node(
        Phase.HANDING_OVER, said, handover=handover, vrrp=VrrpRole.FAULT, generation_seen=11, copying=True, epoch=MINE
    )


def test_a_taker_that_dies_with_the_vip_in_the_air_is_replaced_by_the_giver_who_never_stopped_forwarding() -> None:
    state = play(released(), at(0.25, Tick()), at(0.31, Tick()))
    want = desired(state, 0.31)
    assert (want.traffic, want.eligible) == (Traffic.LOCAL, True)
    assert state.epoch > NEWER, "above what the dead taker has announced: the fabric keeps that for the hold time"
    state = play(state, at(0.9, MASTER, Phase.ACTIVE))
    assert desired(state, 0.9).traffic is Traffic.LOCAL


def test_a_taker_that_was_only_slow_still_gets_the_role() -> None:
    state = play(released(), at(0.31, Tick()), at(0.4, hears(Phase.ACTIVE, local_for=MINE, epoch=NEWER)))
    assert state.handover is not None
    assert (state.handover.local_at, state.handover.reclaimed_at) == (0.4, None)
    assert not desired(state, 0.4).eligible


def test_a_vip_that_does_not_come_back_lets_the_election_decide() -> None:
    state = play(released(), at(0.31, Tick()), at(0.31 + RELEASE_LIMIT, Tick(), Phase.STANDBY))
    assert desired(state, 4.0).eligible


# --- the last one that can forward


@pytest.mark.parametrize("health", [SICK, replace(WELL, public_up=False), replace(WELL, unrepaired=("ruleset",))])
@pytest.mark.parametrize("phase", [Phase.FAULT, Phase.BOOTING, Phase.DRAINED, Phase.STANDBY])
def test_nobody_steps_down_for_a_peer_that_could_not_serve(phase: Phase, health: object) -> None:
    state = active(said=says(phase, ready=False, synced=False))
    play(state, at(0.1, HealthRead(health)), at(0.2, Tick()), at(5.0, Tick()))  # type: ignore[arg-type]


def test_a_machine_that_stood_still_while_nobody_else_was_there_goes_on_serving() -> None:
    gone = PeerView(dict.fromkeys(Path, 0.0), says(Phase.STANDBY))
    outcome = step(active(peer=gone), Frozen(40.0), 100.0)
    assert outcome.state.phase is Phase.ACTIVE
    newer = step(outcome.state, hears(Phase.ACTIVE, epoch=NEWER), 100.1).state
    assert newer.phase is Phase.YIELDING, "one that came meanwhile is heard at its next beat"


# --- flaps


def fallen(times: int, now: float) -> NodeState:
    """nat-a has just lost the role for bad health, for the so-manieth time, and is well again."""
    return node(
        Phase.FAULT, says(Phase.ACTIVE), falls=times, fell_at=now, since=now, flushed_for=THEIRS, pulled_at=-1.0
    )


def back_after(times: int) -> float:
    """Seconds until it is a standby again, with a peer that serves."""
    state, now = fallen(times, 0.0), 0.0
    while state.phase is Phase.FAULT and now < 100:
        now += 0.1
        state = step(state, hears(Phase.ACTIVE), now).state
    return now


def test_each_loss_of_the_role_for_bad_health_keeps_a_node_out_for_longer() -> None:
    waits = [back_after(times) for times in (1, 2, 3, 4, 9)]
    assert waits[0] < 1
    assert waits[1:4] == pytest.approx([2, 4, 8], abs=0.2)
    assert waits[4] == pytest.approx(FALL_HOLD_MAX, abs=0.2)


def test_never_when_nobody_else_is_there() -> None:
    play(fallen(9, 0.0), at(FRESH_LIMIT, Tick(), Phase.STANDBY))


def test_nor_for_long_when_the_one_who_serves_is_not_fit_to() -> None:
    play(fallen(9, 0.0), at(1.0, hears(Phase.ACTIVE)), at(3.1, hears(Phase.ACTIVE, unfit=True), Phase.STANDBY))
    state = play(active(said=says(Phase.FAULT, ready=False)), at(0.1, HealthRead(SICK)), at(1.0, HealthRead(SICK)))
    assert not message_of(state, 3.0).unfit
    assert message_of(state, 3.2).unfit
    assert not message_of(play(state, at(3.2, HealthRead(WELL))), 3.3).unfit


def test_losses_are_counted_and_forgotten() -> None:
    first = step(active(), HealthRead(SICK), 0.1).state
    assert (first.phase, first.damping.falls) == (Phase.YIELDING, 1)
    again = step(active(falls=1, fell_at=0.0), HealthRead(SICK), 0.1).state
    assert again.damping.falls == 2
    later = PeerView(dict.fromkeys(Path, FALLS_FORGOTTEN + 1), says(Phase.STANDBY))
    forgotten = step(active(falls=5, fell_at=0.0, peer=later), HealthRead(SICK), FALLS_FORGOTTEN + 1).state
    assert forgotten.damping.falls == 1


def test_a_planned_switchover_is_no_loss() -> None:
    done = Handover(MINE, 0.0, prepared_at=0.0, released_at=0.0, local_at=0.0)
    state = node(Phase.HANDING_OVER, says(Phase.ACTIVE, local_for=MINE, epoch=NEWER), handover=done, epoch=MINE)
    assert step(state, Tick(), 0.2).state.damping.falls == 0


def test_a_fallen_node_that_is_well_again_at_once_is_kept_out_just_so() -> None:
    state = node(Phase.YIELDING, says(Phase.ACTIVE, epoch=NEWER), falls=3, fell_at=0.0)
    play(state, at(0.1, hears(Phase.ACTIVE, epoch=NEWER), Phase.FAULT, conntrack))
    fresh = node(Phase.YIELDING, says(Phase.ACTIVE, epoch=NEWER), falls=1, fell_at=0.0)
    play(fresh, at(0.1, hears(Phase.ACTIVE, epoch=NEWER), Phase.STANDBY, conntrack))


# --- news, and numbers beyond belief


def test_a_node_that_is_no_longer_fit_says_so_at_once() -> None:
    assert Speak() in step(standby(), HealthRead(SICK), 0.1).actions
    assert Speak() not in step(standby(), HealthRead(replace(WELL, flows=1001)), 0.1).actions


def test_a_generation_beyond_belief_is_no_message() -> None:
    assert says(Phase.STANDBY, generation=MAX_GENERATION - 1)
    with pytest.raises(ValidationError):
        says(Phase.STANDBY, generation=MAX_GENERATION)
    with pytest.raises(ValidationError):
        says(Phase.STANDBY, epoch=2 * MAX_GENERATION)
