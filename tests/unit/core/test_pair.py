"""Two nodes, simulated: whatever happens to them, they end as a pair, and never both serve for long."""

from __future__ import annotations

import pytest
from hypothesis import Phase as Stage
from hypothesis import given, settings
from hypothesis import strategies as st

from natpair.core.comparison import CARRIER_SPREAD
from natpair.core.events import Verb
from natpair.core.handover import ARRIVAL_LIMIT
from natpair.core.messages import Phase, VrrpRole
from natpair.core.model import Gateway, Profile
from natpair.core.rules import ASK_ALIVE
from natpair.core.wire import Path
from samples import gateway
from simulation.faults import (
    Fault,
    any_fault,
    losses_of_one_disk,
    lossy_paths,
    machine_faults,
    network_faults,
    requests,
)
from simulation.machine import HEALTH_SECONDS, Machine
from simulation.world import TWO_CLAIMANTS_SECONDS, Broken, Link, World

GATEWAYS: dict[Profile, Gateway] = {
    profile: gateway(('profile = "balanced"', f'profile = "{profile}"')) for profile in Profile
}
# A failing story is short enough to read; shrinking it would take minutes.
examples = settings(max_examples=25, phases=(Stage.explicit, Stage.reuse, Stage.generate))


def started(profile: Profile = Profile.BALANCED, seed: int = 0, converge: float | None = 0.02) -> World:
    """A pair that has found its first active node."""
    world = World(GATEWAYS[profile], seed, converge_seconds=converge)
    for machine in world.machines.values():
        machine.boot()
    world.settle()
    return world


def live(world: World, faults: list[Fault]) -> None:
    """Strike, recover, come to rest; the world itself watches for two claimants."""
    for fault in faults:
        fault(world)
    world.run(0.5)
    world.recover()
    active, standby = world.settle()
    check_rest(world, active.name, standby.name)


def check_rest(world: World, active: str, standby: str) -> None:
    serving, waiting = world.machines[active].state, world.machines[standby].state
    assert serving is not None
    assert waiting is not None
    epochs = [promotion.epoch for promotion in world.promotions]
    story = "\n".join(world.history)
    assert len(set(epochs)) == len(epochs), f"two promotions tie\n{story}"
    assert all(p.epoch >= p.known for p in world.promotions), f"a promotion below one it knew of\n{story}"
    assert waiting.resync.flushed_for == serving.epoch, f"the standby owes the flush\n{story}"
    assert serving.epoch in world.machines[standby].abandoned
    ours, theirs = serving.announcement(), waiting.announcement()
    assert (ours.primary, theirs.primary) == (True, False)
    assert ours.med is not None
    assert theirs.med is not None
    assert ours.med < theirs.med


seeds, profiles = st.integers(0, 2**16), st.sampled_from(Profile)
converge = st.sampled_from([None, 0.02, 0.5, 3.0])


@examples
@given(seeds, profiles, converge, st.lists(any_fault, max_size=8))
def test_whatever_happens_a_pair_recovers(
    seed: int, profile: Profile, converge: float | None, faults: list[Fault]
) -> None:
    live(started(profile, seed, converge), faults)


@examples
@given(seeds, profiles, st.lists(network_faults, min_size=2, max_size=8))
def test_whatever_the_network_does_the_last_one_to_serve_has_the_lowest_med(
    seed: int, profile: Profile, faults: list[Fault]
) -> None:
    world = started(profile, seed)
    live(world, faults)
    ((active, _),) = world.at_rest()
    assert active.state is not None
    lowest = active.state.announcement().med
    assert lowest is not None
    assert all(lowest <= promotion.med for promotion in world.promotions if promotion.med is not None)


@examples
@given(seeds, profiles, st.lists(machine_faults, min_size=2, max_size=6))
def test_whatever_fails_in_the_machines_a_pair_recovers(seed: int, profile: Profile, faults: list[Fault]) -> None:
    live(started(profile, seed), faults)


@examples
@given(seeds, profiles, st.lists(st.one_of(losses_of_one_disk, lossy_paths, requests), min_size=2, max_size=6))
def test_one_disk_that_is_lost_again_and_again_never_makes_a_tie(
    seed: int, profile: Profile, faults: list[Fault]
) -> None:
    """What one has counted the other has heard. Of two lost disks, or behind a cut of both paths, nobody could know."""
    live(started(profile, seed), faults)


@examples
@given(seeds, profiles, converge, st.lists(requests, max_size=8))
def test_whatever_operators_ask_every_request_has_its_end_and_somebody_serves(
    seed: int, profile: Profile, converge: float | None, asked: list[Fault]
) -> None:
    world = started(profile, seed, converge)
    live(world, asked)
    world.run(15)
    for machine in world.machines.values():
        assert machine.state is not None
        assert machine.state.request is None
        numbers = [reply.number for reply in machine.replies]
        assert len(set(numbers)) == len(numbers)


parts, first_is_active = st.floats(0, 1), st.booleans()


def unmoved(world: World, promoted: int) -> None:
    assert len(world.promotions) == promoted, "\n".join(world.history)


@examples
@given(seeds, profiles, parts, first_is_active, parts, first_is_active, st.sampled_from([1, 2, 10]))
def test_route_servers_that_are_away_for_both_move_no_role(
    seed: int, profile: Profile, gone: float, active_loses: bool, back: float, active_regains: bool, holds: float
) -> None:
    """Hold timers run out up to a third of the hold time apart (RFC 4271 section 4.4); sessions come back in turn.

    Away for longer than BGP_GRACE: a standby that never said that it lost them was the better one.
    """
    world = started(profile, seed)
    (pair,) = world.at_rest()
    promoted, hold = len(world.promotions), pair[0].terms.hold
    first, second = pair if active_loses else reversed(pair)
    first.lose_servers()
    world.run(gone * hold / 3)
    second.lose_servers()
    world.run(holds * hold)
    first, second = pair if active_regains else reversed(pair)
    first.regain_servers()
    world.run(back * (hold - 0.5))
    second.regain_servers()
    world.run(3 * hold)
    unmoved(world, promoted)


@examples
@given(seeds, profiles, st.sampled_from([Link.DOWN, Link.DEAD]), parts, first_is_active, parts, first_is_active)
def test_uplinks_that_are_away_for_both_at_once_move_no_role(
    seed: int, profile: Profile, how: Link, gone: float, active_loses: bool, back: float, active_regains: bool
) -> None:
    """As when their common switch starts anew."""
    world = started(profile, seed)
    (pair,) = world.at_rest()
    promoted = len(world.promotions)
    first, second = pair if active_loses else reversed(pair)
    world.set_link(first.name, Path.PUBLIC, how)
    world.run(gone * CARRIER_SPREAD / 2)
    world.set_link(second.name, Path.PUBLIC, how)
    world.run(20)
    first, second = pair if active_regains else reversed(pair)
    world.set_link(first.name, Path.PUBLIC, Link.UP)
    world.run(back * HEALTH_SECONDS / 2)
    world.set_link(second.name, Path.PUBLIC, Link.UP)
    world.run(20)
    unmoved(world, promoted)


@pytest.mark.parametrize("profile", Profile)
def test_an_uplink_or_route_servers_that_only_the_active_loses_move_the_role_once(profile: Profile) -> None:
    for how in (Link.DOWN, Link.DEAD):
        world = started(profile)
        active, standby = pair_of(world)
        world.set_link(active.name, Path.PUBLIC, how)
        world.run(0.5 if how is Link.DOWN else 3.0)
        assert world.claimants() == [standby], how
    world = started(profile)
    active, standby = pair_of(world)
    active.lose_servers()
    world.run(active.terms.hold - 0.1)
    assert world.claimants() == [active]
    world.run(1.5)
    assert world.claimants() == [standby]


@settings(max_examples=10)
@given(seeds, profiles)
def test_two_that_boot_together_become_a_pair(seed: int, profile: Profile) -> None:
    world = started(profile, seed)
    assert world.clock.now < 3 * GATEWAYS[profile].timing.detect_ms / 1000 + 6


# --- single stories with their figures


@pytest.fixture
def world() -> World:
    return started()


def pair_of(world: World) -> tuple[Machine, Machine]:
    ((active, standby),) = world.at_rest()
    return active, standby


def phases(world: World, since: int) -> list[str]:
    return [line.split(": ")[1].split(" (")[0] for line in world.history[since:] if " -> " in line]


@pytest.mark.parametrize("profile", Profile)
def test_power_cut(profile: Profile) -> None:
    """From the cut to the promotion: what VRRP needs, and the challenge, heard a moment ago or not."""
    world = started(profile)
    active, standby = pair_of(world)
    begun, detect = world.clock.now, GATEWAYS[profile].timing.detect_ms / 1000
    active.power_cut()
    world.run(1.2 * detect + ASK_ALIVE + 0.01)
    assert standby.state is not None
    assert standby.state.phase is Phase.ACTIVE
    assert world.promotions[-1].time - begun <= 1.2 * detect + ASK_ALIVE
    active.boot()
    assert world.settle()[0] is standby, "the old node joins without taking the role"


def test_a_dead_vlan_link_of_the_standby_changes_nothing(world: World) -> None:
    active, standby = pair_of(world)
    begun = len(world.promotions)
    world.set_link(standby.name, Path.PRIVATE, Link.DEAD)
    world.run(30)
    assert len(world.promotions) == begun
    assert active.keepalived.role is VrrpRole.MASTER
    world.recover()
    assert world.settle()[0] is active


@pytest.mark.parametrize("how", [Link.DEAD, Link.DOWN])
def test_a_dead_vlan_link_of_the_active_moves_the_role(world: World, how: Link) -> None:
    active, standby = pair_of(world)
    world.set_link(active.name, Path.PRIVATE, how)
    world.run(1.0)
    assert [machine.name for machine in world.claimants()] == [standby.name]


@pytest.mark.parametrize("how", [Link.DEAD, Link.DOWN])
def test_a_dead_uplink_of_the_active_moves_the_role(world: World, how: Link) -> None:
    active, standby = pair_of(world)
    world.set_link(active.name, Path.PUBLIC, how)
    world.run(4.0)
    assert [machine.name for machine in world.claimants()] == [standby.name]


def test_the_internet_away_for_both_takes_neither_down(world: World) -> None:
    """The one whose gateway counts as gone first does not hand over to one that has missed an answer, too."""
    active, standby = pair_of(world)
    begun = len(world.promotions)
    for machine in (active, standby):
        world.set_link(machine.name, Path.PUBLIC, Link.DEAD)
    world.run(2)
    for _ in range(60):
        world.run(1)
        assert len(world.claimants()) == 1
    assert len(world.promotions) == begun


def test_a_vlan_cut_between_the_nodes_never_leaves_two_claimants(world: World) -> None:
    active, _ = pair_of(world)
    world.cut[Path.PRIVATE] = True
    world.run(130)
    assert world.claimants() == [active]
    world.recover()
    assert world.settle()[0] is active


def test_after_a_full_partition_the_newer_stays(world: World) -> None:
    active, standby = pair_of(world)
    world.cut = dict.fromkeys(Path, True)
    world.run(20)
    assert {machine.name for machine in world.claimants()} == {active.name, standby.name}
    world.recover()
    world.run(TWO_CLAIMANTS_SECONDS)
    assert world.claimants() == [standby]
    assert world.settle()[0] is standby


@pytest.mark.parametrize("profile", Profile)
def test_an_agent_that_restarts_on_the_active_changes_nothing(profile: Profile) -> None:
    world = started(profile)
    active, _ = pair_of(world)
    begun = len(world.history)
    active.kill_agent()
    world.run(0.3)
    active.start_agent()
    world.run(20)
    assert phases(world, begun) == []
    assert pair_of(world)[0] is active


def test_without_its_agent_a_standby_is_out_of_the_election(world: World) -> None:
    active, standby = pair_of(world)
    standby.kill_agent()
    active.power_cut()
    world.run(5)
    assert standby.keepalived.role is VrrpRole.FAULT
    standby.start_agent()
    world.run(10)
    assert world.claimants() == [standby]


@pytest.mark.parametrize("seconds", [2.0, 60.0])
def test_a_frozen_active_finds_that_the_world_moved_on(world: World, seconds: float) -> None:
    active, standby = pair_of(world)
    active.freeze()
    world.run(seconds)
    active.thaw()
    world.run(0.2)
    assert world.claimants() == [standby]
    assert world.settle()[0] is standby


@pytest.mark.parametrize("profile", Profile)
@pytest.mark.parametrize("converge", [None, 0.02, 0.5, 3.0])
def test_switchover_and_back(profile: Profile, converge: float | None) -> None:
    world = started(profile, converge=converge)
    for _ in range(2):
        active, standby = pair_of(world)
        begun = len(world.history)
        world.ask(active.name, Verb.SWITCHOVER)
        world.run(ARRIVAL_LIMIT + 1.5)
        assert [reply.ok for reply in active.replies] == [True]
        active.replies.clear()
        assert standby.state is not None
        assert standby.state.phase is Phase.ACTIVE
        assert phases(world, begun) == [
            "active -> handing-over",
            "standby -> preparing",
            "preparing -> active",
            "handing-over -> standby",
        ]
        world.settle()


def test_a_request_of_the_standby_is_granted_and_answered_there(world: World) -> None:
    active, standby = pair_of(world)
    world.ask(standby.name, Verb.SWITCHOVER)
    world.run(2)
    assert [reply.ok for reply in standby.replies] == [True]
    assert active.replies == []
    assert world.settle()[0] is standby


def test_a_taker_that_dies_leaves_the_old_active_active(world: World) -> None:
    world.converge_seconds = None  # so that there is time to die in
    active, standby = pair_of(world)
    epoch = active.state.epoch if active.state else 0
    world.ask(active.name, Verb.SWITCHOVER)
    world.run(0.5)
    standby.power_cut()
    world.run(3)
    assert [reply.ok for reply in active.replies] == [False]
    assert world.claimants() == [active]
    assert active.state is not None
    assert active.state.epoch > epoch + 1, "above what the dead taker has announced"
    standby.boot()
    assert world.settle()[0] is active


def test_a_giver_that_dies_is_followed_at_once(world: World) -> None:
    world.converge_seconds = None
    active, standby = pair_of(world)
    world.ask(active.name, Verb.SWITCHOVER)
    world.run(0.5)
    active.power_cut()
    world.run(1)
    assert world.claimants() == [standby]


def test_a_drained_active_gives_the_role_away_and_does_not_take_it_back(world: World) -> None:
    active, standby = pair_of(world)
    world.ask(active.name, Verb.DRAIN)
    world.run(5)
    assert active.state is not None
    assert active.state.phase is Phase.DRAINED
    assert world.claimants() == [standby]
    world.ask(active.name, Verb.UNDRAIN)
    assert world.settle()[0] is standby


def test_a_drained_node_serves_when_it_is_the_only_one(world: World) -> None:
    active, standby = pair_of(world)
    world.ask(standby.name, Verb.DRAIN)
    world.run(1)
    active.power_cut()
    world.run(GATEWAYS[Profile.BALANCED].timing.bgp_hold_seconds + 3)
    assert world.claimants() == [standby]
    active.boot()
    world.run(20)
    assert world.claimants() == [active], "and gives the role back as soon as there is another"


# --- the watch itself can complain


def deaf(machine: Machine) -> None:
    machine.handle = lambda event: None  # type: ignore[method-assign]


def two_claimants() -> World:
    world = started()
    for machine in world.machines.values():
        machine.replace_state(phase=Phase.ACTIVE)
        deaf(machine)
    return world


# --- the corners


def transitions(world: World, since: int) -> int:
    return sum("-> active" in line for line in world.history[since:])


def test_a_standby_that_lost_its_copy_while_the_vlan_was_cut_gets_it_back_at_once(world: World) -> None:
    _, standby = pair_of(world)
    world.cut[Path.PRIVATE] = True
    world.run(2)
    standby.restart_conntrackd()
    standby.flows = 0
    world.run(15)
    world.cut[Path.PRIVATE] = False
    world.run(2)
    assert standby.state is not None
    assert standby.state.synced(world.clock.now)


@pytest.mark.parametrize("how", [Link.DOWN, Link.DEAD])
@pytest.mark.parametrize("path", list(Path))
def test_a_link_that_flaps_for_a_minute_moves_the_role_twice_at_most(world: World, path: Path, how: Link) -> None:
    active, _ = pair_of(world)
    since = len(world.history)
    for _ in range(60):
        world.set_link(active.name, path, how)
        world.run(0.5)
        world.set_link(active.name, path, Link.UP)
        world.run(0.5)
    assert transitions(world, since) <= 2, "\n".join(world.history[since:])
    world.settle()


def test_two_uplinks_that_fail_in_turns_do_not_move_the_role_each_time(world: World) -> None:
    """Twenty failures in a minute, each of them real, and the other well each time."""
    since, (one, other) = len(world.history), pair_of(world)
    for _ in range(10):
        for machine in (one, other):
            world.set_link(machine.name, Path.PUBLIC, Link.DOWN)
            world.run(2.5)
            world.set_link(machine.name, Path.PUBLIC, Link.UP)
            world.run(0.5)
    assert 2 <= transitions(world, since) <= 12, "\n".join(world.history[since:])


def test_of_two_nodes_of_which_one_never_gets_an_agent_the_other_serves_whatever_the_priorities() -> None:
    world = World(GATEWAYS[Profile.BALANCED])
    higher, lower = world.machines["nat-a"], world.machines["nat-b"]
    higher.start_agent = lambda: None  # type: ignore[method-assign]
    higher.boot()
    higher.keepalived.boost = 10
    lower.boot()
    world.run(15)
    assert world.claimants() == [lower]
    assert higher.keepalived.role is VrrpRole.FAULT


def test_with_the_vlan_cut_and_the_actives_agent_dead_two_claim_the_role_until_the_agent_is_back(world: World) -> None:
    active, standby = pair_of(world)
    active.kill_agent()
    world.cut[Path.PRIVATE] = True
    world.run(3)
    assert world.claimants() == [standby], "nobody speaks for the other, whose packets flow on"
    active.start_agent()
    world.run(1)
    assert world.claimants() == [standby], "the newer promotion is heard on the public path"


def test_a_taker_that_dies_with_the_vip_in_the_air_costs_the_time_of_an_election(world: World) -> None:
    active, standby = pair_of(world)
    began = len(world.history)
    world.ask(active.name, Verb.SWITCHOVER)
    while active.state is not None and not (active.state.handover and active.state.handover.released_at):
        world.run(0.005)
    standby.power_cut()
    at = world.clock.now
    while active.keepalived.role is not VrrpRole.MASTER:
        world.run(0.01)
        assert world.clock.now - at < 1.5, "\n".join(world.history[began:])
    world.run(1)
    assert world.claimants() == [active]
    assert [phase for phase in phases(world, began) if "standby" in phase and "active" in phase] == []


@pytest.mark.parametrize("reserved", [0, 3, 2**28])
def test_a_stale_or_lost_epoch_file_on_either_node_never_makes_a_tie(world: World, reserved: int) -> None:
    for machine in pair_of(world):
        world.run(1.0)
        machine.power_cut()
        machine.disk.reserved = reserved
        machine.boot()
        check_rest(world, *(m.name for m in world.settle()))


# --- the watch itself can say no


def test_two_claimants_are_noticed() -> None:
    with pytest.raises(Broken, match="two claimants"):
        two_claimants().run(TWO_CLAIMANTS_SECONDS + 0.1)


def test_two_claimants_between_whom_nothing_gets_through_are_not_held_against_them() -> None:
    world = two_claimants()
    world.cut = dict.fromkeys(Path, True)
    world.run(60)


def test_a_pair_that_does_not_come_to_rest_is_noticed(world: World) -> None:
    _, standby = pair_of(world)
    deaf(standby)
    standby.replace_state(phase=Phase.FAULT)
    with pytest.raises(Broken, match="not at rest"):
        world.settle(5)
