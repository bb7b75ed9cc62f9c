"""Two machines, two paths between them, faults, and the invariants that are watched at every step."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from random import Random

from natpair.core.actions import Journal
from natpair.core.events import Asked, Verb
from natpair.core.messages import Phase, VrrpRole
from natpair.core.model import Gateway
from natpair.core.state import NodeState, Terms
from natpair.core.wire import Envelope, Path
from simulation.clock import Clock
from simulation.machine import CLIENTS, Machine, Surroundings
from simulation.vrrp import Advert

TWO_CLAIMANTS_SECONDS = 3.0
DELAY = {Path.PRIVATE: (0.0002, 0.002), Path.PUBLIC: (0.0005, 0.01)}


class Link(StrEnum):
    """A node's own link on one path: `DEAD` looks up and carries nothing."""

    UP = "up"
    DOWN = "down"
    DEAD = "dead"


@dataclass(frozen=True)
class Line:
    """What happens on the way from one node to the other. `extra`: seconds of delay at most, which mixes the order."""

    loss: float = 0.0
    extra: float = 0.0
    twice: float = 0.0


CLEAR = Line()


@dataclass(frozen=True)
class Promotion:
    """`known` is what its agent had heard of or had on its disk: an epoch, or twice a generation."""

    time: float
    node: str
    epoch: int
    known: int
    med: int | None


class Broken(AssertionError):
    """An invariant does not hold; the text is the history of all changes of phase."""


def _machine(gateway: Gateway, name: str, config_hash: str, around: Surroundings) -> Machine:
    timing = (gateway.timing.advert_ms / 1000, gateway.timing.down_after)
    return Machine(Terms.of(gateway, name, config_hash), timing, around)


class World:
    """`converge_seconds` None: nobody sends anything, so replies never arrive anywhere."""

    def __init__(
        self,
        gateway: Gateway,
        seed: int = 0,
        *,
        converge_seconds: float | None = 0.02,
        other: Gateway | None = None,
        watch_seconds: float = 0.02,
    ) -> None:
        """`other`: the configuration of the second node, if it is another."""
        self.clock = Clock()
        self.chance = Random(seed)  # noqa: S311 - chance that can be replayed
        self.converge_seconds = converge_seconds
        self.links = {(node.name, path): Link.UP for node in gateway.node for path in Path}
        self.cut = dict.fromkeys(Path, False)
        self.loss = dict.fromkeys(Path, 0.0)
        self.lines = {(node.name, path): CLEAR for node in gateway.node for path in Path}
        self.advert_loss = {node.name: 0.0 for node in gateway.node}
        self.silent_clients: set[tuple[int, str]] = set()
        """Clients that do not answer a node, for whatever reason; they use the gateway all the same."""
        self.clients = CLIENTS
        self.arp_owner = ""
        """Who claimed the VIP last: there the clients send."""
        self.history: list[str] = []
        self.promotions: list[Promotion] = []
        self._both_since: float | None = None
        around = Surroundings(
            self.clock,
            self.chance,
            self._deliver,
            self._advert,
            lambda node, path: self.links[node, path] is Link.UP,
            lambda node, path: self.links[node, path] is not Link.DOWN,
            self._copy_flows,
            self._moved,
            lambda: self.converge_seconds,
            self.answering,
            self._claimed,
            self._used,
        )
        self.machines = {n.name: _machine(gateway, n.name, "same", around) for n in gateway.node}
        if other is not None:
            second = other.node[1].name
            self.machines[second] = _machine(other, second, "other", around)
        self.clock.every(watch_seconds, self._watch)

    # --- the network

    def carries(self, path: Path) -> bool:
        return not self.cut[path] and all(self.links[node, path] is Link.UP for node in self.machines)

    def other(self, name: str) -> Machine:
        """The one that is not `name`."""
        (found,) = [machine for other, machine in self.machines.items() if other != name]
        return found

    def _delays(self, sender: str, path: Path) -> tuple[float, ...]:
        """When the copies of a packet arrive, in seconds: none, one, or two."""
        line = self.lines[sender, path]
        if not self.carries(path) or self.chance.random() < max(self.loss[path], line.loss):
            return ()
        copies = 2 if line.twice and self.chance.random() < line.twice else 1
        return tuple(self.chance.uniform(*DELAY[path]) + line.extra * self.chance.random() for _ in range(copies))

    def _deliver(self, sender: str, path: Path, envelope: Envelope) -> None:
        for delay in self._delays(sender, path):
            self.clock.after(delay, lambda: self.other(sender).hear(path, envelope))

    def _advert(self, sender: str, advert: Advert) -> None:
        if self.advert_loss[sender] and self.chance.random() < self.advert_loss[sender]:
            return
        for delay in self._delays(sender, Path.PRIVATE):
            self.clock.after(delay, lambda: self.other(sender).hear_advert(advert))

    def answering(self, node: str) -> int:
        """How many clients answer a node's ARP."""
        if self.links[node, Path.PRIVATE] is not Link.UP:
            return 0
        return sum((client, node) not in self.silent_clients for client in range(self.clients))

    def _claimed(self, node: str) -> None:
        if self.links[node, Path.PRIVATE] is not Link.UP:
            return
        self.arp_owner = node
        for delay in self._delays(node, Path.PRIVATE):
            self.clock.after(delay, self.other(node).hear_claim)

    def _used(self, node: str) -> bool:
        """There are clients, and they send to this node."""
        return self.clients > 0 and self.arp_owner == node and self.links[node, Path.PRIVATE] is Link.UP

    def _copy_flows(self, giver: str, taker: str) -> None:
        """conntrackd's bulk, asked for or offered: lost for good while the VLAN is cut."""
        source, target = self.machines[giver], self.machines[taker]
        lossy = max(self.lines[giver, Path.PRIVATE].loss, self.lines[taker, Path.PRIVATE].loss) >= 1.0
        if source.powered and target.powered and self.carries(Path.PRIVATE) and not lossy:
            target.flows = max(target.flows, source.flows)

    def set_link(self, node: str, path: Path, link: Link) -> None:
        self.links[node, path] = link
        self.machines[node].links_changed()

    # --- what people and fate do

    def ask(self, node: str, verb: Verb, *, force: bool = False) -> None:
        number = 1000 + len(self.history)
        self.note(f"{node} is asked: {verb}{' by force' if force else ''}")
        self.machines[node].handle(Asked(number, verb, force))

    def recover(self) -> None:
        """No fault is left; nodes that are off boot, agents that are dead start, nobody stays drained."""
        self.note("all faults recovered")
        self.cut, self.loss = dict.fromkeys(Path, False), dict.fromkeys(Path, 0.0)
        self.lines = dict.fromkeys(self.lines, CLEAR)
        self.advert_loss = dict.fromkeys(self.advert_loss, 0.0)
        self.silent_clients = set()
        self.clients = max(self.clients, 1)
        for name, machine in self.machines.items():
            machine.repair()
            for path in Path:
                self.set_link(name, path, Link.UP)
            self._undrain(machine)

    def _undrain(self, machine: Machine) -> None:
        """Again and again: a drain that is under way does not let itself be interrupted."""
        if machine.disk.drained:
            self.ask(machine.name, Verb.UNDRAIN)
            self.clock.after(1.0, lambda: self._undrain(machine))

    def run(self, seconds: float) -> None:
        self.clock.run_until(self.clock.now + seconds)

    def settle(self, limit: float = 90.0) -> tuple[Machine, Machine]:
        """(active, standby) once all is at rest, and has been for two seconds; Broken after `limit` seconds."""
        end, good_since = self.clock.now + limit, None
        while self.clock.now < end:
            self.run(0.1)
            good_since = (good_since or self.clock.now) if self.at_rest() else None
            if good_since is not None and self.clock.now - good_since > 2.0:
                return self.at_rest()[0]
        raise Broken("\n".join(["not at rest:", *self.history, *map(self.describe, self.machines.values())]))

    def at_rest(self) -> list[tuple[Machine, Machine]]:
        """The one way to be at rest, if it is the case."""
        now, found = self.clock.now, []
        first, second = self.machines.values()
        for active, standby in ((first, second), (second, first)):
            a, s = active.state, standby.state
            if a is None or s is None or not (active.awake and standby.awake):
                continue
            serves = a.phase is Phase.ACTIVE and active.keepalived.role is VrrpRole.MASTER
            clean = serves and not (a.takeover.completing or a.takeover.fenced or a.takeover.boosted or a.request)
            waits = s.phase is Phase.STANDBY and standby.keepalived.role is VrrpRole.BACKUP
            if clean and waits and s.synced(now) and s.ready(now):
                found.append((active, standby))
        return found

    # --- what must hold

    def note(self, text: str) -> None:
        self.history.append(f"{self.clock.now:8.3f} {text}")

    def describe(self, machine: Machine) -> str:
        return f"         {machine.name}: Keepalived {machine.keepalived.role}, {machine.state}"

    def _moved(self, node: str, journal: Journal, state: NodeState) -> None:
        self.note(f"{node}: {journal.before} -> {journal.after} (epoch {state.epoch}): {journal.cause}")
        if journal.after is Phase.ACTIVE and journal.before is not Phase.HANDING_OVER:
            known, med = self.machines[node].known_epoch, state.announcement().med
            self.promotions.append(Promotion(self.clock.now, node, state.epoch, known, med))
            self.machines[node].known_epoch = max(known, state.epoch)

    def claimants(self) -> list[Machine]:
        machines = self.machines.values()
        return [m for m in machines if m.powered and not m.frozen_since and m.state and m.state.claims_active]

    def _watch(self) -> None:
        apart = not any(self.carries(path) for path in Path)
        if len(self.claimants()) < 2 or apart:
            self._both_since = None
            return
        self._both_since = self.clock.now if self._both_since is None else self._both_since
        if self.clock.now - self._both_since > TWO_CLAIMANTS_SECONDS:
            raise Broken("\n".join(["two claimants for too long:", *self.history]))
