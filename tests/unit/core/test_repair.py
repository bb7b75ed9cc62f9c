"""Never fight: a thing that is undone again and again is left alone, and repaired again when the other has stopped."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from natpair.core.repair import CALM_SECONDS, FIRST_PAUSE_SECONDS, LIMIT, LONGEST_PAUSE_SECONDS, WINDOW_SECONDS, Ledger


def fought(times: int = LIMIT, start: float = 100.0, step: float = 1.0) -> Ledger:
    ledger = Ledger()
    for number in range(times):
        ledger = ledger.repaired("sysctl", start + number * step)
    return ledger


def test_a_few_repairs_are_no_fight() -> None:
    ledger = fought(LIMIT - 1)
    assert ledger.may_repair("sysctl", 104.0)
    assert ledger.gave_up(104.0) == ()


def test_one_too_many_starts_a_pause_and_is_said() -> None:
    ledger = fought()
    assert not ledger.may_repair("sysctl", 104.1)
    assert ledger.gave_up(104.1) == ("sysctl",)
    assert ledger.may_repair("sysctl", 104.0 + FIRST_PAUSE_SECONDS)


def test_other_things_are_not_concerned() -> None:
    assert fought().may_repair("route", 104.1)


def test_the_pause_doubles_and_has_an_end() -> None:
    ledger, now, pauses = fought(), 104.0, []
    for _ in range(6):
        feud = ledger.feuds["sysctl"]
        pauses.append(feud.paused_until - now)
        now = feud.paused_until
        ledger = ledger.repaired("sysctl", now)
    assert pauses[:3] == [FIRST_PAUSE_SECONDS, 2 * FIRST_PAUSE_SECONDS, 4 * FIRST_PAUSE_SECONDS]
    assert max(pauses) == LONGEST_PAUSE_SECONDS


def test_spread_over_hours_the_same_repairs_are_none_too_many() -> None:
    assert fought(50, step=WINDOW_SECONDS).gave_up(1e9) == ()


def test_peace_is_seen_after_a_window_and_forgotten_after_a_while() -> None:
    ledger = fought()
    assert ledger.gave_up(104.0 + WINDOW_SECONDS - 0.1) == ("sysctl",)
    assert ledger.gave_up(104.0 + WINDOW_SECONDS) == ()
    again = ledger.repaired("sysctl", 104.0 + CALM_SECONDS + 1)
    assert again.feuds["sysctl"].pauses == 0


@given(st.lists(st.floats(0.01, 30.0), max_size=60))
def test_however_somebody_fights_repairs_stay_rare(gaps: list[float]) -> None:
    """Repaired whenever allowed and undone at once: never more than LIMIT and a few in any window."""
    ledger, now, repaired = Ledger(), 0.0, []
    for gap in gaps:
        now += gap
        if ledger.may_repair("x", now):
            ledger = ledger.repaired("x", now)
            repaired.append(now)
    for at in repaired:
        assert sum(at <= other < at + WINDOW_SECONDS for other in repaired) <= 2 * LIMIT
