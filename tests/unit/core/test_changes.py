"""Lines of a journal become changes: one id on both nodes, causes, steps, whatever was cut off."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journals import GIVER, TAKER, line, move
from natpair.core.changes import CLAIMS, KINDS, REST, Change, changes, merged, shifted
from natpair.core.messages import CLAIMING, Phase


def only(found: list[Change]) -> Change:
    (change,) = found
    return change


def test_the_phases_named_here_are_the_machine_s() -> None:
    assert {phase.value for phase in CLAIMING} == CLAIMS
    assert {phase.value for phase in Phase} >= REST


def test_a_switchover_has_one_id_on_both_nodes() -> None:
    (views,) = merged([*changes(GIVER), *changes(TAKER)])
    assert [(view.node, view.id, view.kind) for view in views] == [
        ("nat-a", "e23", "switchover"),
        ("nat-b", "e23", "switchover"),
    ]
    assert (views[0].before, views[0].after, views[0].cause) == ("active", "standby", "why handing-over")


def test_steps_carry_their_time_and_what_led_to_them() -> None:
    change = only(changes(GIVER))
    assert [(step.offset_ms, step.text, step.took_ms) for step in change.steps] == [
        (-10.0, "an operator asks for switchover", None),
        (0.0, "active to handing-over: why handing-over", None),
        (500.0, "handing-over to standby: why standby", None),
        (600.0, "traffic-relay", 4.25),
    ]
    assert [step.text for step in only(changes(TAKER)).steps][-2:] == [
        "conntrackd-complete failed",
        "nat-a is active with epoch 26",
    ]
    assert shifted(change, 99.0).steps[1].offset_ms == 1000.0


def test_who_lost_the_role_learns_the_name_of_the_change_from_the_next_word_of_the_peer() -> None:
    lost = [move(5.0, "active", "yielding"), move(5.1, "yielding", "fault")]
    assert only(changes(lost)).id == "nat-a-20-5.1"
    assert only(changes([*lost, line(5.4, "peer-active", peer="nat-b", epoch=25)])).id == "e25"
    assert only(changes([*lost, line(99.0, "peer-active", peer="nat-b", epoch=25)])).id == "nat-a-20-5.1"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (["standby", "challenging", "active"], "takeover"),
        (["standby", "challenging", "standby"], "challenge"),
        (["standby", "challenging", "refused"], "refused"),
        (["refused", "standby"], "recovery"),
        (["booting", "standby"], "start"),
        (["booting", "fault"], "start"),
        (["standby", "fault"], "fault"),
        (["fault", "standby"], "recovery"),
        (["standby", "drained"], "drain"),
        (["drained", "standby"], "undrain"),
        (["booting", "active"], "adoption"),
        (["active", "handing-over", "active"], "handback"),
        (["standby", "preparing", "standby"], "handback"),
        (["active", "yielding", "standby"], "demotion"),
    ],
)
def test_kinds(path: list[str], kind: str) -> None:
    moves = [move(float(n), path[n], path[n + 1]) for n in range(len(path) - 1)]
    assert only(changes(moves)).kind == kind


@given(st.lists(st.sampled_from([phase.value for phase in Phase]), min_size=2, max_size=6))
def test_every_change_has_a_kind_of_the_list(path: list[str]) -> None:
    moves = [move(float(n), path[n], path[n + 1]) for n in range(len(path) - 1)]
    assert {change.kind for change in changes(moves)} <= set(KINDS)


def test_who_lost_the_role_because_keepalived_was_killed_says_so() -> None:
    death = line(9.5, "daemon", name="Keepalived", what="ended", how="killed", pid=7)
    lost = [move(10.0, "active", "yielding", cause="nat-b took over"), move(10.1, "yielding", "standby")]
    assert only(changes([death, *lost])).cause == "Keepalived was killed or crashed: nat-b took over"
    assert only(changes([{**death, "how": "stopped"}, *lost])).cause == "Keepalived was stopped: nat-b took over"
    assert only(changes([{**death, "time": 1.0}, *lost])).cause == "nat-b took over", "long before"
    assert only(changes([{**death, "name": "BIRD"}, *lost])).cause == "nat-b took over"
    taken = [move(10.0, "standby", "active", cause="nat-b is silent")]
    assert only(changes([death, *taken])).cause == "nat-b is silent"


def test_an_agent_that_died_on_the_way_leaves_a_change_that_is_not_at_rest() -> None:
    first, second = changes([move(1.0, "standby", "challenging"), move(9.0, "booting", "standby")])
    assert (first.at_rest, second.at_rest) == (False, True)
    assert first.id != second.id


def test_a_node_that_won_and_lost_is_told_twice() -> None:
    won = [move(1.0, "standby", "active"), move(9.0, "active", "standby", peer_epoch=20)]
    assert [len(views) for views in merged(changes(won))] == [1, 1]


def test_local_changes_of_two_nodes_are_not_taken_for_one() -> None:
    one, other = changes([move(1.0, "booting", "standby")]), changes([move(1.0, "booting", "standby", "nat-b")])
    assert len(merged([*one, *other])) == 2


def test_a_journal_without_names_tells_the_node_by_the_transition() -> None:
    old = {key: value for key, value in move(1.0, "booting", "standby").items() if key != "node"}
    assert only(changes([old])).node == "nat-a"
    assert only(changes([{**old, "transition": ""}], "left")).node == "left"


@given(st.lists(st.tuples(st.sampled_from(sorted(Phase)), st.sampled_from(sorted(Phase))), max_size=12))
def test_no_move_is_lost_or_told_twice(pairs: list[tuple[Phase, Phase]]) -> None:
    moves = [move(float(n), a.value, b.value) for n, (a, b) in enumerate(pairs)]
    texts = [step.text for change in changes(moves) for step in change.steps]
    assert texts == [f"{m['before']} to {m['after']}: {m['cause']}" for m in moves]
