"""What can go wrong with a pair, as values that hypothesis draws and that a failing example shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import strategies as st

from natpair.core.events import Verb
from natpair.core.wire import Path
from simulation.world import Link, World

NODES = ("nat-a", "nat-b")


@dataclass(frozen=True)
class Fault:
    """`wait` seconds after the one before, this happens."""

    wait: float
    text: str
    strike: Callable[[World], None]

    def __repr__(self) -> str:
        return f"after {self.wait} s {self.text}"

    def __call__(self, world: World) -> None:
        world.run(self.wait)
        world.note(f"* {self.text}")
        self.strike(world)


def _cut(world: World, path: Path, cut: bool) -> None:
    world.cut[path] = cut


def _lose(world: World, path: Path, share: float) -> None:
    world.loss[path] = share


def _restart_agent(world: World, node: str, seconds: float) -> None:
    machine = world.machines[node]
    machine.kill_agent()
    world.clock.after(seconds, machine.start_agent)


def _freeze(world: World, node: str, seconds: float) -> None:
    machine = world.machines[node]
    machine.freeze()
    world.clock.after(seconds, machine.thaw)


def _lose_disk(world: World, node: str) -> None:
    world.run(1.0)  # what it counted last has been heard
    world.machines[node].power_cut()
    world.machines[node].disk.reserved = 0
    world.machines[node].boot()


waits = st.sampled_from([0.0, 0.01, 0.05, 0.3, 0.6, 1.0, 2.5, 8.0])
nodes, paths = st.sampled_from(NODES), st.sampled_from(Path)
seconds = st.sampled_from([0.2, 0.6, 1.0])


def fault(strike: Callable[..., None], *what: st.SearchStrategy[object]) -> st.SearchStrategy[Fault]:
    name = strike.__name__.strip("_")
    return st.builds(
        lambda wait, args: Fault(wait, f"{name} {' '.join(map(str, args))}", lambda world: strike(world, *args)),
        waits,
        st.tuples(*what),
    )


def _power(world: World, node: str, on: bool) -> None:
    machine = world.machines[node]
    machine.boot() if on else machine.power_cut()


def _conntrackd(world: World, node: str) -> None:
    world.machines[node].restart_conntrackd()


def _link(world: World, node: str, path: Path, link: Link) -> None:
    world.set_link(node, path, link)


def _ask(world: World, node: str, verb: Verb, force: bool) -> None:
    world.ask(node, verb, force=force)


lossy_paths = fault(_lose, paths, st.sampled_from([0.0, 0.2, 0.5]))
network_faults = st.one_of(
    fault(_cut, paths, st.booleans()),
    lossy_paths,
    fault(_link, nodes, paths, st.sampled_from(Link)),
)
machine_faults = st.one_of(
    fault(_power, nodes, st.booleans()),
    fault(_restart_agent, nodes, seconds),
    fault(_freeze, nodes, st.sampled_from([0.3, 1.5, 5.0, 20.0])),
    fault(_conntrackd, nodes),
)
requests = fault(_ask, nodes, st.sampled_from(Verb), st.booleans())
losses_of_one_disk = fault(_lose_disk, st.just(NODES[0]))
any_fault = st.one_of(network_faults, machine_faults, requests)
