"""Planned changes of role, seen from each side, and the ways in which they are refused or called off."""

from __future__ import annotations

import pytest

from natpair.core.actions import Action, Conntrack, ConntrackJob, Reply, SaveDrained, WakeAt
from natpair.core.desired import DRAIN_RELAY, Traffic, desired
from natpair.core.events import (
    ArrivalSeen,
    Asked,
    ConntrackDone,
    Event,
    HealthRead,
    Tick,
    TrafficSwitched,
    Verb,
    VrrpChanged,
)
from natpair.core.handover import (
    ARP_GRACE,
    ARRIVAL_LIMIT,
    DRAIN_PAUSE,
    OPEN_LIMIT,
    PREPARE_LIMIT,
    PREPARING_LIMIT,
    RELEASE_LIMIT,
)
from natpair.core.machine import REQUEST_LIMIT, step
from natpair.core.messages import PeerMessage, Phase, VrrpRole
from natpair.core.moves import DUPLICATE_WINDOW
from natpair.core.state import NodeState, message_of
from nodes import MINE, NEWER, SICK, THEIRS, active, hears, node, says, standby
from script import Line, at, play

MASTER, BACKUP = VrrpChanged(VrrpRole.MASTER), VrrpChanged(VrrpRole.BACKUP)
FAULT = VrrpChanged(VrrpRole.FAULT)
SWITCHOVER, DRAIN, UNDRAIN = (Asked(1, verb) for verb in (Verb.SWITCHOVER, Verb.DRAIN, Verb.UNDRAIN))
COPYING, CLOSED = TrafficSwitched(local=True, duplicate=True), TrafficSwitched(local=False, duplicate=False)
TAKEN = 22
"""The epoch that nat-a chooses when it takes the role."""


def done(action: Action) -> bool:
    return isinstance(action, Reply) and action.ok


def refused(action: Action) -> bool:
    return isinstance(action, Reply) and not action.ok and action.fix != ""


def complete(epoch: int) -> Conntrack:
    return Conntrack(ConntrackJob.COMPLETE, epoch)


def beats(begin: float, end: float, message: PeerMessage) -> list[Line]:
    """The peer says the same, ten times a second, and nothing comes of it."""
    count = round((end - begin) * 10)
    return [at(begin + n / 10, hears(message.phase, **message.model_dump(exclude={"phase"}))) for n in range(count)]


# --- the giver


def handing_over(*, guarded: bool = True) -> NodeState:
    state = play(active(), at(0.1, SWITCHOVER, Phase.HANDING_OVER))
    return play(state, at(0.11, COPYING)) if guarded else state


def test_the_giver_step_by_step() -> None:
    state = handing_over()
    assert message_of(state, 0.11).handover == MINE
    assert (desired(state, 0.11).traffic, desired(state, 0.11).eligible) == (Traffic.LOCAL, True)
    state = play(state, at(0.2, hears(Phase.PREPARING, prepared_for=MINE, epoch=NEWER)))
    assert desired(state, 0.2).eligible, "the VIP stays until the taker is open"
    state = play(state, at(0.3, hears(Phase.PREPARING, prepared_for=MINE, epoch=NEWER, opened=True)))
    assert not desired(state, 0.3).eligible, "now Keepalived lets go of it"
    state = play(state, at(0.31, FAULT))
    assert desired(state, 0.31).traffic is Traffic.LOCAL, "clients find the new MAC only in a moment"
    state = play(
        state,
        at(0.4, hears(Phase.ACTIVE, local_for=MINE, epoch=NEWER)),
        at(0.4 + ARP_GRACE - 0.01, Tick()),
        at(0.4 + ARP_GRACE, Tick(), Phase.STANDBY, done, Conntrack(ConntrackJob.ABANDON, NEWER)),
    )
    assert desired(state, 0.6).traffic is Traffic.RELAY
    assert not desired(state, 0.6).announcement.primary


def test_the_vip_waits_until_the_giver_copies_what_matches_no_flow() -> None:
    state = handing_over(guarded=False)
    opened = hears(Phase.PREPARING, prepared_for=MINE, epoch=NEWER, opened=True)
    state = play(state, at(0.2, opened))
    assert desired(state, 0.2).eligible
    state = play(state, at(0.3, COPYING), at(0.31, opened))
    assert not desired(state, 0.31).eligible


def test_the_giver_speaks_of_one_handover_only_and_hears_no_other() -> None:
    other = hears(Phase.PREPARING, prepared_for=MINE + 2, epoch=NEWER, opened=True)
    assert desired(play(handing_over(), at(0.2, other)), 0.2).eligible


@pytest.mark.parametrize(
    ("last", "end"),
    [
        (says(Phase.STANDBY), 0.1 + PREPARE_LIMIT),
        (says(Phase.PREPARING, prepared_for=MINE, epoch=NEWER), 0.2 + OPEN_LIMIT),
    ],
    ids=["never-prepared", "never-opened"],
)
def test_a_taker_that_does_not_get_on_leaves_the_giver_active(last: PeerMessage, end: float) -> None:
    state = play(handing_over(), *beats(0.2, end, last), at(end + 0.01, Tick(), Phase.ACTIVE, refused))
    assert desired(state, end).traffic is Traffic.LOCAL
    assert desired(state, end).eligible
    assert (state.epoch == MINE) == (last.phase is Phase.STANDBY), "above a taker that has announced, and only then"
    assert message_of(state, end).handover == 0


def test_a_taker_that_falls_silent_before_the_vip_moved_leaves_the_giver_active() -> None:
    state = play(handing_over(), at(0.2, hears(Phase.PREPARING, prepared_for=MINE, epoch=NEWER)))
    play(state, at(0.9 + 0.2, Tick(), Phase.ACTIVE, refused))


def test_after_a_handover_called_off_late_the_giver_announces_above_the_taker() -> None:
    """The taker chose its epoch and announced it: back in standby it speaks of it, and the giver goes above."""
    state = play(handing_over(), at(0.2, hears(Phase.PREPARING, prepared_for=MINE, epoch=NEWER)))
    state = play(
        state,
        at(1.2, Tick(), Phase.ACTIVE, refused),
        at(1.3, hears(Phase.STANDBY, epoch=NEWER)),
    )
    assert state.epoch > NEWER


def released() -> NodeState:
    opened = hears(Phase.PREPARING, prepared_for=MINE, epoch=NEWER, opened=True)
    return play(handing_over(), at(0.2, opened), at(0.3, opened), at(0.31, FAULT))


def test_a_taker_that_never_takes_lets_the_election_decide() -> None:
    opened = says(Phase.PREPARING, prepared_for=MINE, epoch=NEWER, opened=True)
    begin = 0.4
    state = play(released(), *beats(begin, begin + RELEASE_LIMIT - 0.2, opened))
    state = play(state, at(0.2 + RELEASE_LIMIT + 0.11, Tick(), Phase.STANDBY, refused))
    assert desired(state, 4.0).eligible


def test_a_lost_election_in_the_middle_ends_the_handover() -> None:
    play(handing_over(), at(0.2, BACKUP, Phase.STANDBY, refused))


# --- the taker


def preparing() -> NodeState:
    offer = hears(Phase.HANDING_OVER, handover=THEIRS)
    return play(standby(), at(0.1, offer, Phase.PREPARING))


def offers(begin: float, end: float) -> list[Line]:
    return beats(begin, end, says(Phase.HANDING_OVER, handover=THEIRS))


def test_the_taker_step_by_step() -> None:
    state = preparing()
    want = desired(state, 0.1)
    assert want.announcement.primary, "replies come here first"
    assert want.announcement.med == 2**31 - TAKEN
    assert (want.traffic, want.eligible) == (Traffic.RELAY, True)
    assert message_of(state, 0.1).prepared_for == THEIRS
    state = play(state, at(0.2, ArrivalSeen()))
    assert desired(state, 0.2).traffic is Traffic.LOCAL, "it translates before the VIP comes"
    assert desired(state, 0.2).duplicate
    assert not message_of(state, 0.2).opened, "not before it is read back"
    state = play(state, at(0.25, COPYING))
    assert message_of(state, 0.25).opened
    state = play(state, at(0.3, MASTER, Phase.ACTIVE, complete(TAKEN)))
    assert message_of(state, 0.3).local_for == THEIRS
    assert (state.takeover.fenced, state.takeover.boosted) == (False, False), "nothing unclean about it"
    assert state.epoch == TAKEN
    play(state, at(0.4, ConntrackDone(ConntrackJob.COMPLETE, TAKEN, True)), at(0.5, hears(Phase.STANDBY, epoch=THEIRS)))


def test_without_any_traffic_the_taker_waits_only_so_long() -> None:
    state = play(preparing(), *offers(0.2, 0.1 + ARRIVAL_LIMIT))
    assert desired(state, 1.0).traffic is Traffic.RELAY
    state = play(state, at(0.1 + ARRIVAL_LIMIT, Tick()))
    assert desired(state, 1.1).traffic is Traffic.LOCAL


def test_a_ruleset_read_back_as_something_else_does_not_count_as_open() -> None:
    state = play(preparing(), at(0.15, COPYING), at(0.2, ArrivalSeen()), at(0.21, CLOSED))
    assert not message_of(state, 0.21).opened


@pytest.mark.parametrize("instead", [says(Phase.ACTIVE), says(Phase.HANDING_OVER, handover=THEIRS + 2)])
def test_a_handover_that_the_giver_calls_off_leaves_the_taker_a_standby(instead: PeerMessage) -> None:
    """And flushes again: what passed through meanwhile was taken for its own by conntrackd."""
    word = hears(instead.phase, handover=instead.handover)
    follows: list[object] = [Phase.STANDBY]
    if instead.phase is Phase.HANDING_OVER:
        follows.append(Phase.PREPARING)  # the new one is taken up in the same breath
    else:
        follows.append(Conntrack(ConntrackJob.ABANDON, THEIRS))
    play(preparing(), at(0.2, ArrivalSeen()), at(0.3, word, *follows))  # type: ignore[arg-type]


def test_a_giver_that_falls_silent_does_not_keep_the_taker_for_ever() -> None:
    play(preparing(), at(0.1 + ARRIVAL_LIMIT, Tick()), at(0.1 + PREPARING_LIMIT, Tick(), Phase.STANDBY))


def test_arrivals_mean_nothing_to_a_node_that_takes_no_role() -> None:
    for state in (standby(), active(), node(Phase.FAULT, says(Phase.BOOTING))):
        assert play(state, at(0.1, ArrivalSeen())).phase is state.phase


# --- timers are actions: who waits for a moment asks to be woken then


def wakes(state: NodeState, event: Event, now: float) -> set[float]:
    return {round(action.at - now, 6) for action in step(state, event, now).actions if isinstance(action, WakeAt)}


def test_every_limit_of_a_handover_is_a_timer() -> None:
    opened = hears(Phase.PREPARING, prepared_for=MINE, epoch=NEWER, opened=True)
    assert wakes(active(), SWITCHOVER, 0.1) == {PREPARE_LIMIT}
    assert wakes(handing_over(), hears(Phase.PREPARING, prepared_for=MINE, epoch=NEWER), 0.2) == {OPEN_LIMIT}
    prepared = play(handing_over(), at(0.2, hears(Phase.PREPARING, prepared_for=MINE, epoch=NEWER)))
    assert wakes(prepared, opened, 0.3) == {RELEASE_LIMIT}
    assert wakes(released(), hears(Phase.ACTIVE, local_for=MINE, epoch=NEWER), 0.4) == {ARP_GRACE}
    offer = hears(Phase.HANDING_OVER, handover=THEIRS)
    assert wakes(standby(), offer, 0.1) == {ARRIVAL_LIMIT, PREPARING_LIMIT}
    assert wakes(preparing(), MASTER, 0.3) == {DUPLICATE_WINDOW}


# --- asked for, refused, forced, requested

UNREADY = {
    "silent": None,
    "drained": says(Phase.STANDBY, drained=True),
    "another-config": says(Phase.STANDBY, config_hash="other"),
    "not-ready": says(Phase.STANDBY, ready=False),
    "fault": says(Phase.FAULT),
    "out-of-sync": says(Phase.STANDBY, synced=False),
}


@pytest.mark.parametrize("verb", [Verb.SWITCHOVER, Verb.DRAIN])
@pytest.mark.parametrize("said", UNREADY.values(), ids=UNREADY)
def test_the_active_refuses_to_give_the_role_to_a_peer_that_could_not_take_it(
    said: PeerMessage | None, verb: Verb
) -> None:
    state = play(active(said=said), at(0.1, Asked(1, verb), refused))
    assert (state.phase, state.request, state.drained) == (Phase.ACTIVE, None, False)


def test_every_refusal_has_a_reason_of_its_own() -> None:
    reasons: list[str] = []

    def note(action: Action) -> bool:
        if isinstance(action, Reply):
            reasons.append(action.message)
        return isinstance(action, Reply)

    for said in UNREADY.values():
        play(active(said=said), at(0.1, SWITCHOVER, note))
    assert len(set(reasons)) == len(UNREADY)


@pytest.mark.parametrize("said", [UNREADY["out-of-sync"], UNREADY["another-config"], UNREADY["not-ready"]])
def test_force_gives_the_role_to_any_standby(said: PeerMessage) -> None:
    play(active(said=said), at(0.1, Asked(1, Verb.SWITCHOVER, force=True), Phase.HANDING_OVER))


@pytest.mark.parametrize("said", [UNREADY["fault"], UNREADY["silent"]])
def test_force_waits_for_somebody_to_give_the_role_to_and_gives_up_in_time(said: PeerMessage | None) -> None:
    state = play(active(said=said), at(0.1, Asked(1, Verb.SWITCHOVER, force=True)))
    play(state, at(0.1 + REQUEST_LIMIT - 0.1, Tick()), at(0.1 + REQUEST_LIMIT, Tick(), refused))


def test_a_standby_requests_and_the_active_grants() -> None:
    state = play(standby(), at(0.1, SWITCHOVER))
    assert message_of(state, 0.1).asks_for_role
    state = play(state, at(0.2, hears(Phase.HANDING_OVER, handover=THEIRS), Phase.PREPARING))
    state = play(state, at(0.3, MASTER, Phase.ACTIVE, complete(TAKEN), done))
    assert not message_of(state, 0.3).asks_for_role
    play(active(), at(0.1, hears(Phase.STANDBY, asks_for_role=True), Phase.HANDING_OVER))


def test_a_request_that_is_not_granted_ends() -> None:
    state = play(standby(), at(0.1, SWITCHOVER), *beats(0.2, 12.0, says(Phase.ACTIVE)))
    state = play(state, at(0.1 + REQUEST_LIMIT, Tick(), refused))
    assert not message_of(state, 12.2).asks_for_role


@pytest.mark.parametrize(
    "state",
    [
        standby(health=SICK),
        standby(flushed_for=None, flushing=THEIRS),
        standby(vrrp=VrrpRole.FAULT),
        node(Phase.FAULT, says(Phase.ACTIVE), flushed_for=THEIRS),
        node(Phase.DRAINED, says(Phase.ACTIVE), flushed_for=THEIRS, drained=True),
    ],
    ids=["sick", "out-of-sync", "keepalived-in-fault", "fault", "drained"],
)
def test_a_node_that_could_not_serve_does_not_request(state: NodeState) -> None:
    assert not message_of(play(state, at(0.1, SWITCHOVER, refused)), 0.1).asks_for_role


def test_there_is_nobody_to_take_the_role_from() -> None:
    for said in (None, says(Phase.STANDBY)):
        play(standby(said=said), at(0.1, Asked(1, Verb.SWITCHOVER, force=True), refused))


def test_a_second_request_does_not_disturb_the_first() -> None:
    state = play(handing_over(), at(0.2, Asked(2, Verb.SWITCHOVER), lambda a: refused(a) and a == _reply_to(2, a)))
    assert state.request is not None
    assert state.request.number == 1


def _reply_to(number: int, action: Action) -> Action | None:
    return action if isinstance(action, Reply) and action.number == number else None


def test_no_handover_begins_before_the_last_change_is_complete() -> None:
    state = play(active(completing=True), at(0.1, SWITCHOVER))
    play(state, at(0.2, ConntrackDone(ConntrackJob.COMPLETE, MINE, True), Phase.HANDING_OVER))


# --- drain


def test_drained_the_active_gives_the_role_away_and_then_closes() -> None:
    state = play(active(), at(0.1, DRAIN, SaveDrained(True), Phase.HANDING_OVER), at(0.11, COPYING))
    opened = hears(Phase.PREPARING, prepared_for=MINE, epoch=NEWER, opened=True)
    state = play(
        state,
        at(0.2, opened),
        at(0.21, opened),
        at(0.22, FAULT),
        at(0.3, hears(Phase.ACTIVE, local_for=MINE, epoch=NEWER)),
        at(0.46, Tick(), Phase.STANDBY, Phase.DRAINED, done, Conntrack(ConntrackJob.ABANDON, NEWER)),
    )
    assert desired(state, 0.46).traffic is Traffic.RELAY
    assert desired(state, 0.5 + DRAIN_RELAY).traffic is Traffic.CLOSED
    assert not desired(state, 0.46).eligible


def test_a_standby_is_drained_at_once_and_comes_back_through_a_resync() -> None:
    state = play(standby(), at(0.1, DRAIN, SaveDrained(True), Phase.DRAINED, done))
    assert message_of(state, 0.1).drained
    state = play(state, at(0.2, UNDRAIN, SaveDrained(False), Phase.BOOTING, Phase.STANDBY, done))
    assert desired(state, 0.2).eligible


def test_drained_by_force_the_active_serves_on_until_somebody_can_take_over() -> None:
    lone = play(active(said=None), at(0.1, Asked(1, Verb.DRAIN, force=True), SaveDrained(True)))
    assert desired(lone, 0.1).traffic is Traffic.LOCAL
    state = play(lone, at(0.1 + REQUEST_LIMIT, Tick(), refused))
    play(state, at(20.0, hears(Phase.STANDBY), Phase.HANDING_OVER))


def test_a_drain_that_was_called_off_stands_and_is_tried_again_after_a_pause() -> None:
    state = play(active(), at(0.1, DRAIN, SaveDrained(True), Phase.HANDING_OVER), at(0.11, COPYING))
    late = 0.1 + PREPARE_LIMIT
    state = play(
        state,
        at(late - 0.1, hears(Phase.STANDBY)),
        at(late, Tick(), Phase.ACTIVE, lambda a: isinstance(a, Reply) and "natpair undrain" in a.fix),
    )
    assert state.drained
    state = play(state, at(late + 1, hears(Phase.STANDBY)), at(late + DRAIN_PAUSE - 0.1, hears(Phase.STANDBY)))
    play(state, at(late + DRAIN_PAUSE, hears(Phase.STANDBY), Phase.HANDING_OVER))


def test_a_drained_node_is_elected_only_when_its_peer_is_gone() -> None:
    state = node(Phase.DRAINED, says(Phase.ACTIVE), drained=True, flushed_for=THEIRS)
    assert not desired(state, 1.0).eligible
    gone = state.terms.hold + 1.1
    assert desired(state, gone).eligible
    state = play(state, at(gone, MASTER, Phase.CHALLENGING, lambda a: True))
    play(state, at(gone + 0.1, Tick(), Phase.ACTIVE, complete(TAKEN)))


def test_to_undrain_what_is_not_drained_does_no_harm() -> None:
    state = active()
    assert play(state, at(0.1, UNDRAIN, SaveDrained(False), done)) == state


def test_an_unhealthy_active_may_still_hand_over() -> None:
    """It yields anyway as soon as it notices; asked first, it goes the clean way."""
    assert play(handing_over(), at(0.15, HealthRead(SICK))).phase is Phase.HANDING_OVER
