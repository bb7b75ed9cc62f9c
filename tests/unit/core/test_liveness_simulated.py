"""Stories of lasting faults, told by seed: somebody serves whenever somebody could. See also `scripts/simulate`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path as File
from random import Random

import pytest

from natpair.core.messages import Phase
from natpair.core.model import Profile
from natpair.core.wire import Path
from samples import gateway
from simulation import truth
from simulation.machine import Machine
from simulation.stories import StoryWorld, Verdict, tell
from simulation.world import Line, Link, World

ROOT = File(__file__).parents[3]
REFUSED_FOR_EVER = (290, 391, 571, 589, 590, 627, 709, 1045)
DRAINED_AND_WELL = (6, 381, 385, 870, 33, 69, 85, 93, 292, 409, 466, 723, 883, 928, 1061, 1179)
CUT_OFF_AND_DEAF = (150, 156, 340, 461, 602, 635, 669, 718, 975, 1018, 1075, 1148, 1196)
SEESAWS = (40, 111, 135, 190, 204, 205, 209, 224, 315, 323)
TWO_CLAIMANTS = (74, 326, 503, 591)
"""Seeds that showed something before the rules of ADR 0026."""
CLAIMS_AND_COUNTERCLAIMS = (400349, 500061, 501551, 600125)
DISPLACED_BY_PRIORITY = (400409, 500459, 501814, 501836)
USELESS_AND_HEARD_BY_NOBODY = (500556, 600342, 600599)
JOINS_WITHOUT_FLOWS = (501480, 601604)
LAST_WORD_OF_A_PEER_THAT_IS_GONE = (700059, 800034)
NO_REPLIES_AND_A_PEER_THAT_CLAIMS = (1000202, 1100014, 1200107)
DRAINED_BESIDE_A_DEAD_LINK = (1000222,)
CLIENTS_TAKEN_BACK = (1200322, 1300306)
EVIDENCE_LOST_ON_ITS_WAY = (1100442,)
UNAWARE_OF_NEWS = (1400079, 2100035)
VRRP_WRONG_AGAIN_AND_AGAIN = (3200405,)
REPLIES_BACK_FOR_BOTH = (3100291,)
"""Seeds that showed something later."""
SHARE = 60
"""Stories told besides, from a seed of their own."""


def told(seeds: tuple[int, ...] | range) -> list[str]:
    """What was broken, with the command that shows it."""
    found = []
    for seed in seeds:
        for violation in tell(seed).violations:
            found.append(
                f"{violation.invariant} at {violation.at:.1f} s: {violation.text}; scripts/simulate --show {seed}"
            )
    return found


@pytest.mark.parametrize(
    "seeds",
    [
        REFUSED_FOR_EVER,
        DRAINED_AND_WELL,
        CUT_OFF_AND_DEAF,
        SEESAWS,
        TWO_CLAIMANTS,
        CLAIMS_AND_COUNTERCLAIMS,
        DISPLACED_BY_PRIORITY,
        USELESS_AND_HEARD_BY_NOBODY,
        JOINS_WITHOUT_FLOWS,
        LAST_WORD_OF_A_PEER_THAT_IS_GONE,
        NO_REPLIES_AND_A_PEER_THAT_CLAIMS,
        DRAINED_BESIDE_A_DEAD_LINK,
        CLIENTS_TAKEN_BACK,
        EVIDENCE_LOST_ON_ITS_WAY,
        UNAWARE_OF_NEWS,
        VRRP_WRONG_AGAIN_AND_AGAIN,
        REPLIES_BACK_FOR_BOTH,
    ],
)
def test_stories_that_once_went_wrong(seeds: tuple[int, ...]) -> None:
    assert told(seeds) == []


@pytest.mark.parametrize("part", range(4))
def test_a_share_of_all_stories(part: int) -> None:
    begin = 100_000 + part * SHARE // 4
    assert told(range(begin, begin + SHARE // 4)) == []


def test_a_seed_tells_the_same_story_each_time() -> None:
    assert tell(7).history == tell(7).history


def test_the_script_prints_one_story_and_a_report() -> None:
    shown = subprocess.run(
        [sys.executable, ROOT / "scripts/simulate", "--show", "3"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "seed 3: 0 violations" in shown.stdout
    many = subprocess.run(
        [sys.executable, ROOT / "scripts/simulate", "0", "3", "--json", "--processes", "1"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    report = json.loads(many.stdout)
    assert (report["stories"], report["violations"]) == (3, {})


# --- the checks can say no


def deaf(machine: Machine) -> None:
    machine.handle = lambda event: None  # type: ignore[method-assign]


def started(seed: int = 1) -> StoryWorld:
    world = StoryWorld(Verdict(seed), Random(seed))  # noqa: S311 - chance that can be replayed
    for machine in world.machines.values():
        machine.boot()
    world.settle()
    world.checking = True
    return world


def broken(world: StoryWorld) -> set[str]:
    return {violation.invariant for violation in world.verdict.violations}


def test_nobody_who_serves_though_one_could_is_noticed() -> None:
    world = started()
    ((active, standby),) = world.at_rest()
    deaf(standby)
    world.set_link(active.name, Path.PUBLIC, Link.DEAD)
    world.run(truth.i13_seconds(world) - 1)
    assert broken(world) == set()
    world.run(3)
    assert broken(world) == {"I13"}


def _uplink(world: World, name: str) -> None:
    world.set_link(name, Path.PUBLIC, Link.DEAD)


def _vlan(world: World, name: str) -> None:
    world.set_link(name, Path.PRIVATE, Link.DOWN)


def _ruleset(world: World, name: str) -> None:
    world.machines[name].loadable = False


def _keepalived(world: World, name: str) -> None:
    world.machines[name].hang_keepalived()


def _agent(world: World, name: str) -> None:
    world.machines[name].kill_agent()


def _standstill(world: World, name: str) -> None:
    world.machines[name].freeze()


@pytest.mark.parametrize("fault", [_uplink, _vlan, _ruleset, _keepalived, _agent, _standstill])
def test_a_node_with_a_fault_of_its_own_could_not_serve(fault: Callable[[World, str], None]) -> None:
    world = started()
    ((_, standby),) = world.at_rest()
    assert truth.could_serve(world, standby)
    fault(world, standby.name)
    assert not truth.could_serve(world, standby)


def test_what_no_protocol_could_know_is_named() -> None:
    world = started()
    ((active, standby),) = world.at_rest()
    assert not truth.nobody_can_know(world, standby)
    world.set_link(active.name, Path.PRIVATE, Link.DEAD)
    assert not truth.nobody_can_know(world, standby)
    world.clients = 0
    assert truth.nobody_can_know(world, standby) == "no client answers"
    world.set_link(active.name, Path.PRIVATE, Link.UP)
    active.kill_agent()
    assert truth.nobody_can_know(world, standby) == "the master's agent is away"


def test_two_claimants_are_noticed() -> None:
    world = started()
    for machine in world.machines.values():
        machine.replace_state(phase=Phase.ACTIVE)
        deaf(machine)
    world.run(3.5)
    assert "I2" in broken(world)


def test_bounds_are_twice_as_large_only_where_most_packets_are_lost_and_not_all() -> None:
    world = World(gateway())
    usual = (truth.i2_seconds(world), truth.i13_seconds(world), truth.flaps_borne(world))
    for loss, factor in ((0.0, 1), (0.5, 1), (0.9, 2), (1.0, 1)):
        world.lines["nat-a", Path.PUBLIC] = world.lines["nat-a", Path.PRIVATE] = Line(loss=loss)
        found = (truth.i2_seconds(world), truth.i13_seconds(world), truth.flaps_borne(world))
        assert found == tuple(factor * bound for bound in usual)
    world.lines["nat-a", Path.PRIVATE] = Line(loss=0.9)
    world.lines["nat-a", Path.PUBLIC] = Line()
    assert truth.i2_seconds(world) == usual[0], "one good path is enough"


def test_a_seesaw_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(truth, "FLAPS", -1)
    assert {violation.invariant for violation in tell(3).violations} == {"flaps"}


def test_more_promotions_are_borne_only_where_adverts_come_later_than_vrrp_can_wait() -> None:
    for profile, jitter, borne in ((Profile.BALANCED, 1.0, 3), (Profile.FAST, 0.1, 3), (Profile.FAST, 0.3, 6)):
        world = World(gateway(('profile = "balanced"', f'profile = "{profile}"')))
        world.lines["nat-a", Path.PRIVATE] = Line(extra=jitter)
        assert truth.flaps_borne(world) == borne


def test_the_bound_grows_only_with_a_long_hold_time() -> None:
    bounds = {
        profile: truth.i13_seconds(World(gateway(('profile = "balanced"', f'profile = "{profile}"'))))
        for profile in Profile
    }
    assert bounds == {Profile.FAST: 10.0, Profile.BALANCED: 10.0, Profile.CONSERVATIVE: 16.0}
