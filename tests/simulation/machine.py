"""One simulated machine: agent around the real core, toy Keepalived, and effects that take a little time."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random

from natpair.agent.contest import PEER_SECONDS
from natpair.agent.daemons import KEEPALIVED_PATIENCE_SECONDS
from natpair.agent.vlan import GRATUITOUS_TIMES
from natpair.core.actions import (
    Conntrack,
    ConntrackJob,
    Journal,
    ProbeVlan,
    ReassertVip,
    Reply,
    Reserve,
    SaveDrained,
    Speak,
    WakeAt,
)
from natpair.core.announcement import Announcement
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
from natpair.core.health import BgpSessions, Health
from natpair.core.machine import adopt, found_serving, step
from natpair.core.messages import PeerMessage, Phase, VrrpRole
from natpair.core.state import NodeState, Terms, initial, message_of
from natpair.core.wire import Envelope, Path, Session, Stamp, receive
from simulation.clock import Clock
from simulation.returns import ReplyWatch
from simulation.vrrp import Advert, Keepalived

FLOWS = 1000
CLIENTS = 3
PRIORITY = {0: 240, 1: 239}
HEALTH_SECONDS = 0.5
GATEWAY_MISSES = 3
SUSPECT_PACE = 0.7
"""Questions without an answer after which the gateway counts as gone."""
RULESET_PATIENCE = 1.0
SEEN_SECONDS = 2.5
RESTART_SECONDS = 1.0
WATCHDOG_SECONDS = 5.0
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
    link_carries: Callable[[str, Path], bool]
    link_up: Callable[[str, Path], bool]
    copy_flows: Callable[[str, str], None]
    moved: Callable[[str, Journal, NodeState], None]
    converge: Callable[[], float | None]
    answering: Callable[[str], int]
    claimed: Callable[[str], None]
    used: Callable[[str], bool]


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
    gateway: bool = True
    """The next hop answers; a dead public link hides it as well."""
    beyond: bool = True
    """What is sent to the next hop goes on from there; else the route servers' hold timers run out."""
    shared: bool = True
    """The fabric brings this node the FIP's packets while it is active."""
    line: bool = True
    """Packets get through behind the next hop, both ways. Route servers are nearer."""
    in_vain_at: float | None = None
    """When it last served and no packets came back, in truth."""
    started_at: float = 0.0
    """When its agent last started."""
    loadable: bool = True
    """The kernel takes rulesets."""
    fought: bool = False
    """Somebody undoes what natpair repairs."""
    conntrackd: bool = True
    stalled: bool = False
    """The agent was sent SIGSTOP; its watchdog ends it."""
    agent_broken: bool = False
    keepalived_state: str = "well"
    """Or "hung" (SIGSTOP), or "dead"."""
    keepalived_broken: bool = False
    """It does not start."""
    kernel: tuple[Traffic, bool] = _CLOSED
    """The ruleset in force."""
    _boots: itertools.count[int] = field(default_factory=itertools.count)
    _life: int = 0
    _misses: int = 0
    _left: tuple[int, bool, bool] | None = None
    _desired: tuple[Traffic, bool] = _CLOSED
    _unlike_since: float | None = None
    _asked_in_vain_since: float | None = None
    _beyond_lost_at: float | None = None
    _kept_out: bool = True
    _announced: Announcement | None = None
    _seen: tuple[int, float] = (0, 0.0)
    _contested: bool = False

    def __post_init__(self) -> None:
        self.name = self.terms.me
        self._new_keepalived()
        self.world.clock.every(self.terms.beat, self._beat)
        self.world.clock.after(HEALTH_SECONDS, self._ask_gateway)
        self.world.clock.every(READ_BACK_SECONDS, self._read_vrrp)

    # --- power, agent, standstill

    def _new_keepalived(self) -> None:
        base, (interval, down_after) = PRIORITY[self.terms.bit], self.timing
        send, claim = partial(self.world.advert, self.name), partial(self.world.claimed, self.name)
        self.keepalived = Keepalived(self.world.clock, base, interval, down_after, send, claim, self._on_fifo)

    def boot(self) -> None:
        if self.powered:
            return
        self.powered, self.frozen_since, self.flows, self._left = True, None, 0, None
        self._desired = self.kernel = _CLOSED
        self._announced = None
        self._start_keepalived()
        self.start_agent()

    def _start_keepalived(self) -> None:
        """A new one takes a VIP away that it finds. The track files are as the agent left them."""
        if not self.powered:
            return
        self._new_keepalived()
        self.keepalived_state = "dead" if self.keepalived_broken else "well"
        self.keepalived.link_up = self.world.link_up(self.name, Path.PRIVATE)
        self._follow()
        if not self.keepalived_broken:
            self.keepalived.start()
            self._on_fifo(self.keepalived.role)

    def _follow(self) -> None:
        """What stands in the track files."""
        if self.state is not None:
            want = desired(self.state, self.world.clock.now)
            self.keepalived.eligible, self.keepalived.boost = want.eligible, want.boost
        else:
            self.keepalived.eligible = False if self._kept_out else self.keepalived.eligible

    def hang_keepalived(self) -> None:
        if self.powered and self.frozen_since is None and self.keepalived_state == "well":
            self.keepalived_state, self.keepalived.running = "hung", False

    def wake_keepalived(self) -> None:
        if self.powered and self.keepalived_state == "hung":
            self.keepalived_state = "well"
            if self.frozen_since is None:
                self.keepalived.thaw()
                self.keepalived.look()

    def kill_keepalived(self, *, politely: bool = False) -> None:
        """Its supervisor starts it again, if it can be started. Not asked `politely` it leaves the VIP behind."""
        if not self.powered or self.keepalived_state == "dead":
            return
        if politely and self.keepalived_state == "well" and self.frozen_since is None:
            self.keepalived.end()
        self.keepalived.running = False
        self.keepalived_state = "dead"
        dead = self.keepalived
        self.world.clock.after(RESTART_SECONDS, lambda: self._restart_keepalived(dead))

    def _restart_keepalived(self, dead: Keepalived) -> None:
        """On a machine that stands still nobody starts anything."""
        if self.keepalived is dead and self.frozen_since is not None:
            self.world.clock.after(0.1, lambda: self._restart_keepalived(dead))
        elif self.keepalived is dead:
            self._start_keepalived()

    def power_cut(self) -> None:
        self.powered, self.frozen_since = False, None
        self.keepalived.running = self.keepalived.vip = False
        self.keepalived_state = "well"
        self.kill_agent()

    def stall_agent(self) -> None:
        """SIGSTOP; after `WATCHDOG_SECONDS` its supervisor kills it, and starts it again."""
        if self.state is None or self.stalled:
            return
        self.stalled, life = True, self._life

        def bark() -> None:
            if self.stalled and life == self._life:
                self.kill_agent()
                self.world.clock.after(RESTART_SECONDS, self.start_agent)

        self.world.clock.after(WATCHDOG_SECONDS, bark)

    def wake_agent(self) -> None:
        self.stalled = False

    def repair(self) -> None:
        """Nothing is wrong with this machine any more, and everything on it runs."""
        self.servers = self.gateway = self.beyond = self.loadable = self.conntrackd = self.shared = self.line = True
        self.fought = self.keepalived_broken = self.agent_broken = False
        self._beyond_lost_at = None
        self.wake_agent()
        self.wake_keepalived()
        self.thaw()
        self.boot()
        if self.keepalived_state == "dead":
            self._start_keepalived()
        self.start_agent()

    def start_agent(self) -> None:
        if not self.powered or self.state is not None or self.agent_broken:
            return
        self._life += 1
        self._desired, self._unlike_since = self.kernel, None
        now = self.started_at = self.world.clock.now
        own = Stamp(f"{self.name}-{next(self._boots)}", 0)
        self._session, self._latest = Session(own=own, peer=self.terms.peer), None
        self.known_epoch = 2 * self.disk.reserved
        self.state = initial(self.terms, now, reserved=self.disk.reserved, drained=self.disk.drained)
        self._returns = ReplyWatch(self, self.read_health)
        self._contested = False
        self._adopt(now)
        self.read_health()
        self._read_vrrp()
        self._watch_returns()

    def _watch_returns(self) -> None:
        self._mine(self._returns.look(self.world.clock.now), self._watch_returns)

    def _adopt(self, now: float) -> None:
        """As `agent.adoption` does it: by what the earlier agent left, or else by kernel and BIRD."""
        assert self.state is not None
        left, master = self._left, self._vrrp_role() is VrrpRole.MASTER
        if left is None and master:
            found = replace(self.state, vrrp=VrrpRole.MASTER)
            epoch = found_serving(found, local=self.kernel[0] is Traffic.LOCAL, announced=self._announced)
            left = None if epoch is None else (epoch, False, False)
        if left is not None and master:
            epoch, boosted, fenced = left
            self.state = adopt(self.state, epoch, now, boosted=boosted, fenced=fenced)

    def kill_agent(self) -> None:
        """SIGKILL, and then `natpair agent-stopped`: a node that does not serve is out of the election."""
        serving = self.state is not None and self.state.claims_active
        self.state, self.stalled = None, False
        self._life += 1
        self._kept_out = not serving
        if not serving:
            self.keepalived.eligible = False
            self.keepalived.look()

    def forget_state(self) -> None:
        """`state.json` is gone, or of another version."""
        self._left = None

    def freeze(self) -> None:
        if self.powered and self.frozen_since is None:
            self.frozen_since = self.world.clock.now
            self.keepalived.running = False

    def thaw(self) -> None:
        if self.frozen_since is None:
            return
        gap, self.frozen_since = self.world.clock.now - self.frozen_since, None
        master = self.keepalived.role is VrrpRole.MASTER
        if self.keepalived_state == "well":
            self.keepalived.thaw()
        if gap > 1.0 and master:
            self.handle(Frozen(gap))

    # --- the outside

    @property
    def awake(self) -> bool:
        return self.powered and self.frozen_since is None and self.state is not None and not self.stalled

    @property
    def vip(self) -> bool:
        """The VIP is in the kernel."""
        return self.powered and self.keepalived.vip

    def hear_advert(self, advert: Advert) -> None:
        self.keepalived.hear(advert)

    def hear(self, path: Path, envelope: Envelope) -> None:
        """As `agent.peerlink` does it: the session checks, an older message proves only the path."""
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

    @property
    def _keepalived_answers(self) -> bool:
        return self.keepalived_state == "well"

    def _read_vrrp(self) -> None:
        """Its own word, or else the place of the VIP."""
        self.handle(VrrpChanged(self._vrrp_role()))
        if self._keepalived_answers or not self.awake:
            self._asked_in_vain_since = None
            return
        now = self.world.clock.now
        since = self._asked_in_vain_since = now if self._asked_in_vain_since is None else self._asked_in_vain_since
        if now - since >= KEEPALIVED_PATIENCE_SECONDS:
            self._asked_in_vain_since = None
            self.kill_keepalived()

    def _vrrp_role(self) -> VrrpRole:
        place = VrrpRole.MASTER if self.vip else VrrpRole.INIT
        return self.keepalived.role if self._keepalived_answers else place

    def links_changed(self) -> None:
        if self.powered:
            self.keepalived.link_up = self.world.link_up(self.name, Path.PRIVATE)
            self.keepalived.look()
            self.read_health()

    def _ask_gateway(self) -> None:
        """One question each time, three misses in a row count; the first makes suspect, and asks sooner."""
        self._misses = 0 if self.gateway_answers else self._misses + 1
        self._note_beyond()
        pace = SUSPECT_PACE if self._misses else 1
        self.world.clock.after(HEALTH_SECONDS * pace, self._ask_gateway)
        self.read_health()

    def _seen_clients(self) -> int:
        """As `agent.vlan` counts them: whoever was heard in the last seconds."""
        answering, now = self.world.answering(self.name), self.world.clock.now
        if answering:
            self._seen = (answering, now)
        count, at = self._seen
        return count if now - at < SEEN_SECONDS else 0

    def _note_beyond(self) -> None:
        if self.beyond and self.gateway_answers:
            self._beyond_lost_at = None
        elif self._beyond_lost_at is None:
            self._beyond_lost_at = self.world.clock.now

    @property
    def sessions(self) -> bool:
        """Route servers still hold this node's sessions, and it holds theirs."""
        lost_at = self._beyond_lost_at
        return self.servers and (lost_at is None or self.world.clock.now < lost_at + self.terms.hold)

    @property
    def gateway_answers(self) -> bool:
        """The next hop, to whoever asks it by this node's public link."""
        return self.gateway and self.world.link_carries(self.name, Path.PUBLIC)

    @property
    def leads_on(self) -> bool:
        """The way out leads beyond the next hop, and back to it."""
        return self.gateway_answers and self.beyond and self.line

    @property
    def translates(self) -> bool:
        """Clients' packets leave here under the FIP."""
        return self.kernel[0] is Traffic.LOCAL and self.world.used(self.name)

    def _ruleset_ok(self) -> bool:
        """As desired, or not so for a moment only."""
        if self.kernel == self._desired:
            return True
        return self._unlike_since is None or self.world.clock.now - self._unlike_since < RULESET_PATIENCE

    def read_health(self) -> None:
        if not self.awake:
            return
        self.handle(
            HealthRead(
                Health(
                    private_up=self.world.link_up(self.name, Path.PRIVATE),
                    public_up=self.world.link_up(self.name, Path.PUBLIC),
                    ruleset=self._ruleset_ok(),
                    gateway=self._misses < GATEWAY_MISSES,
                    suspect=self._misses > 0,
                    conntrackd=self.conntrackd,
                    keepalived=self._keepalived_answers,
                    bgp=BgpSessions(4 if self.sessions else 0, 4),
                    flows=self.flows,
                    unrepaired=("forwarding",) if self.fought else (),
                    sees=self._seen_clients(),
                    replies=self._returns.verdicts,
                    asking=self._returns.asking,
                    reached=self._returns.reached(self.world.clock.now),
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
        if self.conntrackd:
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
        self._left = (state.epoch, state.takeover.boosted, state.takeover.fenced) if state.claims_active else None
        self._announced = state.announcement()
        if state.claims_active:
            self.flows = max(self.flows, FLOWS)

    def _want(self, now: float) -> None:
        assert self.state is not None
        want = desired(self.state, now)
        self.keepalived.eligible, self.keepalived.boost = want.eligible, want.boost
        self.keepalived.look()
        if (want.traffic, want.duplicate) != self._desired:
            self._desired = (want.traffic, want.duplicate)
            self._mine(self.world.chance.uniform(0.005, 0.03), self._load)

    def _load(self) -> None:
        """Load the ruleset that is desired, again and again until the kernel takes it."""
        if self.kernel == self._desired:
            return
        if not self.loadable:
            self._unlike_since = self.world.clock.now if self._unlike_since is None else self._unlike_since
            self._mine(RULESET_PATIENCE, self._load)
            return
        self.kernel, self._unlike_since = self._desired, None
        self.handle(TrafficSwitched(local=self.kernel[0] is Traffic.LOCAL, duplicate=self.kernel[1]))

    def _mine(self, seconds: float, callback: Callable[[], None]) -> None:
        """Later, if the same agent still runs then; a standstill in between puts it off."""
        life = self._life

        def run() -> None:
            if life == self._life and self.frozen_since is None and not self.stalled:
                callback()
            elif life == self._life:
                self.world.clock.after(0.1, run)

        self.world.clock.after(seconds, run)

    def _act(self, action: object) -> None:
        match action:
            case Speak():
                self._speak()
            case ProbeVlan(nonce):
                self._mine(0.02, lambda: self.handle(VlanProbed(nonce, self.world.answering(self.name))))
            case ReassertVip():
                for delay in GRATUITOUS_TIMES:
                    self._mine(delay, self._reassert)
            case Conntrack():
                slow = RESTART_SECONDS if not self.conntrackd else self.world.chance.uniform(0.02, 0.2)
                self._mine(slow, lambda: self._conntrack_done(action))
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

    def _reassert(self) -> None:
        if self.state is not None and self.state.claims_active:
            self.world.claimed(self.name)

    def hear_claim(self) -> None:
        """As `agent.contest`: the peer claimed the VIP by ARP. If that comes to nothing, the clients are taken back."""
        if self.awake and self.state is not None and self.state.holds_vip and not self._contested:
            self._contested = True
            self._mine(PEER_SECONDS, self._after_the_peer)

    def _after_the_peer(self) -> None:
        self._contested = False
        state = self.state
        if state is not None and state.holds_vip and state.peer.active(state.terms, self.world.clock.now) is None:
            self.world.claimed(self.name)

    def _conntrack_done(self, asked: Conntrack) -> None:
        if not self.conntrackd:
            self.handle(ConntrackDone(asked.job, asked.tag, False))
            return
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
