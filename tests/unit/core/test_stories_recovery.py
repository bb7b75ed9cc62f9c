"""Nodes that start, come back, or are alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from natpair.core.actions import Conntrack, ConntrackJob
from natpair.core.desired import Traffic, desired
from natpair.core.events import ConntrackDone, HealthRead, Tick, VrrpChanged
from natpair.core.health import Health
from natpair.core.messages import PeerMessage, Phase, VrrpRole
from natpair.core.rules import FAULT_DWELL
from natpair.core.state import DEFER_SECONDS, SYNC_SETTLE, NodeState, initial
from nodes import SICK, TERMS, THEIRS, WELL, hears, node, says
from script import Line, at, play

MASTER = VrrpChanged(VrrpRole.MASTER)
HOLD = TERMS["nat-a"].hold
ABANDON = Conntrack(ConntrackJob.ABANDON, THEIRS)
FLUSHED = ConntrackDone(ConntrackJob.ABANDON, THEIRS, True)


def booted(**changes: object) -> NodeState:
    return initial(TERMS["nat-a"], 0.0, **changes)  # type: ignore[arg-type]


def closed(state: NodeState, now: float) -> bool:
    want = desired(state, now)
    return (want.traffic, want.eligible, want.announcement.primary) == (Traffic.CLOSED, False, False)


def test_a_node_that_knows_nothing_does_nothing() -> None:
    assert closed(booted(), 0.0)


def test_alone_it_waits_until_no_stale_route_of_the_peer_is_left() -> None:
    """Hold time plus one second of silence on both paths; then Keepalived may elect it."""
    state = play(booted(), at(0.1, HealthRead(WELL)), at(HOLD + 1.0, Tick()))
    assert closed(state, HOLD + 1)
    state = play(state, at(HOLD + 1.01, Tick(), Phase.STANDBY))
    assert desired(state, HOLD + 1.01).eligible
    state = play(state, at(HOLD + 2, MASTER, Phase.CHALLENGING, lambda action: True))
    play(state, at(HOLD + 2.1, Tick(), Phase.ACTIVE, lambda action: True))


def test_alone_and_unable_to_forward_it_stays_closed() -> None:
    down = Health(private_up=False, ruleset=True)
    state = play(booted(), at(0.1, HealthRead(down)), at(100.0, Tick()))
    assert closed(state, 100.0)


def test_alone_a_node_without_uplink_or_bgp_is_better_than_none() -> None:
    """Not at once: it cannot know whether a peer serves unheard, and so takes nothing from clients by waiting."""
    health = HealthRead(Health(private_up=True, ruleset=True))
    play(
        booted(),
        at(0.1, health),
        at(HOLD + 1.1, Tick()),
        at(DEFER_SECONDS - 0.1, Tick()),
        at(DEFER_SECONDS + 0.1, Tick(), Phase.STANDBY),
    )


def test_alone_a_node_whose_next_hop_does_not_answer_serves_at_once() -> None:
    health = HealthRead(replace(WELL, gateway=False))
    play(booted(), at(0.1, health), at(HOLD + 1.1, Tick(), Phase.STANDBY))


def test_beside_an_active_peer_it_waits_for_the_flush_and_a_full_table() -> None:
    empty = Health(**{name: getattr(WELL, name) for name in Health.__slots__ if name != "flows"})
    state = play(
        booted(),
        at(0.1, HealthRead(empty)),
        at(0.2, hears(Phase.ACTIVE), ABANDON),
        at(0.3, FLUSHED),
        at(0.3 + SYNC_SETTLE + 0.01, hears(Phase.ACTIVE)),
    )
    assert closed(state, 0.7)
    state = play(state, at(0.8, HealthRead(WELL), Phase.STANDBY))
    assert state.synced(0.8)


def test_a_peer_that_counts_fewer_flows_is_not_waited_for() -> None:
    play(
        booted(),
        at(0.1, HealthRead(WELL)),
        at(0.2, hears(Phase.ACTIVE, flows=10), ABANDON),
        at(0.3, FLUSHED),
        at(0.3 + SYNC_SETTLE + 0.01, hears(Phase.ACTIVE, flows=10), Phase.STANDBY),
    )


@pytest.mark.parametrize("phase", [Phase.BOOTING, Phase.STANDBY, Phase.FAULT, Phase.DRAINED])
def test_beside_a_peer_that_is_not_active_there_is_nothing_to_wait_for(phase: Phase) -> None:
    play(booted(), at(0.1, HealthRead(WELL)), at(0.2, hears(phase), Phase.STANDBY))


def test_beside_a_peer_it_waits_for_its_own_health() -> None:
    state = play(booted(), at(0.1, HealthRead(SICK)), at(0.2, hears(Phase.STANDBY)))
    play(state, at(0.3, HealthRead(WELL), Phase.STANDBY))


def test_the_first_of_two_to_be_elected_needs_no_challenge() -> None:
    state = node(Phase.STANDBY, says(Phase.STANDBY))
    play(state, at(0.1, MASTER, Phase.ACTIVE, Conntrack(ConntrackJob.COMPLETE, 22)))


def test_a_drained_node_boots_drained_and_serves_when_it_is_alone() -> None:
    state = play(booted(drained=True), at(0.1, HealthRead(WELL), Phase.DRAINED))
    assert not desired(state, HOLD).eligible
    alone = play(state, at(HOLD + 1.1, Tick()))
    assert desired(alone, HOLD + 1.1).eligible
    beside = play(state, at(HOLD, hears(Phase.ACTIVE), ABANDON))
    assert not desired(beside, HOLD + 1.1).eligible


def test_what_is_reserved_on_disk_is_never_used_again() -> None:
    state = play(booted(reserved=1000), at(0.1, HealthRead(WELL)), at(0.2, hears(Phase.STANDBY), Phase.STANDBY))
    state = play(state, at(0.3, MASTER, Phase.ACTIVE, lambda action: True))
    assert state.epoch == 2 * 1001


def in_fault(said: PeerMessage | None = None) -> NodeState:
    return node(Phase.FAULT, said, flushed_for=THEIRS)


def peer_active(begin: float, end: float) -> list[Line]:
    return [at(begin + n / 10, hears(Phase.ACTIVE)) for n in range(round((end - begin) * 10))]


def test_a_node_in_fault_joins_when_it_is_well_and_in_sync() -> None:
    state = play(in_fault(), at(0.01, HealthRead(SICK)), *peer_active(0.1, 5.0))
    play(state, at(5.0, HealthRead(WELL), Phase.STANDBY))


def test_a_node_in_fault_does_not_look_for_a_way_out_at_once() -> None:
    """The health that put it there is read anew first."""
    play(in_fault(), at(0.1, hears(Phase.ACTIVE)), at(FAULT_DWELL, hears(Phase.ACTIVE), Phase.STANDBY))


def test_a_node_in_fault_serves_again_when_the_peer_is_gone() -> None:
    state = play(in_fault(), at(0.1, hears(Phase.ACTIVE)), at(0.2, HealthRead(SICK)), at(0.8, Tick()))
    play(state, at(1.0, Tick(), Phase.STANDBY))


def test_a_node_in_fault_without_a_link_waits_for_it_even_alone() -> None:
    down = Health(private_up=False, ruleset=True)
    state = play(in_fault(), at(0.1, HealthRead(down)), at(60.0, Tick()))
    play(state, at(60.1, HealthRead(WELL), Phase.STANDBY))
