"""Two counts: when is it no accident that nothing gets through?"""

from __future__ import annotations

import pytest

from natpair.core.passage import FORGOTTEN_LOOKS, LOST_PACKETS, TOLD_PACKETS, Tally


@pytest.mark.parametrize(
    ("readings", "blocked"),
    [
        ([(LOST_PACKETS - 1, 5)], False),
        ([(LOST_PACKETS, 5)], True),
        ([(8, 5), (12, 5), (LOST_PACKETS, 5)], True),
        ([(LOST_PACKETS, 5), (LOST_PACKETS, 5)], True),
        ([(LOST_PACKETS, 6)], False),
        ([(LOST_PACKETS, 6), (2 * LOST_PACKETS - 1, 6)], False),
        ([(LOST_PACKETS, 6), (2 * LOST_PACKETS, 6)], True),
        ([(LOST_PACKETS, 5), (LOST_PACKETS + 1, 6)], False),
        ([(0, 5)], False),
    ],
    ids=["few", "many", "little by little", "nobody sends any more", "one passed", "few since", "many since",
         "recovered", "idle"],
)  # fmt: skip
def test_blocked_is_many_in_a_row_of_which_none_passed(readings: list[tuple[int, int]], blocked: bool) -> None:
    tally = Tally(0, 5)
    for offered, passed in readings:
        tally = tally.read(offered, passed)
    assert tally.blocked is blocked


def test_it_is_told_before_it_is_acted_on() -> None:
    assert not Tally(0, 5).read(TOLD_PACKETS - 1, 5).suspect
    told = Tally(0, 5).read(TOLD_PACKETS, 5)
    assert told.suspect
    assert not told.blocked
    assert not told.read(2 * TOLD_PACKETS, 6).suspect


def test_counts_that_go_back_start_anew() -> None:
    assert Tally(1000, 5).read(3, 5) == Tally(3, 5)


def test_blame_ends_when_nobody_sends_any_more_and_not_before() -> None:
    tally = Tally(0, 5).read(100, 5)
    for _ in range(FORGOTTEN_LOOKS - 1):
        tally = tally.read(100, 5)
        assert tally.blocked
    assert not tally.read(100, 5).blocked
    assert tally.read(101, 5).read(101, 5).blocked, "one more packet that is lost, and it is not forgotten"
