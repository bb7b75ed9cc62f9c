"""When a daemon has to be told that its interface is another one: checked by identities and times alone."""

from __future__ import annotations

import pytest

from natpair.core.binding import DAMP_SECONDS, Binding, Ear, is_deaf, is_due, listened, looked, told

OLD, NEW = (2, "02:00:00:00:00:01"), (5, "02:00:00:00:00:01")
DOWN = 0.5


def test_the_interface_that_it_knows_is_no_news() -> None:
    assert not looked(Binding(OLD), OLD, usable=True).due


@pytest.mark.parametrize("found", [NEW, (2, "02:00:00:00:00:77")], ids=["another index", "another MAC"])
def test_another_one_is_told_as_soon_as_the_own_address_is_on_it(found: object) -> None:
    waiting = looked(Binding(OLD), found, usable=False)
    assert not is_due(waiting, 0.0), "a socket could not be bound to an address that is not there"
    ready = looked(waiting, found, usable=True)
    assert is_due(ready, 0.0)
    done = told(ready, found, 0.0)
    assert not looked(done, found, usable=True).due


def test_one_that_was_away_is_another_one_even_if_it_looks_the_same() -> None:
    away = looked(Binding(OLD), None, usable=False)
    assert looked(away, OLD, usable=True).due


def test_one_that_comes_late_is_told() -> None:
    assert looked(Binding(None), OLD, usable=True).due


def test_one_that_comes_and_goes_is_told_now_and_then() -> None:
    binding, tellings = Binding(OLD), 0
    for tenth in range(100):
        found = (tenth, "02:00:00:00:00:01") if tenth % 2 else None
        binding = looked(binding, found, usable=True)
        if found is not None and is_due(binding, tenth / 10):
            binding, tellings = told(binding, found, tenth / 10), tellings + 1
    assert 2 <= tellings <= 10 / DAMP_SECONDS + 1


def test_one_that_came_too_soon_is_told_later() -> None:
    binding = told(Binding(OLD), NEW, 0.0)
    later = looked(binding, OLD, usable=True)
    assert not is_due(later, DAMP_SECONDS / 2)
    assert is_due(looked(later, OLD, usable=True), DAMP_SECONDS)


def deaf(*looks: Ear, down: float = DOWN) -> bool:
    since = looks[0]
    for look in looks:
        since = listened(since, look)
    return is_deaf(since, looks[-1], down)


def test_a_backup_that_hears_nothing_and_does_not_take_over_is_deaf() -> None:
    assert deaf(Ear(0.0, True, 70), Ear(5.0, True, 70))


@pytest.mark.parametrize(
    "looks",
    [
        (Ear(0.0, True, 70), Ear(5.0, True, 71)),
        (Ear(0.0, False, 70), Ear(5.0, True, 70)),
        (Ear(0.0, True, 70), Ear(5.0, False, 70)),
        (Ear(0.0, False, 70), Ear(5.0, False, 70)),
        (Ear(0.0, True, 70), Ear(1.0, True, 70)),
        (Ear(0.0, True, 70), Ear(5.0, True, 0)),
    ],
    ids=["hears", "became a backup", "took over", "is not elected", "too soon", "was reloaded"],
)
def test_any_other_is_not(looks: tuple[Ear, ...]) -> None:
    assert not deaf(*looks)


def test_slow_adverts_need_more_patience_than_one_look() -> None:
    looks = [Ear(5.0 * n, True, 70) for n in range(3)]
    assert not deaf(*looks[:2], down=3.0)
    assert deaf(*looks, down=3.0)
