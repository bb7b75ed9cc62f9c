"""One simulated machine: agent around the real core, toy Keepalived, and effects that take a little time."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random

from natpair.core.actions import Conntrack, ConntrackJob, Journal, ProbeVlan, Reply, Reserve, SaveDrained, Speak, WakeAt
from natpair.core.desired import Traffic, desired
from natpair.core.events import (
    ArrivalSeen,
    ConntrackDone,
    ConntrackdStarted,
    Event,
    Frozen,
    HealthRead,
    PeerHeard,
    Tick,
    TrafficSwitched,
    VlanProbed,
    VrrpChanged,
)
from natpair.core.machine import adopt, step
from natpair.core.messages import PeerMessage, Phase, VrrpRole
from natpair.core.state import Health, NodeState, Terms, initial, message_of
from natpair.core.wire import Envelope, Path, Session, Stamp, receive
from simulation.clock import Clock
from simulation.vrrp import Advert, Keepalived

FLOWS = 1000
CLIENTS = 3
PRIORITY = {0: 240, 1: 239}
HEALTH_SECONDS = 0.5
GATEWAY_MISSES = 3
DOUBTFUL_PACE = 0.7
BGP_MISSES = 17
"""Readings after which the gateway, and the route servers by their hold time, count as gone."""
READ_BACK_SECONDS = 5.0
_CLOSED = (Traffic.CLOSED, False)


@dataclass
class Disk:
    """What survives a power cut."""

    reserved: int = 0
    drained: bool = False


@dataclass
class Surroundings:
    """What the machine sees of the world: `deliver` and `advert` put something on a path."""

    clock: Clock
    chance: Random
    deliver: Callable[[str, Path, Envelope], None]
    advert: Callable[[str, Advert], None]
    leg_carries: Callable[[str, Path], bool]
    link_up: Callable[[str, Path], bool]
    copy_flows: Callable[[str, str], None]
    moved: Callable[[str, Journal, NodeState], None]
    converge: Callable[[], float | None]


@dataclass
class Machine:
    """`state` is None while no agent runs. What an agent started is dropped when it is gone: see `_mine`."""

    terms: Terms
    timing: tuple[float, int]
    world: Surroundings
    disk: Disk = field(default_factory=Disk)
    powered: bool = False
    frozen_since: float | None = None
    state: NodeState | None = None
    flows: int = 0
    replies: list[Reply] = field(default_factory=list)
    abandoned: set[int] = field(default_factory=set)
    known_epoch: int = 0
    servers: bool = True
    _boots: itertools.count[int] = field(default_factory=itertools.count)
    _life: int = 0
    _misses: int = 0
    _left: tuple[int, bool, bool] | None = None
    _ruleset: tuple[Traffic, bool] = _CLOSED

    def __post_init__(self) -> None:
        self.name = self.terms.me
        self._new_keepalived()
        self.world.clock.every(self.terms.beat, self._beat)
        self.world.clock.after(HEALTH_SECONDS, self._ask_gateway)
        self.world.clock.every(READ_BACK_SECONDS, self._read_vrrp)

    # --- power, agent, standstill

    def _new_keepalived(self) -> None:
        base, (interval, down_after) = PRIORITY[self.terms.bit], self.timing
        send = partial(self.world.advert, self.name)
        self.keepalived = Keepalived(self.world.clock, base, interval, down_after, send, self._on_fifo)

    def boot(self) -> None:
        if self.powered:
            return
        self.powered, self.frozen_since, self.flows, self._left = True, None, 0, None
        self._ruleset = _CLOSED
        self._new_keepalived()
        self.keepalived.link_up = self.world.link_up(self.name, Path.PRIVATE)
        self.keepalived.start()
        self.start_agent()

    def power_cut(self) -> None:
        self.powered, self.frozen_since = False, None
        self.keepalived.running = False
        self.kill_agent()

    def start_agent(self) -> None:
        if not self.powered or self.state is not None:
            return
        self._life += 1
        now = self.world.clock.now
        own = Stamp(f"{self.name}-{next(self._boots)}", 0)
        self._session, self._latest = Session(own=own, peer=self.terms.peer), None
        self.known_epoch = 2 * self.disk.reserved
        self.state = initial(self.terms, now, reserved=self.disk.reserved, drained=self.disk.drained)
        if self._left is not None and self.keepalived.role is VrrpRole.MASTER:
            epoch, boosted, fenced = self._left
            self.state = adopt(self.state, epoch, now, boosted=boosted, fenced=fenced)
        self.read_health()
        self._read_vrrp()

    def kill_agent(self) -> None:
        """SIGKILL, and then `natpair agent-stopped`: a node that does not serve is out of the election."""
        serving = self.state is not None and self.state.claims_active
        self.state = None
        self._life += 1
        if not serving:
            self.keepalived.eligible = False
            self.keepalived.look()

    def freeze(self) -> None:
        if self.powered and self.frozen_since is None:
            self.frozen_since = self.world.clock.now
            self.keepalived.running = False

    def thaw(self) -> None:
        if self.frozen_since is None:
            return
        gap, self.frozen_since = self.world.clock.now - self.frozen_since, None
        master = self.keepalived.role is VrrpRole.MASTER
        self.keepalived.thaw()
        if gap > 1.0 and master:
            self.handle(Frozen(gap))

    # --- the outside

    @property
    def awake(self) -> bool:
        return self.powered and self.frozen_since is None and self.state is not None

    def hear(self, path: Path, envelope: Envelope) -> None:
        """As `agent.peerlink` does it: the session judges, an older message proves only the path."""
        if not self.awake:
            return
        newest, known = max(self._session.seen.values(), default=-1), self._session.trusted
        self._session, believed = receive(self._session, envelope, path)
        if not believed:
            return
        if self._latest is None or envelope.stamp.counter > newest or self._session.trusted != known:
            self._latest = envelope.message
        self.known_epoch = max(self.known_epoch, self._latest.epoch, 2 * self._latest.generation)
        self.handle(PeerHeard(path, self._latest))

    def _on_fifo(self, role: VrrpRole) -> None:
        self._mine(0.001, lambda: self.handle(VrrpChanged(role)))

    def _read_vrrp(self) -> None:
        self.handle(VrrpChanged(self.keepalived.role))

    def links_changed(self) -> None:
        if self.powered:
            self.keepalived.link_up = self.world.link_up(self.name, Path.PRIVATE)
            self.keepalived.look()
            self.read_health()

    def _ask_gateway(self) -> None:
        """One question each time, three misses in a row count; the first makes doubtful, and asks sooner."""
        self._misses = 0 if self.world.leg_carries(self.name, Path.PUBLIC) else self._misses + 1
        pace = DOUBTFUL_PACE if self._misses else 1
        self.world.clock.after(HEALTH_SECONDS * pace, self._ask_gateway)
        self.read_health()

    def read_health(self) -> None:
        wan = self.world.leg_carries(self.name, Path.PUBLIC)
        self.handle(
            HealthRead(
                Health(
                    private_up=self.world.link_up(self.name, Path.PRIVATE),
                    public_up=self.world.link_up(self.name, Path.PUBLIC),
                    ruleset=True,
                    gateway=self._misses < GATEWAY_MISSES,
                    doubtful=self._misses > 0,
                    conntrackd=True,
                    keepalived=True,
                    bgp_established=4 if self.servers and (wan or self._misses < BGP_MISSES) else 0,
                    bgp_total=4,
                    flows=self.flows,
                )
            )
        )

    def lose_servers(self) -> None:
        """The hold timers of all BGP sessions run out; everything else is well."""
        self.servers = False
        self.read_health()

    def regain_servers(self) -> None:
        """At least one session is up again."""
        self.servers = True
        self.read_health()

    def restart_conntrackd(self) -> None:
        self.handle(ConntrackdStarted())

    def _beat(self) -> None:
        if self.awake:
            self._speak()
            self.handle(Tick())

    def _speak(self) -> None:
        assert self.state is not None
        message: PeerMessage = message_of(self.state, self.world.clock.now)
        for path in Path:
            self._session = self._session.next_stamp()
            envelope = Envelope(self.name, self._session.own, path, self._session.echoes, message)
            self.world.deliver(self.name, path, envelope)

    # --- the agent

    def handle(self, event: Event) -> None:
        if not self.awake or self.state is None:
            return
        before, now = self.state, self.world.clock.now
        outcome = step(before, event, now)
        self.state = outcome.state
        self._want(now)
        for action in outcome.actions:
            self._act(action)
        state = self.state
        self._left = (state.epoch, state.boosted, state.fenced) if state.claims_active else None
        if state.claims_active:
            self.flows = max(self.flows, FLOWS)

    def _want(self, now: float) -> None:
        assert self.state is not None
        wish = desired(self.state, now)
        self.keepalived.eligible, self.keepalived.boost = wish.eligible, wish.boost
        self.keepalived.look()
        if (wish.traffic, wish.duplicate) != self._ruleset:
            self._ruleset = (wish.traffic, wish.duplicate)
            switched = TrafficSwitched(local=wish.traffic is Traffic.LOCAL, duplicate=wish.duplicate)
            self._mine(self.world.chance.uniform(0.005, 0.03), lambda: self.handle(switched))

    def _mine(self, seconds: float, callback: Callable[[], None]) -> None:
        """Later, if the same agent still runs then; a standstill in between puts it off."""
        life = self._life

        def run() -> None:
            if life == self._life and self.frozen_since is None:
                callback()
            elif life == self._life:
                self.world.clock.after(0.1, run)

        self.world.clock.after(seconds, run)

    def _act(self, action: object) -> None:
        match action:
            case Speak():
                self._speak()
            case ProbeVlan(nonce):
                self._mine(0.02, lambda: self.handle(VlanProbed(nonce, self._clients_that_answer())))
            case Conntrack():
                self._mine(self.world.chance.uniform(0.02, 0.2), lambda: self._conntrack_done(action))
            case Reserve(ceiling):
                self.disk.reserved = max(self.disk.reserved, ceiling)
            case SaveDrained(drained):
                self.disk.drained = drained
            case WakeAt(moment):
                self._mine(moment - self.world.clock.now + 0.001, lambda: self.handle(Tick()))
            case Reply():
                self.replies.append(action)
            case Journal():
                assert self.state is not None
                self.world.moved(self.name, action, self.state)
                if action.after is Phase.PREPARING and (slow := self.world.converge()) is not None:
                    self._mine(slow, lambda: self.handle(ArrivalSeen()))

    def _clients_that_answer(self) -> int:
        return CLIENTS if self.world.leg_carries(self.name, Path.PRIVATE) else 0

    def _conntrack_done(self, asked: Conntrack) -> None:
        if asked.job is ConntrackJob.ABANDON:
            self.abandoned.add(asked.tag)
            self.world.copy_flows(self.terms.peer, self.name)
        else:
            self.world.copy_flows(self.name, self.terms.peer)
        self.handle(ConntrackDone(asked.job, asked.tag, self.world.chance.random() > 0.05))

    def replace_state(self, **changes: object) -> None:
        """For tests that break something on purpose."""
        assert self.state is not None
        self.state = replace(self.state, **changes)  # type: ignore[arg-type]
