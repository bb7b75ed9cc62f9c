"""One timeline: what happened, for how long, and why, whatever order the lines came in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journals import GIVER, line, move
from natpair.core.changes import KINDS
from natpair.core.timeline import OTHER_KINDS, Entry, timeline


def only(found: list[Entry]) -> Entry:
    (entry,) = found
    return entry


def test_changes_of_role_stand_among_the_rest() -> None:
    repair = line(50.0, "repair", thing="ruleset", found="changed", put="as rendered", suspects=["ufw"])
    found = timeline([*GIVER, repair])
    assert [entry.kind for entry in found] == ["repair", "switchover"]
    assert found[0].text == "ruleset: found changed, repaired: as rendered (may have been: ufw)"
    assert found[1].change is not None
    assert found[1].text == "active to standby: why handing-over"


def test_a_condition_lasts_from_its_cause_to_its_end() -> None:
    began = line(102.0, "condition", code="no-bgp", what="began", severity="critical", text="none of 4", seconds=2.0)
    entry = only(timeline([began]))
    assert (entry.kind, entry.began, entry.ended) == ("condition", 100.0, None)
    assert entry.text == "critical: none of 4 (no-bgp)"
    other = line(105.0, "condition", code="drained", what="ended", seconds=1.0)
    ended = line(130.0, "condition", code="no-bgp", what="ended", seconds=30.0)
    assert only(timeline([began, other, ended])).ended == 130.0


def test_a_daemon_is_away_from_its_end_to_its_return() -> None:
    ended = line(10.0, "daemon", name="BIRD", what="ended", how="killed", pid=7)
    assert only(timeline([ended])).text == "BIRD was killed or crashed"
    back = line(10.3, "daemon", name="BIRD", what="started", pid=8, seconds=0.3)
    entry = only(timeline([back, ended]))
    assert (entry.text, entry.ended) == ("BIRD was killed or crashed, and was back after 0.3 s", 10.3)
    silent = {**ended, "how": "did not respond, and was killed by natpair"}
    assert only(timeline([silent])).text == "BIRD did not respond, and was killed by natpair"


@pytest.mark.parametrize(
    ("event", "fields", "kind", "words"),
    [
        (
            "repair-not-done",
            {"thing": "chain", "found": "lost", "wanted": "x"},
            "repair",
            "not repaired",
        ),
        ("repair-gave-up", {"thing": "ruleset", "suspects": []}, "repair", "again and again"),
        ("share-repaired", {"shares": ["192.0.2.1 to nat-b"]}, "repair", "192.0.2.1 to nat-b"),
        ("note", {"text": "nat-b is not ready"}, "note", "not ready"),
        ("step", {"step": "drained-not-written", "detail": "disk full"}, "trouble", "disk full"),
        ("step", {"step": "conntrackd-complete", "ok": False}, "trouble", "conntrackd-complete failed"),
        ("step", {"step": "flows-deleted", "count": 3, "translated": "192.0.2.9"}, "repair", "3 flows"),
        ("step", {"step": "flows-not-deleted", "detail": "no conntrack"}, "trouble", "no conntrack"),
        ("task-failed", {"task": "looks", "why": "KeyError"}, "trouble", "looks: KeyError"),
        ("events-lost", {"count": 4}, "trouble", "4 events"),
        ("apply", {"text": "generation 3 applied"}, "apply", "generation 3"),
    ],
)
def test_everything_else_is_one_line(event: str, fields: dict[str, object], kind: str, words: str) -> None:
    entry = only(timeline([line(5.0, event, **fields)]))
    assert (entry.kind, entry.began, entry.ended) == (kind, 5.0, 5.0)
    assert words in entry.text
    assert kind in OTHER_KINDS


def test_steps_that_went_well_and_lines_of_a_later_version_say_nothing() -> None:
    told = [line(1.0, "step", step="announced", took_ms=2.0), line(2.0, "unheard-of"), line(3.0, "fifo")]
    assert timeline(told) == []


names = st.sampled_from(["what", "code", "name", "step", "ok", "seconds"])
said = st.tuples(
    st.sampled_from(["condition", "daemon", "step", "repair", "note"]), st.dictionaries(names, st.none() | st.just(1))
)


@given(st.lists(said))
def test_no_line_is_a_stumbling_block(found: list[tuple[str, dict[str, object]]]) -> None:
    lines = [line(float(n), event, **fields) for n, (event, fields) in enumerate(found)]
    assert all(entry.kind in {*KINDS, *OTHER_KINDS} for entry in timeline([*lines, move(1.0, "standby", "fault")]))
