from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from natpair_lab.chaos import timeline
from natpair_lab.chaos.history import VipChange
from natpair_lab.drill.analysis import union
from unit.chaos.histories import A, B, at, history

intervals = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda pair: (min(pair), max(pair))), max_size=8
)


@given(intervals, intervals)
def test_what_is_subtracted_is_gone_and_nothing_else(
    whole: list[tuple[int, int]], holes: list[tuple[int, int]]
) -> None:
    left = timeline.subtract(whole, holes)
    for moment in range(61):
        inside = any(a <= moment < b for a, b in whole) and not any(a <= moment < b for a, b in holes)
        assert any(a <= moment < b for a, b in left) == inside
    assert left == union(left)


def test_news_that_repeats_what_is_known_changes_nothing() -> None:
    record = history(vips=(VipChange(at(5), A, True), VipChange(at(9), B, False), VipChange(at(20), A, False)))
    assert timeline.holds_vip(record, A) == [(record.baseline_ns, at(20))]
    assert timeline.holds_vip(record, B) == []


def test_a_vip_that_is_away_for_a_moment_was_never_given_up() -> None:
    record = history(vips=(VipChange(at(5), A, False), VipChange(at(9), A, True)))
    assert timeline.takings(record) == 0
    assert timeline.takings(history(vips=(VipChange(at(5), A, False), VipChange(at(900), A, True)))) == 1
