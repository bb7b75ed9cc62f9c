"""A node's last hour in figures, from the lines of its event log."""

from __future__ import annotations

from typing import Any

from journals import line, move
from natpair.core.history import history, last_transition

NOW = 10_000.0


def told(*lines: dict[str, Any]) -> tuple[int, int, int, int, float | None]:
    found = history(lines, NOW)
    return found.role_changes, found.repairs, found.daemon_ends, found.refused_claims, found.role_since


def test_an_empty_log_says_nothing() -> None:
    assert told() == (0, 0, 0, 0, None)
    assert last_transition(()) is None


def test_role_changes_are_counted_once_however_many_steps_they_take() -> None:
    lines = (
        move(100.0, "standby", "active"),
        move(9000.0, "active", "handing-over"),
        move(9000.1, "handing-over", "standby"),
        move(9500.0, "standby", "preparing"),
        move(9500.1, "preparing", "active"),
    )
    assert told(*lines) == (2, 0, 0, 0, 9500.1)


def test_an_agent_that_is_started_again_changes_no_role() -> None:
    adopted = move(9000.0, "booting", "active", cause="adopted from an earlier agent")
    assert told(move(100.0, "standby", "active"), adopted) == (0, 0, 0, 0, 100.0)


def test_repairs_ends_of_daemons_and_refused_claims_of_the_last_hour_are_counted() -> None:
    lines = (
        line(100.0, "repair", thing="ruleset"),
        line(9000.0, "repair", thing="ruleset"),
        line(9001.0, "repair-gave-up", thing="ruleset"),
        line(9002.0, "daemon", name="BIRD", what="ended"),
        line(9003.0, "daemon", name="BIRD", what="started"),
        move(9004.0, "challenging", "refused"),
    )
    assert told(*lines) == (0, 1, 1, 1, None)


def test_the_last_change_may_be_a_refused_claim_and_has_a_time() -> None:
    found = last_transition(
        [move(5.0, "standby", "challenging"), move(6.0, "challenging", "refused"), line(7.0, "fifo")]
    )
    assert found is not None
    assert (found.after, found.time) == ("refused", 6.0)
