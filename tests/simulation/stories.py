"""Stories drawn by seed: up to ten faults that last, checked while they last, then recovered and checked again.

The same seed tells the same story. `tell` returns what was broken; it raises nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from random import Random

from natpair.core.actions import Journal
from natpair.core.events import Verb
from natpair.core.messages import Phase
from natpair.core.model import Gateway, Profile
from natpair.core.state import NodeState
from natpair.core.wire import Path
from samples import gateway
from simulation import truth
from simulation.machine import Machine
from simulation.world import Broken, Line, Link, World

LASTING_SECONDS = 38.0
CALM_SECONDS = 14.0
"""After the last fault, until promotions count as flapping."""
WATCH_SECONDS = 0.1
_SETTLE_SECONDS = 90.0
_NODES = ("nat-a", "nat-b")
_WAITS = (0.0, 0.01, 0.05, 0.3, 0.6, 1.0, 2.5, 8.0)
_AWAY = (0.3, 1.0, 6.0, 20.0, 90.0, 1e9)
"""Seconds for which something is away; the last means until all is recovered."""

Strike = Callable[[World], None]


@dataclass(frozen=True)
class Violation:
    """`invariant`: I2, I13, recovers, flaps, replies, or crash. `at`: seconds of the world's clock."""

    invariant: str
    at: float
    text: str


@dataclass
class Verdict:
    """What a story showed. `excused`: seconds-long outages that no protocol could have ended, by reason."""

    seed: int
    violations: list[Violation] = field(default_factory=list)
    promotions: int = 0
    late_promotions: int = 0
    simulated_seconds: float = 0.0
    excused: dict[str, int] = field(default_factory=dict)
    history: list[str] = field(default_factory=list)


@cache
def _gateway(profile: Profile) -> Gateway:
    return gateway(('profile = "balanced"', f'profile = "{profile}"'))


class StoryWorld(World):
    """Notes what is broken in its verdict, and goes on."""

    def __init__(self, verdict: Verdict, chance: Random) -> None:
        profile = chance.choices([Profile.FAST, Profile.BALANCED, Profile.CONSERVATIVE], [1, 12, 7])[0]
        other = chance.choice(list(Profile)[1:]) if chance.random() < 0.1 else None
        converge = chance.choice([None, 0.02, 0.02, 0.5, 3.0])
        second = _gateway(other) if other is not None else None
        super().__init__(
            _gateway(profile), verdict.seed, converge_seconds=converge, other=second, watch_seconds=WATCH_SECONDS
        )
        self.verdict = verdict
        self.checking = False
        self.struck_at = 0.0
        """The last fault, which begins every wait anew."""
        self._able_since: dict[str, float] = {}
        self._unserved_since: float | None = None
        self._told = False
        self._settling = 0.0
        self._moves_for_replies: list[tuple[float, str]] = []
        self.note(f"profile {profile}{f' and {other}' if other else ''}")

    def broken(self, invariant: str, text: str) -> None:
        self.verdict.violations.append(Violation(invariant, self.clock.now, text))
        self.note(f"!!! {invariant}: {text}")

    def recover(self) -> None:
        self.struck_at = self.clock.now
        super().recover()

    def _moved(self, node: str, journal: Journal, state: NodeState) -> None:
        """The role moves once because no replies come back: what did not help is not tried again."""
        super()._moved(node, journal, state)
        if journal.after is not Phase.YIELDING or "no replies come back" not in journal.cause:
            return
        self._moves_for_replies.append((self.clock.now, node))
        known_since = max(self.struck_at, *(machine.started_at for machine in self.machines.values()))
        if len({giver for at, giver in self._moves_for_replies if at >= known_since}) > 1:
            self.broken("replies", "the role moved back although no packets came back there either")

    def _watch(self) -> None:
        truth.note_vain(self)
        self._watch_claimants()
        self._watch_service()

    def _watch_claimants(self) -> None:
        claimants = [m for m in self.claimants() if not m.stalled]
        if len(claimants) < 2 or not all(truth.hears(self, machine) for machine in claimants):
            self._both_since = None
            return
        since = self._both_since = self.clock.now if self._both_since is None else self._both_since
        if self.clock.now - since > (bound := truth.i2_seconds(self)):
            self._both_since = float("inf")
            self.broken("I2", f"two claimants for more than {bound:g} s")

    def _watch_service(self) -> None:
        now = self.clock.now
        for machine in self.machines.values():
            able = truth.could_serve(self, machine) and not self._excused(machine)
            if not able:
                self._able_since.pop(machine.name, None)
            else:
                self._able_since.setdefault(machine.name, now)
        if not self.checking or truth.served(self):
            self._unserved_since, self._told = None, False
            return
        since = self._unserved_since = now if self._unserved_since is None else self._unserved_since
        bound = truth.i13_seconds(self)
        self._settling = max(self._settling, truth.settling_since(self))
        begun = max(since, self.struck_at, self._settling)
        late = [name for name, able in self._able_since.items() if now - max(begun, able) > bound]
        if late and not self._told:
            self._told = True
            self.broken("I13", f"{' and '.join(late)} could serve and nobody has for {bound:.0f} s")

    def _excused(self, machine: Machine) -> bool:
        reason = truth.nobody_can_know(self, machine)
        if reason and self._unserved_since is not None and self.clock.now - self._unserved_since > 10.0:
            self.verdict.excused[reason] = self.verdict.excused.get(reason, 0) + 1
        return bool(reason)


# --- the faults


def _for(world: World, seconds: float, undo: Callable[[], None]) -> None:
    if seconds < 1e6:
        world.clock.after(seconds, undo)


def _lines(chance: Random) -> tuple[str, Strike]:
    sender, path = chance.choice(_NODES), chance.choice(list(Path))
    both_ways = chance.random() < 0.4
    both_paths = chance.random() < 0.2
    line = Line(
        loss=chance.choice([0.0, 0.05, 0.3, 0.5, 0.9, 1.0]),
        extra=chance.choice([0.0, 0.0, 0.02, 0.3, 1.0]),
        twice=chance.choice([0.0, 0.0, 0.3]),
    )
    senders = _NODES if both_ways else (sender,)
    paths = list(Path) if both_paths else [path]

    def strike(world: World) -> None:
        for one in senders:
            for way in paths:
                world.lines[one, way] = line

    return f"lines from {'+'.join(senders)} on {'+'.join(paths)}: {line}", strike


def _cut(chance: Random) -> tuple[str, Strike]:
    path, cut = chance.choice(list(Path)), chance.random() < 0.7
    return f"{path} {'cut' if cut else 'whole'}", lambda world: world.cut.update({path: cut})


def _adverts(chance: Random) -> tuple[str, Strike]:
    sender, loss = chance.choice([*_NODES, ""]), chance.choice([0.0, 0.3, 0.9, 1.0])

    def strike(world: World) -> None:
        world.advert_loss.update(dict.fromkeys([sender] if sender else _NODES, loss))

    return f"adverts of {sender or 'both'} lost: {loss}", strike


def _link(chance: Random) -> tuple[str, Strike]:
    node, path = chance.choice(_NODES), chance.choice(list(Path))
    link = chance.choices(list(Link), [2, 2, 4])[0]
    return f"{path} link of {node} {link}", lambda world: world.set_link(node, path, link)


def _fact(chance: Random) -> tuple[str, Strike]:
    node = chance.choice(_NODES)
    name = chance.choice(["servers", "gateway", "beyond", "loadable", "conntrackd", "fought"])
    bad = chance.random() < 0.8

    def strike(world: World) -> None:
        machine = world.machines[node]
        setattr(machine, name, bad if name == "fought" else not bad)
        machine.read_health()

    return f"{name} of {node} {'bad' if bad else 'good'}", strike


def _keepalived(chance: Random) -> tuple[str, Strike]:
    node, what, seconds = (
        chance.choice(_NODES),
        chance.choice(["hangs", "killed", "ended", "dead"]),
        chance.choice(_AWAY),
    )

    def strike(world: World) -> None:
        machine = world.machines[node]
        if what == "hangs":
            machine.hang_keepalived()
            _for(world, seconds, machine.wake_keepalived)
        else:
            machine.keepalived_broken = what == "dead"
            machine.kill_keepalived(politely=what == "ended")

    return f"Keepalived of {node} {what}{f' for {seconds:g} s' if what == 'hangs' else ''}", strike


def _agent(chance: Random) -> tuple[str, Strike]:
    node, seconds = chance.choice(_NODES), chance.choice(_AWAY)
    what = chance.choice(["killed", "stopped", "killed, its state file lost"])

    def strike(world: World) -> None:
        machine = world.machines[node]
        if what == "stopped":
            machine.stall_agent()
            _for(world, seconds, machine.wake_agent)
            return
        machine.kill_agent()
        if what != "killed":
            machine.forget_state()
        machine.agent_broken = True

        def back() -> None:
            machine.agent_broken = False
            machine.start_agent()

        _for(world, seconds, back)

    return f"agent of {node} {what} for {seconds:g} s", strike


def _power(chance: Random) -> tuple[str, Strike]:
    node, seconds, lost = chance.choice(_NODES), chance.choice(_AWAY[1:]), chance.random() < 0.3

    def strike(world: World) -> None:
        machine = world.machines[node]
        machine.power_cut()
        if lost:
            machine.disk.reserved, machine.disk.drained = 0, False
        _for(world, seconds, machine.boot)

    return f"power of {node} away for {seconds:g} s{', its disk lost' if lost else ''}", strike


def _freeze(chance: Random) -> tuple[str, Strike]:
    node, seconds = chance.choice(_NODES), chance.choice([0.3, 1.5, 5.0, 20.0, 60.0])

    def strike(world: World) -> None:
        world.machines[node].freeze()
        world.clock.after(seconds, world.machines[node].thaw)

    return f"{node} frozen for {seconds:g} s", strike


def _clients(chance: Random) -> tuple[str, Strike]:
    count = chance.randrange(6)
    deaf = {(client, node) for client in range(count) for node in _NODES if chance.random() < 0.3}

    def strike(world: World) -> None:
        world.clients, world.silent_clients = count, deaf

    return f"{count} clients, of whom do not answer {sorted(deaf)}", strike


def _operator(chance: Random) -> tuple[str, Strike]:
    node, verb, force = chance.choice(_NODES), chance.choice(list(Verb)), chance.random() < 0.4
    return f"{node} is asked: {verb}{' by force' if force else ''}", lambda world: world.ask(node, verb, force=force)


def _conntrackd_restart(chance: Random) -> tuple[str, Strike]:
    node = chance.choice(_NODES)
    return f"conntrackd of {node} restarted", lambda world: world.machines[node].restart_conntrackd()


def _replies(chance: Random) -> tuple[str, Strike]:
    nodes = chance.choice([("nat-a",), ("nat-b",), _NODES])
    what = chance.choice(["shared", "line"])
    lost = chance.random() < 0.75

    def strike(world: World) -> None:
        for node in nodes:
            setattr(world.machines[node], what, not lost)

    return f"replies to {'+'.join(nodes)} {'lost' if lost else 'back'} ({what})", strike


KINDS: Sequence[tuple[Callable[[Random], tuple[str, Strike]], int]] = (
    (_lines, 4),
    (_cut, 2),
    (_adverts, 2),
    (_link, 4),
    (_fact, 4),
    (_keepalived, 3),
    (_agent, 3),
    (_power, 2),
    (_freeze, 1),
    (_clients, 2),
    (_operator, 3),
    (_conntrackd_restart, 1),
)
REPLIES_FROM = 1_000_000
"""Stories from this seed on lose replies, too. Those before stay as they were when they showed something."""


# --- a story


def tell(seed: int) -> Verdict:
    """The story of `seed`, from two nodes that boot to a pair that has recovered."""
    verdict, chance = Verdict(seed), Random(seed)  # noqa: S311 - chance that can be replayed
    world = StoryWorld(verdict, chance)
    try:
        _live(world, chance)
    except Broken as broken:
        world.broken("recovers", str(broken).splitlines()[0])
    except (RuntimeError, ValueError, AssertionError) as error:
        world.broken("crash", repr(error)[:300])
    verdict.promotions, verdict.simulated_seconds = len(world.promotions), world.clock.now
    verdict.history = world.history
    return verdict


def _live(world: StoryWorld, chance: Random) -> None:
    for machine in world.machines.values():
        machine.boot()
    world.settle(_SETTLE_SECONDS)
    world.checking = True
    drawn = (*KINDS, (_replies, 6)) if world.verdict.seed >= REPLIES_FROM else KINDS
    kinds, weights = zip(*drawn, strict=True)
    for kind in chance.choices(kinds, weights, k=chance.randint(1, 10)):
        world.run(chance.choice(_WAITS))
        text, strike = kind(chance)
        world.note(f"* {text}")
        world.struck_at = world.clock.now
        strike(world)
    world.run(CALM_SECONDS)
    before = len(world.promotions)
    world.run(LASTING_SECONDS - CALM_SECONDS)
    world.verdict.late_promotions = len(world.promotions) - before
    if world.verdict.late_promotions > truth.flaps_borne(world):
        world.broken("flaps", f"{world.verdict.late_promotions} promotions in the last 24 s")
    _recover(world)


def _recover(world: StoryWorld) -> None:
    world.recover()
    active, standby = world.settle(_SETTLE_SECONDS)
    epochs = [promotion.epoch for promotion in world.promotions]
    if len(set(epochs)) != len(epochs) and not _two_disks_lost(world):
        world.broken("ties", "two promotions have the same epoch")
    a, s = active.state, standby.state
    if a is None or s is None or s.resync.flushed_for != a.epoch or a.phase is not Phase.ACTIVE:
        world.broken("recovers", "the standby owes the flush")
    before = len(world.promotions)
    world.run(5)
    if len(world.promotions) != before and not any(m.terms.failback for m in world.machines.values()):
        world.broken("recovers", "the role moved after all was recovered")


def _two_disks_lost(world: World) -> bool:
    """Of a disk that is lost behind a cut, or twice, nobody could know."""
    return any("its disk lost" in line for line in world.history)
