"""How good the standby's copy is: what a sample says, who asks for a resync and when, what a switchover would lose."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from natpair.core.actions import Conntrack, ConntrackJob, Reply
from natpair.core.events import Asked, ConntrackDone, HealthRead, Tick, Verb
from natpair.core.machine import peer_unready, step
from natpair.core.messages import Phase
from natpair.core.rules import RESYNC_PAUSE
from natpair.core.snapshot import snapshot
from natpair.core.state import (
    PULL_PAUSE,
    PULL_PAUSE_MAX,
    NodeState,
    PeerView,
    flows_missing,
    lacks_too_many,
    message_of,
)
from natpair.core.status import Sync
from natpair.core.wire import Path
from nodes import MINE, THEIRS, WELL, active, changed, hears, says, standby
from script import at, play

ABANDON, COMPLETE = ConntrackJob.ABANDON, ConntrackJob.COMPLETE
LACKS = changed(WELL, sampled=32, missing=8)
PULL = Conntrack(ABANDON, THEIRS)


def hearing(state: NodeState, now: float) -> NodeState:
    """As if the peer had just been heard on both paths."""
    return replace(state, peer=replace(state.peer, heard=dict.fromkeys(Path, now)))


@pytest.mark.parametrize(
    ("sampled", "missing", "too_many"),
    [(0, 0, False), (0, 5, False), (5, 0, False), (5, 1, True), (20, 1, False), (32, 1, False), (32, 2, True)],
)
def test_of_few_flows_each_one_counts_and_of_many_one_in_twenty(sampled: int, missing: int, too_many: bool) -> None:
    assert lacks_too_many(sampled, missing) is too_many


def test_a_sample_speaks_for_all_flows() -> None:
    assert flows_missing(32, 8, 1000, 1000) == 250
    assert flows_missing(32, 0, 1000, 0) == 0


def test_without_a_sample_the_two_counts_have_to_do() -> None:
    assert flows_missing(0, 0, 1000, 400) == 600
    assert flows_missing(0, 0, 1000, 1200) == 0


def test_equal_counts_do_not_hide_that_the_flows_are_others() -> None:
    assert standby().synced(0.0)
    assert not standby(health=LACKS).synced(0.0)


def test_a_standby_that_lacks_flows_asks_for_them_again_and_again_but_ever_more_rarely() -> None:
    state, asked, now = standby(health=LACKS), [], 0.0
    while now < 120:
        now = round(now + 0.5, 3)
        outcome = step(hearing(state, now), Tick(), now)
        state = outcome.state
        if PULL in outcome.actions:
            asked.append(now)
            state = step(state, ConntrackDone(ABANDON, THEIRS, True), now).state
    pauses = [later - sooner for sooner, later in pairwise(asked)]
    assert asked[0] <= PULL_PAUSE
    assert pauses[0] == 2 * PULL_PAUSE
    assert max(pauses) == PULL_PAUSE_MAX
    assert len(asked) >= 5


def test_once_in_sync_it_starts_anew() -> None:
    state = hearing(standby(pulls=3), 1.0)
    assert play(state, at(1.0, HealthRead(WELL))).resync.pulls == 0


def test_while_the_vlan_is_cut_nothing_is_asked_for_and_at_once_when_it_is_back() -> None:
    state = standby(health=LACKS, peer=PeerView({Path.PRIVATE: -60.0, Path.PUBLIC: 10.0}, says(Phase.ACTIVE)))
    play(state, at(10.0, Tick()), at(10.1, hears(Phase.ACTIVE, Path.PRIVATE), PULL))


def test_a_resync_under_way_is_not_asked_for_twice() -> None:
    state = play(hearing(standby(health=LACKS), 7.0), at(7.0, Tick(), PULL))
    play(hearing(state, 8.0), at(8.0, Tick()), at(8.1, ConntrackDone(ABANDON, THEIRS, True)), at(8.2, Tick()))


def test_the_active_node_reads_its_own_kernel_anew_when_its_standby_goes_on_missing_flows() -> None:
    said = says(Phase.STANDBY, sampled=32, missing=8, synced=False)
    state = play(hearing(active(said=said), RESYNC_PAUSE - 1), at(RESYNC_PAUSE - 1, Tick()))
    again = play(hearing(state, RESYNC_PAUSE), at(RESYNC_PAUSE, Tick(), Conntrack(COMPLETE, MINE)))
    assert not again.takeover.completing
    play(hearing(again, RESYNC_PAUSE + 1), at(RESYNC_PAUSE + 1, Tick()))


def test_the_nodes_own_connections_are_not_asked_of_the_standby() -> None:
    busy = active(health=replace(WELL, flows=1500, cached=1000), said=says(Phase.STANDBY, synced=False, flows=990))
    assert message_of(busy, 0.0).flows == 1000
    assert "about 10 of 1000 flows" in peer_unready(busy, 0.0)
    assert message_of(standby(health=replace(WELL, flows=1500, cached=0)), 0.0).flows == 1500


def refusal(state: NodeState) -> str:
    (reply,) = [a for a in step(state, Asked(1, Verb.SWITCHOVER), 0.0).actions if isinstance(a, Reply)]
    assert not reply.ok
    return reply.message


def test_a_switchover_is_refused_with_the_number_of_flows_it_would_lose() -> None:
    lacks = says(Phase.STANDBY, synced=False, sampled=32, missing=8)
    assert "nat-b is missing about 250 of 1000 flows (8 of 32 sampled)" in refusal(active(said=lacks))
    fewer = says(Phase.STANDBY, synced=False, flows=600)
    assert "about 400 of 1000 flows would be lost" in refusal(active(said=fewer))


def test_it_is_refused_from_the_standby_just_so() -> None:
    assert "nat-a is missing about 250 of 1000 flows" in refusal(standby(health=LACKS))


def test_by_force_it_goes_on() -> None:
    lacks = says(Phase.STANDBY, synced=False, sampled=32, missing=8)
    outcome = step(active(said=lacks), Asked(1, Verb.SWITCHOVER, force=True), 0.0)
    assert outcome.state.phase is Phase.HANDING_OVER


def test_a_frozen_conntrackd_of_the_active_node_refuses_a_switchover_too() -> None:
    unresponsive = active(health=replace(WELL, conntrackd=False))
    assert "conntrackd does not respond on nat-a" in peer_unready(unresponsive, 0.0)
    assert "conntrackd" in refusal(unresponsive)
    desired = active(health=replace(WELL, conntrackd=False), said=says(Phase.STANDBY, asks_for_role=True))
    assert step(desired, Tick(), 0.0).state.phase is Phase.ACTIVE


def test_status_gives_the_estimate_with_the_size_of_the_sample_on_both_nodes() -> None:
    lacks = says(Phase.STANDBY, sampled=32, missing=8)
    expected = Sync(sampled=32, missing=8, flows=1000, flows_missing=250)
    assert snapshot(active(said=lacks), 0.0).sync == expected
    assert snapshot(standby(health=LACKS), 0.0).sync == expected


def test_without_a_sample_status_compares_the_counts_of_both_nodes() -> None:
    few = snapshot(active(said=says(Phase.STANDBY, flows=400)), 0.0).sync
    assert (few.sampled, few.flows, few.flows_missing) == (0, 1000, 600)
    assert snapshot(standby(said=says(Phase.ACTIVE, flows=1500)), 0.0).sync.flows_missing == 500


def test_a_standby_that_is_not_heard_has_no_flows_and_without_an_active_node_nobody_can_tell() -> None:
    assert snapshot(active(said=None), 0.0).sync.flows_missing == 1000
    assert snapshot(standby(said=says(Phase.FAULT)), 0.0).sync == Sync()
