"""Everything a node knows, as one frozen value, and what can be read straight off it.

Times are seconds on the monotonic clock that `step()` gets as `now`; nothing here reads a clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address

from natpair.core.account import Account
from natpair.core.announcement import Announcement, announcement_for
from natpair.core.health import Health
from natpair.core.messages import CLAIMING, PeerMessage, Phase, VrrpRole
from natpair.core.model import BgpPolicy, Gateway, Watch
from natpair.core.wire import Path

BGP_GRACE = 1.5
"""Seconds without any BGP session before a node is called unhealthy: a restarted BIRD is back sooner."""
REQUEST_LIMIT = 12.0
"""Seconds after which a request that has come to nothing is answered."""
SYNC_SETTLE = 0.3
"""Seconds after a resync was asked for in which the table is not checked yet."""
SYNC_SLACK = 16
"""Entries a standby may lack beyond the ratio: its peer's own, and those on their way."""
SYNC_RATIO = 0.95
HEARD_LATELY = 0.6
"""Parts of the detection time: a peer heard later than that before is not silent."""
FALLS_FORGOTTEN = 120.0
"""Seconds without another loss of the role after which earlier ones no longer count."""
FALL_HOLD_MAX = 60.0
LOSSES_BORNE = 2
"""Losses of the role that follow each other, for whatever reason, and cost nothing yet."""
UNFIT_SECONDS = 3.0
"""Seconds after which an active node that is not fit says so, which ends the damping of a peer that is well."""
BLIND_SECONDS = 1.0
"""Seconds for which the peer sees clients and this node none, until that is believed."""
IDLE_SECONDS = 2.5
"""Seconds beyond the detection time after which a peer that says that it does not serve will not do so by itself."""
DEFER_SECONDS = 60.0
"""Seconds of deafness for which a node that is cut off takes it that its peer may serve unheard."""
MISSING_RATIO = 0.05
"""Parts of a sample that may be missing: flows that began while the VLAN was cut are not worth refusing a handover."""
UNANSWERED_SECONDS = 300.0
"""So long a node that gave the role away because no packets came back is not given it for its peer's lack of them."""
PULL_PAUSE = 6.0
PULL_PAUSE_MAX = 30.0
"""Seconds between two resyncs that a standby asks for: the first is given time for its effect to show in a sample."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What never changes while the agent runs: who is who, and the profile's times in seconds."""

    me: str
    peer: str
    bit: int
    policy: BgpPolicy
    beat: float
    detect: float
    hold: float
    refresh: float
    config_hash: str
    watch: Watch = field(default_factory=Watch)
    prefer: str = ""
    failback: float | None = None
    private_interface: str = "the interface"
    public_interface: str = "the interface"
    notice: float = 1.0
    """Within this two nodes notice that a gateway answers again: two probes."""

    @property
    def fresh(self) -> float:
        """A message not older than this speaks of the present."""
        return max(5 * self.beat, 0.3)

    @classmethod
    def of(cls, gateway: Gateway, me: str, config_hash: str) -> Terms:
        """The terms of node `me`. Three beats fit into the time in which VRRP calls a node dead; 20 to 200 ms each."""
        timing = gateway.timing
        return cls(
            me=me,
            peer=gateway.peer_of(me).name,
            bit=gateway.bit_of(me),
            policy=gateway.bgp.policy,
            beat=min(max(timing.detect_ms // 3, 20), 200) / 1000,
            detect=timing.detect_ms / 1000,
            hold=float(timing.bgp_hold_seconds),
            refresh=float(gateway.sync.refresh_seconds),
            config_hash=config_hash,
            watch=gateway.watch,
            prefer=gateway.pair.prefer or "",
            failback=None if gateway.pair.failback_seconds is None else float(gateway.pair.failback_seconds),
            private_interface=gateway.node_named(me).private_interface,
            public_interface=gateway.node_named(me).public_interface,
            notice=2 * gateway.health.probe_interval_ms / 1000,
        )


@dataclass(frozen=True, slots=True)
class PeerView:
    """The peer as its messages show it. `heard` starts at our own start: silence counts from there.

    `fit_since`: from then on without a break it has said that it could take the role over without harm; `ready_since`:
    that it could take it, even if flows break; `reaches_since`: that it gets the answers that this node misses;
    `idle_since`: that it neither serves nor could. `gap`: the longest silence between two of its messages lately.
    `mac`: as it told it last; empty if it never has.
    """

    heard: Mapping[Path, float]
    said: PeerMessage | None = None
    fit_since: float | None = None
    ready_since: float | None = None
    reaches_since: float | None = None
    idle_since: float | None = None
    gap: float = 0.0
    mac: str = ""

    def age(self, now: float) -> float:
        """Seconds since the peer was last heard, on whichever path was better."""
        return now - max(self.heard.values())

    def silent(self, terms: Terms, now: float) -> bool:
        """Nothing on either path for longer than the fabric would keep a dead peer's route."""
        return self.age(now) > terms.hold + 1

    def quiet(self, terms: Terms, now: float) -> bool:
        """Nothing on either path for most of the time after which VRRP calls a node dead: it is likely dead."""
        return self.age(now) >= HEARD_LATELY * terms.detect

    def fresh(self, terms: Terms, now: float) -> PeerMessage | None:
        """What the peer says, if it says it now."""
        return self.said if self.said is not None and self.age(now) <= terms.fresh else None

    def active(self, terms: Terms, now: float) -> PeerMessage | None:
        """The peer's message if it claims, now, to be active."""
        said = self.fresh(terms, now)
        return said if said is not None and said.active else None


@dataclass(frozen=True, slots=True)
class Challenge:
    """Our question to the peer before a promotion, and what our own look at the VLAN gave."""

    nonce: int
    asked_at: float
    evidence: int | None = None
    repeated_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """The peer's question to us and our evidence, None while we still count."""

    nonce: int
    evidence: int | None = None
    told_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Handover:
    """A planned switchover in progress, seen from the node that gives the role away or the one that takes it.

    `opening`: the taker should translate from now on, ahead of the VIP. `reclaimed_at`: the taker fell silent after
    the giver had let go of the VIP, and the giver wants it back.
    """

    number: int
    started_at: float
    prepared_at: float | None = None
    released_at: float | None = None
    local_at: float | None = None
    reclaimed_at: float | None = None
    opening: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """A request that still waits for its end: an operator's, or our own for the reason `why`."""

    number: int
    verb: str
    force: bool
    deadline: float
    why: str = ""


@dataclass(frozen=True, slots=True)
class Takeover:
    """What a promotion has left to be done; a node that is not active has none of it.

    `completing`: conntrackd still has to adopt the flows and to tell the peer all. After `completions` tries that
    failed it is given up, and `incomplete`. `fenced`: the peer's flow entries are dropped until it has emptied its
    cache. `boosted`: more VRRP priority until the peer is a synced BACKUP. Until `duplicate_until` what matches no flow
    is copied to the peer.
    """

    completing: bool = False
    completions: int = 0
    incomplete: bool = False
    fenced: bool = False
    boosted: bool = False
    duplicate_until: float | None = None

    def duplicates(self, now: float) -> bool:
        """What matches no flow is copied to the peer."""
        return self.duplicate_until is not None and now < self.duplicate_until


@dataclass(frozen=True, slots=True)
class Resync:
    """A standby's copy of the flows. `flushed_for`: the epoch of the peer for which our own were forgotten and its own
    asked for; `flushing`: that for which this is under way. `pulled_at`: when it was last done, `pulls`: how often
    again, since the copy was last in sync.
    """

    flushed_for: int | None = None
    flushing: int | None = None
    pulled_at: float | None = None
    pulls: int = 0

    def settling(self, now: float) -> bool:
        """Done so lately that the table is not checked yet."""
        return self.pulled_at is not None and now < self.pulled_at + SYNC_SETTLE

    def done_before(self, moment: float) -> bool:
        """The last one was done, and before `moment`."""
        return self.pulled_at is not None and self.pulled_at < moment

    def may_repeat(self, now: float) -> bool:
        """None is under way, and the last one has had time for its effect to show."""
        pause: float = min(PULL_PAUSE * 2 ** min(self.pulls, 8), PULL_PAUSE_MAX)
        return self.flushing is None and (self.pulled_at is None or now >= self.pulled_at + pause)


@dataclass(frozen=True, slots=True)
class Damping:
    """Losses of the role that follow each other. `falls`: for bad health; `losses`: also those while this node was
    well, to VRRP or to a newer promotion of the peer; a planned switchover is none.
    """

    falls: int = 0
    fell_at: float | None = None
    losses: int = 0
    lost_at: float | None = None

    def lost(self, now: float) -> Damping:
        """One more loss, for whatever reason; the first in a long time counts from one."""
        return replace(self, losses=self.losses_in_a_row(now) + 1, lost_at=now)

    def fallen(self, now: float) -> Damping:
        """One more loss for bad health."""
        recent = self.fell_at is not None and now - self.fell_at < FALLS_FORGOTTEN
        return replace(self.lost(now), falls=self.falls + 1 if recent else 1, fell_at=now)

    def losses_in_a_row(self, now: float) -> int:
        """Losses that are not forgotten yet."""
        return self.losses if self.lost_at is not None and now < self.lost_at + FALLS_FORGOTTEN else 0

    def tossed(self, now: float) -> bool:
        """Lost the role again and again, whatever the reason."""
        more = self.losses - LOSSES_BORNE
        return more > 0 and self.lost_at is not None and now < self.lost_at + min(2.0**more, FALL_HOLD_MAX)

    def ill(self, now: float) -> bool:
        """Lost the role to bad health again and again."""
        hold = min(2.0 ** (self.falls - 1), FALL_HOLD_MAX)
        return self.falls > 1 and self.fell_at is not None and now < self.fell_at + hold

    def lately(self, now: float, seconds: float) -> bool:
        """The last loss is less than `seconds` old."""
        return any(at is not None and now < at + seconds for at in (self.fell_at, self.lost_at))


@dataclass(frozen=True, slots=True)
class Fitness:
    """Since when this node has been what it is, without a break; None while it is not.

    `bgp_lost_at`: without a BGP session; `unfit_at`: not good enough to be given the role; `helpless_at`: not able to
    serve. `whole_since`: with links, gateway, ruleset and BGP all well. `blind_since`: the peer sees clients on the
    VLAN, and this node neither a client nor the peer. `unanswered_at`: when it last served and no packets came back for
    a FIP.
    """

    bgp_lost_at: float | None = None
    unfit_at: float | None = None
    helpless_at: float | None = None
    whole_since: float | None = None
    blind_since: float | None = None
    unanswered_at: float | None = None


@dataclass(frozen=True, slots=True)
class NodeState:
    """One node. Only `core/machine.py` and what its rules build on make new ones.

    `translating` is read back from the kernel after each load: clients are forwarded. `copying`: and what matches no
    flow is copied to the peer. `insisted_at`: when the peer was last told again that this node is active. `local_for`:
    the handover by which it became so.
    """

    terms: Terms
    phase: Phase
    since: float
    peer: PeerView
    vrrp: VrrpRole = VrrpRole.INIT
    health: Health = field(default_factory=Health)
    fitness: Fitness = Fitness()
    takeover: Takeover = Takeover()
    resync: Resync = Resync()
    damping: Damping = Damping()
    epoch: int = 0
    generation_seen: int = 0
    reserved: int = 0
    drained: bool = False
    copying: bool = False
    translating: bool = False
    insisted_at: float | None = None
    refresh_at: float = 0.0
    challenge: Challenge | None = None
    answer: Answer | None = None
    handover: Handover | None = None
    local_for: int | None = None
    refusals: int = 0
    last_nonce: int = 0
    request: Request | None = None
    asks_for_role: bool = False
    clients: tuple[IPv4Address, ...] = field(default=())
    account: Account = field(default_factory=Account)

    @property
    def claims_active(self) -> bool:
        """This node claims, to its peer, to be the active one."""
        return self.phase in CLAIMING

    @property
    def holds_vip(self) -> bool:
        """Serves, and has not let go of the VIP on purpose."""
        return self.claims_active and (self.handover is None or self.handover.released_at is None)

    @property
    def waits_for_fabric(self) -> bool:
        """Is being handed the role, announces the FIPs already, and does not translate before their packets come."""
        opening = self.handover is not None and self.handover.opening
        return self.phase is Phase.PREPARING and not opening

    @property
    def flows_to_hold(self) -> int:
        """How many flows a standby of this node has to have."""
        return self.health.flows if self.health.cached is None else self.health.cached

    def can_serve(self, now: float) -> bool:
        """Links, ruleset, gateway and BGP are well enough to carry the clients' traffic."""
        return self.health.reaches_out and self._has_bgp(now)

    def _has_bgp(self, now: float) -> bool:
        lost_at = self.fitness.bgp_lost_at
        return self.health.bgp.established > 0 or (lost_at is not None and now - lost_at < BGP_GRACE)

    def fit(self, now: float) -> bool:
        """Well, and nobody undoes what natpair repairs: good enough to be given the role."""
        return self.can_serve(now) and not self.health.unrepaired and not (self.claims_active and self.health.silent)

    def unanswered(self, now: float) -> bool:
        """No packets came back for a FIP when this node last served, and that is not long ago."""
        return self.fitness.unanswered_at is not None and now < self.fitness.unanswered_at + UNANSWERED_SECONDS

    def able(self, now: float) -> bool:
        """Would serve if given the role, whether or not it is in the election."""
        return not self.claims_active and self.fit(now) and self.health.keepalived and not self.blind(now)

    def blind(self, now: float) -> bool:
        """Its link of the VLAN is dead, to go by what the peer sees and this node does not.

        The peer has to say so for a while: clients that leave are missed by one node sooner than by the other.
        """
        since = self.fitness.blind_since
        return since is not None and max(self.peer.heard.values()) >= since + BLIND_SECONDS

    def helpless(self, now: float) -> bool:
        """Has not been able to serve for some seconds: uplink, ruleset, sessions, or its link of the VLAN."""
        return self.blind(now) or (
            self.fitness.helpless_at is not None and now >= self.fitness.helpless_at + UNFIT_SECONDS
        )

    def unfit(self, now: float) -> bool:
        """Has not been fit for some seconds."""
        return self.fitness.unfit_at is not None and now >= self.fitness.unfit_at + UNFIT_SECONDS

    def cut_off(self, now: float) -> bool:
        """Certainly of no use: a link is dead, no FIP can be announced, or the kernel does not take the ruleset.

        A next hop may be silent to ARP alone, and a ruleset that somebody changed may still translate.
        """
        closed = not self.health.ruleset and not self.translating
        return not self.health.public_up or closed or not self._has_bgp(now) or self.blind(now)

    def deferring(self, now: float) -> bool:
        """Cut off, and deaf for not very long: a peer may serve unheard, and this node could only disturb."""
        return self.terms.fresh < self.peer.age(now) < DEFER_SECONDS and self.cut_off(now)

    def peer_idle(self, now: float) -> bool:
        """The peer has said for a while, with nothing else in between, that it neither serves nor could."""
        since = self.peer.idle_since
        return since is not None and now >= since + self.terms.detect + IDLE_SECONDS

    def damped(self, now: float) -> bool:
        """Lost the role again and again: kept out for 2, 4, 8, … seconds, while the peer serves."""
        return self.damping.ill(now) or self.damping.tossed(now)

    def peer_serves(self, now: float) -> bool:
        """The peer's last word is that it serves well, and it has not been silent for so long that it must be gone."""
        said = self.peer.said
        well = said is not None and said.active and not (said.unfit or said.unserving)
        return well and not self.peer.silent(self.terms, now)

    def synced(self, now: float) -> bool:
        """This standby holds the active peer's conntrack entries, as far as counts can tell."""
        said = self.peer.active(self.terms, now)
        if said is None or self.resync.flushed_for != said.epoch or self.resync.settling(now):
            return False
        copy, counted = self.health.sync, self.health.flows >= SYNC_RATIO * said.flows - SYNC_SLACK
        return self.health.conntrackd and counted and not lacks_too_many(copy.sampled, copy.missing)

    def ready(self, now: float) -> bool:
        """Could become active this moment."""
        well = self.fit(now) and not self.blind(now)
        return well and self.phase is Phase.STANDBY and self.vrrp is VrrpRole.BACKUP

    def announcement(self) -> Announcement:
        """What BIRD should say; a node being handed the role says it before it has it."""
        active = self.claims_active or self.phase is Phase.PREPARING
        return announcement_for(active=active, epoch=self.epoch, policy=self.terms.policy)


def lacks_too_many(sampled: int, missing: int) -> bool:
    """More of a sample is missing than chance and the speed of replication explain; of few flows each one counts."""
    return sampled > 0 and missing > MISSING_RATIO * sampled


def flows_missing(sampled: int, missing: int, flows: int, copied: int = 0) -> int:
    """About how many of the active node's `flows` the standby, which has `copied`, does not have.

    A sample of the flows themselves says it best; without one the two counts have to do.
    """
    return round(flows * missing / sampled) if sampled else max(0, flows - copied)


def initial(terms: Terms, now: float, *, reserved: int = 0, drained: bool = False) -> NodeState:
    """A node that has just started and knows nothing but its disk."""
    return NodeState(
        terms=terms,
        phase=Phase.BOOTING,
        since=now,
        peer=PeerView(heard=dict.fromkeys(Path, now)),
        generation_seen=reserved,
        reserved=reserved,
        drained=drained,
    )


def message_of(state: NodeState, now: float) -> PeerMessage:
    """What the peer may know of `state`."""
    handover = state.handover
    giving = state.phase is Phase.HANDING_OVER and handover is not None
    taking = state.phase is Phase.PREPARING and handover is not None
    return PeerMessage(
        phase=state.phase,
        vrrp=state.vrrp,
        epoch=state.epoch,
        generation=state.generation_seen,
        ready=state.ready(now),
        synced=state.synced(now),
        drained=state.drained,
        config_hash=state.terms.config_hash,
        flows=state.flows_to_hold if state.claims_active else state.health.flows,
        flushed_for=state.resync.flushed_for or 0,
        handover=handover.number if giving and handover else 0,
        prepared_for=handover.number if taking and handover else 0,
        opened=bool(taking and handover and handover.opening and state.copying),
        local_for=state.local_for or 0,
        asks_for_role=state.asks_for_role,
        challenge=state.challenge.nonce if state.challenge else 0,
        answer=state.answer.nonce if state.answer else 0,
        evidence=state.answer.evidence if state.answer else None,
        clients=state.clients,
        alarms=state.health.alarms,
        sampled=state.health.sync.sampled,
        missing=state.health.sync.missing,
        sees=state.health.sees,
        able=state.able(now),
        unserving=state.claims_active and state.helpless(now),
        suspect=state.health.suspect,
        mac=state.health.mac,
        unanswered=state.unanswered(now),
        ask=state.health.asking,
        reached=state.health.reached,
        unfit=state.claims_active and state.unfit(now),
    )
