"""What should be true of the machine, as a function of the state alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from natpair.core.announcement import STANDBY_MED
from natpair.core.desired import BOOST, BOOST_MAX, DRAIN_RELAY, LEAD, Traffic, desired
from natpair.core.events import PeerHeard
from natpair.core.machine import step
from natpair.core.messages import CLAIMING, Phase
from natpair.core.state import Handover, NodeState, message_of
from natpair.core.wire import Path
from node_strategies import NOW, states
from nodes import SICK, changed, node, says, standby

AT_REST = {
    Phase.BOOTING: Traffic.CLOSED,
    Phase.STANDBY: Traffic.RELAY,
    Phase.CHALLENGING: Traffic.RELAY,
    Phase.REFUSED: Traffic.RELAY,
    Phase.PREPARING: Traffic.RELAY,
    Phase.ACTIVE: Traffic.LOCAL,
    Phase.HANDING_OVER: Traffic.LOCAL,
    Phase.YIELDING: Traffic.RELAY,
    Phase.FAULT: Traffic.CLOSED,
    Phase.DRAINED: Traffic.RELAY,
}


@pytest.mark.parametrize("phase", Phase)
def test_each_phase_has_its_traffic_state(phase: Phase) -> None:
    assert desired(node(phase, handover=Handover(1, 0.0)), 1.0).traffic is AT_REST[phase]


@settings(max_examples=200)
@given(states())
def test_only_a_node_that_has_or_takes_the_role_forwards_clients(state: NodeState) -> None:
    if desired(state, NOW).traffic is Traffic.LOCAL:
        assert state.phase in CLAIMING | {Phase.PREPARING}


@settings(max_examples=200)
@given(states())
def test_only_a_node_that_forwards_clients_copies_what_matches_no_flow(state: NodeState) -> None:
    want = desired(state, NOW)
    assert not want.duplicate or want.traffic is Traffic.LOCAL


@settings(max_examples=200)
@given(states())
def test_who_announces_as_active_will_be_reached_in_a_state_that_can_use_it(state: NodeState) -> None:
    """Never a primary route into a closed node: that would be a black hole."""
    want = desired(state, NOW)
    assert not want.announcement.primary or want.traffic is not Traffic.CLOSED
    assert want.announcement.primary or want.announcement.med == STANDBY_MED


@settings(max_examples=200)
@given(states())
def test_a_closed_node_is_not_elected_beside_a_living_peer(state: NodeState) -> None:
    want = desired(state, NOW)
    alone = state.peer.silent(state.terms, NOW)
    assert not (want.traffic is Traffic.CLOSED and want.eligible) or alone


@settings(max_examples=200)
@given(states())
def test_the_boost_lifts_a_node_above_its_peer_and_never_to_the_owner_of_the_address(state: NodeState) -> None:
    boost = desired(state, NOW).boost
    assert boost in {0, LEAD, *range(BOOST, BOOST_MAX + 1)}
    assert (boost > 0) == state.claims_active or state.takeover.boosted
    assert 239 + LEAD > 240, "a standby that claims the role does not displace an active node"
    assert 239 + BOOST > 240 + LEAD, "nor does a node that was active before an unclean takeover"
    assert 240 + BOOST_MAX < 255, "RFC 9568: 255 is the address owner"


@settings(max_examples=100)
@given(states())
def test_the_same_state_wants_the_same(state: NodeState) -> None:
    assert desired(state, NOW) == desired(state, NOW)


def test_a_drained_node_relays_stragglers_for_a_while() -> None:
    state = node(Phase.DRAINED, says(Phase.ACTIVE), drained=True)
    assert desired(state, DRAIN_RELAY - 0.1).traffic is Traffic.RELAY
    assert desired(state, DRAIN_RELAY).traffic is Traffic.CLOSED


def test_a_sick_standby_is_worse_than_an_active_peer_and_better_than_none() -> None:
    assert not desired(standby(health=SICK), 0.1).eligible
    assert desired(standby(health=SICK, said=says(Phase.FAULT)), 0.1).eligible
    assert desired(standby(health=SICK), 60.0).eligible


@pytest.mark.parametrize("phase", [Phase.BOOTING, Phase.REFUSED, Phase.YIELDING, Phase.FAULT])
def test_some_phases_are_out_of_the_election(phase: Phase) -> None:
    assert not desired(node(phase, says(Phase.ACTIVE)), 0.1).eligible


def test_the_giver_is_out_of_the_election_once_it_has_let_go() -> None:
    giving = Handover(20, 0.0, prepared_at=0.1)
    assert desired(node(Phase.HANDING_OVER, handover=giving), 0.2).eligible
    assert not desired(node(Phase.HANDING_OVER, handover=replace(giving, released_at=0.2)), 0.2).eligible


@settings(max_examples=200)
@given(states(), st.floats(0, 1e6))
def test_the_peers_mac_stands_until_a_sealed_word_tells_another(state: NodeState, later: float) -> None:
    """While the standby is away anybody could speak in its name otherwise, and be the only one who does."""
    known = changed(state, peer_mac="02:00:00:00:00:04")
    want = desired(known, NOW + later)
    assert want.peer_mac == "02:00:00:00:00:04"
    assert want.peer_gone is known.peer.silent(known.terms, NOW + later), "then ARP may say where it is now"
    said = message_of(known, NOW).model_copy(update={"mac": "02:00:00:00:00:05"})
    moved = step(known, PeerHeard(Path.PUBLIC, said), NOW).state
    assert desired(moved, NOW).peer_mac == "02:00:00:00:00:05"
