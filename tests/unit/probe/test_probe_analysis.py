"""Verdicts from answers. Each fabric is played as a rule that picks a winner, and must be told from the others."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natpair.probe import analysis
from natpair.probe.analysis import Answer, Contest, Lever, Tie, Watched, Winner
from natpair.probe.wire import ANSWER, UNASKED

MS = 1_000_000
OF = (Winner.FIRST, Winner.SECOND)

Fabric = Callable[[int | None, int], Winner]
"""Who wins when `better` has the better attribute (None: equal) and `first` announced first."""

HONOURS: Fabric = lambda better, first: OF[first if better is None else better]  # noqa: E731
INVERTS: Fabric = lambda better, first: OF[first if better is None else 1 - better]  # noqa: E731
KEEPS_OLDER: Fabric = lambda better, first: OF[first]  # noqa: E731
TAKES_NEWER: Fabric = lambda better, first: OF[1 - first]  # noqa: E731
ALWAYS_THE_FIRST: Fabric = lambda better, first: OF[0]  # noqa: E731
SHARES: Fabric = lambda better, first: Winner.SHARED  # noqa: E731
DEAD: Fabric = lambda better, first: Winner.NOBODY  # noqa: E731


def held(fabric: Fabric, repeats: int = 2) -> list[Contest]:
    return [Contest(b, f, fabric(b, f)) for _ in range(repeats) for b in (0, 1) for f in (0, 1)]


def held_equal(fabric: Fabric) -> list[Contest]:
    return [Contest(None, first, fabric(None, first)) for first in (0, 1)]


@pytest.mark.parametrize(
    ("fabric", "verdict"),
    [
        (HONOURS, Lever.HONOURED),
        (INVERTS, Lever.INVERTED),
        (KEEPS_OLDER, Lever.IGNORED),
        (TAKES_NEWER, Lever.IGNORED),
        (ALWAYS_THE_FIRST, Lever.IGNORED),
        (SHARES, Lever.IGNORED),
        (DEAD, Lever.UNCLEAR),
    ],
)
def test_what_an_attribute_does(fabric: Fabric, verdict: Lever) -> None:
    assert analysis.lever(held(fabric)) is verdict


def test_one_order_of_arrival_alone_proves_nothing() -> None:
    # On a fabric that keeps the older route, a better node that always comes first looks like an honoured attribute.
    biased = [Contest(b, b, KEEPS_OLDER(b, b)) for b in (0, 1)]
    assert {c.won for c in biased} == {Winner.FIRST, Winner.SECOND}
    assert analysis.lever(biased) is Lever.UNCLEAR


def test_a_repeat_that_came_out_otherwise_makes_it_unclear() -> None:
    assert analysis.lever([*held(HONOURS), Contest(0, 1, Winner.SECOND)]) is Lever.UNCLEAR
    assert analysis.lever([*held(KEEPS_OLDER), Contest(0, 1, Winner.FIRST)]) is Lever.UNCLEAR


@given(st.permutations(held(HONOURS) + held(KEEPS_OLDER)[:1]))
def test_the_order_of_contests_does_not_matter(contests: list[Contest]) -> None:
    assert analysis.lever(contests) is Lever.HONOURED


@pytest.mark.parametrize(
    ("fabric", "verdict"),
    [
        (KEEPS_OLDER, Tie.OLDER),
        (TAKES_NEWER, Tie.NEWER),
        (ALWAYS_THE_FIRST, Tie.FIXED),
        (SHARES, Tie.SHARED),
        (DEAD, Tie.UNCLEAR),
    ],
)
def test_what_happens_between_equals(fabric: Fabric, verdict: Tie) -> None:
    assert analysis.tie(held_equal(fabric)) is verdict


def test_a_tie_seen_in_one_order_only_is_unclear() -> None:
    assert analysis.tie(held_equal(KEEPS_OLDER)[:1]) is Tie.UNCLEAR
    assert analysis.tie([*held_equal(SHARES), Contest(None, 0, Winner.FIRST)]) is Tie.UNCLEAR


def stream(nodes: list[int | None], *, marks: dict[int, int] | None = None, rtt_ms: float = 2) -> Watched:
    """One datagram every 10 ms, answered by these nodes; `marks`: sequence → milliseconds since that node's change."""
    answers = []
    for sequence, node in enumerate(nodes):
        if node is None:
            continue
        aged = (marks or {}).get(sequence)
        received = int((sequence * 10 + rtt_ms) * MS)
        answers.append(Answer(sequence, received, node, 7 if aged is not None else 6, (aged or 0) * 1000))
    return Watched(tuple(sequence * 10 * MS for sequence in range(len(nodes))), tuple(answers))


@pytest.mark.parametrize(
    ("nodes", "who"),
    [
        ([0] * 100, Winner.FIRST),
        ([1] * 100, Winner.SECOND),
        ([0, 1] * 50, Winner.SHARED),
        ([0] * 96 + [1] * 4, Winner.FIRST),  # stragglers
        ([0] * 94 + [1] * 6, Winner.SHARED),
        ([None] * 97 + [0] * 3, Winner.NOBODY),
    ],
)
def test_who_answers(nodes: list[int | None], who: Winner) -> None:
    assert analysis.winner(stream(nodes)) is who


def test_an_update_is_timed_on_the_new_nodes_own_clock() -> None:
    seen = stream([0, 0, 0, 1, 1], marks={3: 25, 4: 35})
    assert analysis.after_update(seen, 1, 7) == 25
    assert analysis.after_update(seen, 1, 8) is None  # another change than this
    assert analysis.after_update(seen, 0, 7) is None


def test_a_withdrawal_is_placed_by_the_old_nodes_last_answers() -> None:
    # Withdrawn 4 ms before datagram 3 arrived there (at 31 ms): at 27; the new node's first arrives at 61.
    seen = stream([0, 0, 0, 0, 0, None, 1, 1], marks={3: 4, 4: 14})
    assert analysis.after_withdrawal(seen, 0, 1, 7) == pytest.approx(34)


def test_a_withdrawal_that_the_old_node_saw_no_packet_after_is_bounded_by_its_last_one() -> None:
    assert analysis.after_withdrawal(stream([0, 0, 0, 1]), 0, 1, 7) == pytest.approx(10)
    assert analysis.after_withdrawal(stream([1, 1, 1]), 0, 1, 7) is None
    assert analysis.after_withdrawal(stream([0, 0, None]), 0, 1, 7) is None


def test_silence_is_from_the_last_answer_to_the_first() -> None:
    assert analysis.silence(stream([0, 0, None, None, None, 1]), 0, 1) == pytest.approx(40)
    assert analysis.silence(stream([0, 0, None]), 0, 1) is None
    assert analysis.silence(stream([1, 1]), 0, 1) is None


def test_what_was_not_asked_for_is_counted_apart() -> None:
    seen = Watched(
        (0,), (Answer(0, 5, 0, 1, 0, ANSWER), Answer(0, 6, 1, 1, 0, UNASKED), Answer(1, 7, 1, 1, 0, UNASKED))
    )
    assert (seen.unasked(1), seen.unasked(0)) == (2, 0)
    assert [a.node for a in seen.answered()] == [0]


def test_median_and_worst() -> None:
    assert analysis.spread([3.0, 1.0, 9.04]) == analysis.Spread(3.0, 9.0, 3)
    assert analysis.spread([]) is None
