"""What both nodes lose, and get back, each notices at another moment: a peer that only looks better gets no role."""

from __future__ import annotations

from dataclasses import replace

import pytest

from natpair.core.actions import WakeAt
from natpair.core.comparison import CARRIER_SPREAD
from natpair.core.events import Event, HealthRead, Tick
from natpair.core.health import Health
from natpair.core.machine import step
from natpair.core.messages import Phase
from natpair.core.state import NodeState, Terms
from nodes import NO_BGP, TERMS, WELL, active, changed, hears, says
from samples import gateway
from script import Line, at, play

HOLD, NOTICE, BEAT = TERMS["nat-a"].hold, TERMS["nat-a"].notice, 0.5
NO_CARRIER, NO_GATEWAY = replace(WELL, public_up=False), replace(WELL, gateway=False)
NOTHING_OUTSIDE = replace(NO_BGP, public_up=False, gateway=False)
READY, UNREADY = hears(Phase.STANDBY), hears(Phase.STANDBY, ready=False, synced=False)


def beats(event: Event, begin: float, end: float) -> list[Line]:
    """The same word again and again, as a peer's agent says it."""
    return [at(begin + n * BEAT, event) for n in range(1, int((end - begin) / BEAT) + 1) if begin + n * BEAT < end]


def long_ill(health: Health) -> NodeState:
    """nat-a has served for a minute without what `health` lacks, beside a peer that was no better."""
    said = says(Phase.STANDBY, ready=False, synced=False)
    state = active(said=said, health=health, unfit_at=0.0, bgp_lost_at=0.0 if not health.bgp.established else None)
    return play(state, *beats(UNREADY, 0.0, 20.0))


# --- losing it


def test_a_peer_that_misses_its_gateway_too_is_no_better() -> None:
    suspect = hears(Phase.STANDBY, suspect=True)
    state = play(active(said=suspect.message), at(0.1, HealthRead(NO_GATEWAY)))
    assert play(state, at(0.2, suspect)).phase is Phase.ACTIVE
    play(state, at(0.2, READY, Phase.YIELDING))


def test_an_active_without_route_servers_waits_whether_its_peer_loses_them_too() -> None:
    state = play(active(), at(0.1, HealthRead(NO_BGP)), *beats(READY, 0.1, 0.1 + HOLD))
    play(state, at(0.1 + HOLD, READY, Phase.YIELDING))


def test_route_servers_that_come_back_in_time_change_nothing() -> None:
    state = play(active(), at(0.1, HealthRead(NO_BGP)), *beats(READY, 0.1, HOLD), at(HOLD, HealthRead(WELL)))
    play(state, *beats(READY, HOLD, 2 * HOLD + 1))


@pytest.mark.parametrize("also", [{"gateway": False}, {"unrepaired": ("ruleset",)}, {"ruleset": False}])
def test_route_servers_are_not_waited_for_when_more_is_wrong(also: dict[str, object]) -> None:
    sick = changed(NO_BGP, **also)
    play(active(), at(0.1, HealthRead(sick), Phase.YIELDING))


def test_a_node_that_never_had_a_session_is_not_waited_for() -> None:
    state = active(health=NO_BGP, said=says(Phase.STANDBY))
    play(state, at(0.1, Tick(), Phase.YIELDING))


def test_a_peer_whose_carrier_goes_at_the_same_time_is_no_better() -> None:
    play(active(), at(0.1, HealthRead(NO_CARRIER)), at(0.15, UNREADY), *beats(UNREADY, 0.15, 20.0))


def test_one_whose_carrier_stays_gets_the_role_a_moment_later() -> None:
    ill = step(active(), HealthRead(NO_CARRIER), 0.1)
    assert WakeAt(0.1 + CARRIER_SPREAD) in ill.actions, "not only at the next beat"
    play(ill.state, at(0.15, READY), at(0.1 + CARRIER_SPREAD, Tick(), Phase.YIELDING))


def test_a_carrier_is_not_waited_for_when_the_machine_itself_is_ill() -> None:
    play(active(), at(0.1, HealthRead(replace(NO_CARRIER, ruleset=False)), Phase.YIELDING))


# --- getting it back

BACK = [(NO_BGP, HOLD), (NO_GATEWAY, NOTICE), (NO_CARRIER, NOTICE), (NOTHING_OUTSIDE, NOTICE)]


@pytest.mark.parametrize(("missing", "spread"), BACK)
def test_a_peer_that_has_it_back_first_is_no_better_yet(missing: Health, spread: float) -> None:
    early = play(long_ill(missing), at(20.0, READY), *beats(READY, 20.0, 20.0 + spread))
    assert early.phase is Phase.ACTIVE
    play(early, at(20.0 + spread - 0.01, HealthRead(WELL)), *beats(READY, 20.0 + spread, 40.0))
    play(early, at(20.0 + spread, READY, Phase.YIELDING))


@pytest.mark.parametrize(("missing", "spread"), BACK)
def test_a_peer_that_comes_and_goes_is_never_better(missing: Health, spread: float) -> None:
    state = long_ill(missing)
    for n in range(5):
        begin = 20.0 + n * spread
        state = play(state, at(begin, READY), *beats(READY, begin, begin + spread - 0.2))
        state = play(state, at(begin + spread - 0.1, UNREADY))


@pytest.mark.parametrize(("missing", "spread"), BACK)
def test_what_a_peer_said_before_it_fell_silent_does_not_count(missing: Health, spread: float) -> None:
    state = play(long_ill(missing), at(20.0, READY), at(20.0 + 2 * spread, READY))
    play(state, *beats(READY, 20.0 + 2 * spread, 20.0 + 3 * spread), at(20.0 + 3 * spread, READY, Phase.YIELDING))


@pytest.mark.parametrize("own", [{"ruleset": False}, {"unrepaired": ("ruleset",)}])
def test_an_illness_of_its_own_gives_the_role_to_a_peer_that_has_just_become_ready(own: dict[str, object]) -> None:
    play(long_ill(changed(NO_BGP, **own)), at(20.0, READY, Phase.YIELDING))


@pytest.mark.parametrize(("extra", "notice"), [("", 1.0), ("[health]\nprobe_interval_ms = 2000\n", 4.0)])
def test_slow_probes_are_waited_for_longer(extra: str, notice: float) -> None:
    assert Terms.of(gateway(extra=extra), "nat-a", "x").notice == notice
