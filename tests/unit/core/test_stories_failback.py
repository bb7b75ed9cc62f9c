"""The role goes back to the preferred node only if that is configured, and only when the node has long been fit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from natpair.core.account import Account, Work
from natpair.core.events import Tick
from natpair.core.machine import step
from natpair.core.messages import Phase
from natpair.core.state import NodeState, Terms
from nodes import HASH, active, changed, hears, says
from samples import gateway

DELAY = 60.0


def terms(prefer: str = "nat-b", seconds: str = "\nfailback_seconds = 60") -> Terms:
    wanted = gateway(('profile = "balanced"', f'profile = "balanced"\nprefer = "{prefer}"{seconds}'))
    return Terms.of(wanted, "nat-a", HASH)


def lived(state: NodeState, until: float, *, silent: tuple[float, float] = (0, 0), unfit_at: float = -1) -> NodeState:
    """nat-a after hearing its standby four times a second until a moment, but for a silence and one unfit message."""
    now = 0.0
    while now < until and state.phase is Phase.ACTIVE:
        if not silent[0] <= now < silent[1]:
            state = step(state, hears(Phase.STANDBY, ready=now != unfit_at), now).state
        state = step(state, Tick(), now).state
        now += 0.25
    return replace(state, since=now) if state.phase is not Phase.ACTIVE else state


def begin(**changes: str) -> NodeState:
    return active(terms=terms(**changes), said=says(Phase.STANDBY))


def test_after_the_delay_the_role_goes_back() -> None:
    assert lived(begin(), DELAY - 1).phase is Phase.ACTIVE
    gone = lived(begin(), DELAY + 1)
    assert gone.phase is Phase.HANDING_OVER
    assert gone.handover is not None


@pytest.mark.parametrize("changes", [{"prefer": "nat-a"}, {"seconds": ""}])
def test_never_to_another_and_never_unless_configured(changes: dict[str, str]) -> None:
    assert lived(begin(**changes), 3 * DELAY).phase is Phase.ACTIVE


def test_a_moment_of_unfitness_or_silence_counts_the_delay_anew() -> None:
    assert lived(begin(), DELAY + 20, unfit_at=30.0).phase is Phase.ACTIVE
    assert lived(begin(), DELAY + 32, unfit_at=30.0).phase is Phase.HANDING_OVER
    assert lived(begin(), DELAY + 20, silent=(30.0, 32.0)).phase is Phase.ACTIVE


def test_the_delay_begins_with_the_promotion() -> None:
    late = changed(begin(), since=100.0, peer_fit_since=0.0)
    assert step(late, hears(Phase.STANDBY), 120.0).state.phase is Phase.ACTIVE


def test_not_to_a_node_that_the_provider_is_about_to_take_away() -> None:
    work = Work(key="m1", node="nat-b", what="maintenance", begins_at=9999.0)
    ahead = replace(begin(), account=Account(planned=(work,)))
    assert lived(ahead, DELAY + 5).phase is Phase.ACTIVE
