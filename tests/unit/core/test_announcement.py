from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natpair.core.announcement import STANDBY_MED, Announcement, announcement_for
from natpair.core.model import BgpPolicy

NEWEST, COMMUNITIES = BgpPolicy.NEWEST_WINS, BgpPolicy.PRIMARY_SECONDARY
epochs = st.integers(0, 2**31 - 1)


@given(epochs, epochs)
def test_the_newer_promotion_has_the_lower_med(one: int, other: int) -> None:
    older, newer = (announcement_for(active=True, epoch=epoch, policy=NEWEST).med for epoch in sorted((one, other)))
    assert older is not None
    assert newer is not None
    assert (newer < older) is (one != other)


@given(epochs)
def test_every_active_beats_every_standby_and_fits_the_field(epoch: int) -> None:
    active = announcement_for(active=True, epoch=epoch, policy=NEWEST)
    standby = announcement_for(active=False, epoch=epoch, policy=NEWEST)
    assert active.med is not None
    assert standby.med is not None
    assert 0 < active.med < standby.med < 2**32 - 1, "some routers read the highest value as infinity"


def test_the_standby_says_the_same_in_every_epoch() -> None:
    assert {announcement_for(active=False, epoch=n, policy=NEWEST) for n in range(50)} == {
        Announcement(primary=False, med=STANDBY_MED)
    }


@pytest.mark.parametrize("active", [True, False])
def test_under_the_other_policy_no_med_is_sent(active: bool) -> None:
    """Never a mixture: a missing MED counts as 0 and would win."""
    assert announcement_for(active=active, epoch=7, policy=COMMUNITIES).med is None


@pytest.mark.parametrize("policy", BgpPolicy)
def test_the_communities_are_those_of_the_fabric(policy: BgpPolicy) -> None:
    assert announcement_for(active=True, epoch=1, policy=policy).community == (65000, 1)
    assert announcement_for(active=False, epoch=1, policy=policy).community == (65000, 2)
