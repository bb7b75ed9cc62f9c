"""The table of moves and the rules beside it: complete, closed, and each complaint tripped."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings

from natpair.core.actions import Journal, Reserve, Speak
from natpair.core.messages import Phase
from natpair.core.moves import NEXT, RESERVE_AHEAD, enter, promote
from natpair.core.rules import RULES
from natpair.core.state import Challenge, Handover, NodeState
from node_strategies import NOW, states
from nodes import node

MOVES = list(product(Phase, Phase))


def test_every_phase_has_a_rule_and_a_row() -> None:
    assert set(RULES) == set(NEXT) == set(Phase)


@pytest.mark.parametrize(("before", "after"), MOVES, ids=[f"{a}-{b}" for a, b in MOVES])
def test_enter_makes_the_moves_of_the_table_and_no_other(before: Phase, after: Phase) -> None:
    state = node(before)
    if after not in NEXT[before]:
        with pytest.raises(ValueError, match=f"{before} may not become {after}"):
            enter(state, after, 5.0, "why")
        return
    moved, actions = enter(state, after, 5.0, "why")
    assert (moved.phase, moved.since) == (after, 5.0)
    assert actions == (Journal(before, after, "why", state.epoch), Speak())


def test_every_phase_can_be_left_and_all_but_the_first_entered() -> None:
    assert all(NEXT[phase] for phase in Phase)
    assert set().union(*NEXT.values()) == set(Phase), "BOOTING, too: an undrained node starts over"
    assert all(phase not in NEXT[phase] for phase in Phase)


def test_the_way_back_into_service_exists_from_everywhere() -> None:
    ways = {phase: set(NEXT[phase]) for phase in Phase}
    for _ in Phase:
        ways = {phase: found.union(*(ways[one] for one in found)) for phase, found in ways.items()}
    assert all(Phase.ACTIVE in found for found in ways.values())


@pytest.mark.parametrize("after", sorted(NEXT[Phase.STANDBY] | NEXT[Phase.ACTIVE]))
def test_a_move_takes_along_only_what_its_phase_needs(after: Phase) -> None:
    before = Phase.STANDBY if after in NEXT[Phase.STANDBY] else Phase.ACTIVE
    full = node(before, handover=Handover(7, 0.0), challenge=Challenge(3, 0.0, 0.03))
    moved, _ = enter(full, after, 1.0, "why")
    assert (moved.handover is not None) == (after in {Phase.PREPARING, Phase.HANDING_OVER})
    assert (moved.challenge is not None) == (after is Phase.CHALLENGING)


@pytest.mark.parametrize("me", ["nat-a", "nat-b"])
def test_a_promotion_takes_the_next_generation_and_the_nodes_own_bit(me: str) -> None:
    state = node(Phase.STANDBY, me=me)
    promoted, _ = promote(state, 1.0, "why")
    assert promoted.generation_seen == state.generation_seen + 1
    assert promoted.epoch == 2 * promoted.generation_seen + state.terms.bit


def test_generations_are_reserved_before_they_run_out() -> None:
    plenty = node(Phase.STANDBY, generation_seen=10, reserved=10 + RESERVE_AHEAD)
    assert not [a for a in promote(plenty, 1.0, "why")[1] if isinstance(a, Reserve)]
    state, asked = node(Phase.STANDBY, generation_seen=10, reserved=10), []
    for _ in range(3 * RESERVE_AHEAD):
        promoted, actions = promote(state, 1.0, "why")
        asked += [action.ceiling for action in actions if isinstance(action, Reserve)]
        assert promoted.generation_seen <= promoted.reserved
        state = node(Phase.STANDBY, generation_seen=promoted.generation_seen, reserved=promoted.reserved)
    assert asked == sorted(set(asked))
    assert len(asked) <= 2 + 3 * 2, "one write in hundreds of promotions"


@settings(max_examples=100)
@given(states())
def test_a_rule_makes_one_move_along_its_row_or_none(state: NodeState) -> None:
    move = RULES[state.phase](state, NOW)
    if move is not None:
        assert move[0].phase in NEXT[state.phase] | {state.phase}
        assert move[0] != state, "a rule that moves changes something"
