"""Everything a node knows, as one frozen value, and the questions that it answers directly.

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
"""Seconds without any BGP session before a node counts as unhealthy. A restarted BIRD is back sooner."""
REQUEST_LIMIT = 12.0
"""Seconds after which a request without a result is answered as timed out."""
SYNC_SETTLE = 0.3
"""Seconds after a resync in which the flow table is not checked yet."""
SYNC_SLACK = 16
"""Entries that may be missing on a standby in addition to the ratio: its peer's own, and those in flight."""
SYNC_RATIO = 0.95
HEARD_LATELY = 0.6
"""Fraction of the detection time. A peer that was heard within it is not silent."""
FALLS_FORGOTTEN = 120.0
"""Seconds without another loss of the role after which earlier ones no longer count."""
FALL_HOLD_MAX = 60.0
LOSSES_BORNE = 2
"""Losses of the role in a row, for any reason, that do not keep the node out yet."""
UNFIT_SECONDS = 3.0
"""Seconds after which an unhealthy active node reports it. That ends the damping of a healthy peer."""
BLIND_SECONDS = 1.0
"""Seconds for which the peer must see clients and this node none before its VLAN link counts as dead."""
IDLE_SECONDS = 2.5
"""Seconds in addition to the detection time after which a peer that reports that it does not serve counts as idle."""
DEFER_SECONDS = 60.0
"""Seconds of silence for which a cut-off node assumes that its peer may be active without being heard."""
MISSING_RATIO = 0.05
"""Fraction of a sample that may be missing. Flows that began while the VLAN was cut should not prevent a handover."""
UNANSWERED_SECONDS = 300.0
"""Seconds for which a node that gave the role away because no replies came back does not get it back for that
reason."""
PULL_PAUSE = 6.0
PULL_PAUSE_MAX = 30.0
"""Seconds between two resyncs that a standby requests, so that the effect of the first can show in a sample."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What never changes while the agent runs: the nodes' names, settings, and the profile's times in seconds."""

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
    """Seconds within which both nodes notice that a gateway answers again: two probes."""

    @property
    def fresh(self) -> float:
        """Seconds for which the peer's last message counts as current."""
        return max(5 * self.beat, 0.3)

    @classmethod
    def of(cls, gateway: Gateway, me: str, config_hash: str) -> Terms:
        """The terms of node `me`. A beat is a third of VRRP's detection time, and between 20 and 200 ms."""
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
    """The peer as its messages show it. `heard` starts at our own start, so silence counts from there.

    `fit_since`: from then on without a break it has said that it could take the role over without harm; `ready_since`:
    that it could take it, even if flows break; `reaches_since`: that it gets the answers that this node misses;
    `idle_since`: that it neither serves nor could. `gap`: the longest silence between two of its messages lately.
    `mac`: the MAC that it last reported; empty if it never has.
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
        """Seconds since the peer was last heard on either path."""
        return now - max(self.heard.values())

    def silent(self, terms: Terms, now: float) -> bool:
        """True if nothing was heard on either path for longer than the fabric keeps a dead peer's route."""
        return self.age(now) > terms.hold + 1

    def quiet(self, terms: Terms, now: float) -> bool:
        """True if nothing was heard on either path for most of VRRP's detection time: the peer is probably dead."""
        return self.age(now) >= HEARD_LATELY * terms.detect

    def fresh(self, terms: Terms, now: float) -> PeerMessage | None:
        """The peer's last message if it is current, otherwise None."""
        return self.said if self.said is not None and self.age(now) <= terms.fresh else None

    def active(self, terms: Terms, now: float) -> PeerMessage | None:
        """The peer's last message if it is current and the peer claims to be active, otherwise None."""
        said = self.fresh(terms, now)
        return said if said is not None and said.active else None


@dataclass(frozen=True, slots=True)
class Challenge:
    """Our challenge to the peer before a promotion, and how many clients this node saw on the VLAN (`evidence`)."""

    nonce: int
    asked_at: float
    evidence: int | None = None
    repeated_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """The peer's challenge to us, and our evidence; None while this node still counts."""

    nonce: int
    evidence: int | None = None
    told_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Handover:
    """A planned switchover in progress, as the giver or the taker sees it.

    `opening`: the taker should translate from now on, before the VIP arrives. `reclaimed_at`: the taker fell silent
    after the giver had released the VIP, and the giver wants it back.
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
    """A request that is not answered yet: an operator's, or this node's own for the reason `why`."""

    number: int
    verb: str
    force: bool
    deadline: float
    why: str = ""


@dataclass(frozen=True, slots=True)
class Takeover:
    """What remains to be done after a promotion; only an active node has any of it.

    `completing`: conntrackd still has to adopt the flows and send them all to the peer. After `completions` failed
    attempts it stops, and `incomplete` is true. `fenced`: the peer's flow entries are dropped until it has flushed its
    cache. `boosted`: the VRRP priority is raised until the peer is a synced BACKUP. Until `duplicate_until`, packets
    that match no flow are copied to the peer.
    """

    completing: bool = False
    completions: int = 0
    incomplete: bool = False
    fenced: bool = False
    boosted: bool = False
    duplicate_until: float | None = None

    def duplicates(self, now: float) -> bool:
        """True while packets that match no flow are copied to the peer."""
        return self.duplicate_until is not None and now < self.duplicate_until


@dataclass(frozen=True, slots=True)
class Resync:
    """A standby's copy of the flows. A resync flushes our own entries and requests the active peer's.

    `flushed_for`: the peer's epoch for which that was done; `flushing`: the one for which it is running. `pulled_at`:
    when it was last done. `pulls`: how often it was repeated since the copy was last in sync.
    """

    flushed_for: int | None = None
    flushing: int | None = None
    pulled_at: float | None = None
    pulls: int = 0

    def settling(self, now: float) -> bool:
        """True if the last resync is so recent that the table is not checked yet."""
        return self.pulled_at is not None and now < self.pulled_at + SYNC_SETTLE

    def done_before(self, moment: float) -> bool:
        """True if a resync was done and the last one was before `moment`."""
        return self.pulled_at is not None and self.pulled_at < moment

    def may_repeat(self, now: float) -> bool:
        """True if no resync is running and the last one has had time to show its effect."""
        pause: float = min(PULL_PAUSE * 2 ** min(self.pulls, 8), PULL_PAUSE_MAX)
        return self.flushing is None and (self.pulled_at is None or now >= self.pulled_at + pause)


@dataclass(frozen=True, slots=True)
class Damping:
    """Losses of the role in a row. `falls`: because this node was unhealthy; `losses`: also those of a healthy node, to
    VRRP or to a newer promotion of the peer. A planned switchover does not count.
    """

    falls: int = 0
    fell_at: float | None = None
    losses: int = 0
    lost_at: float | None = None

    def lost(self, now: float) -> Damping:
        """One more loss, for any reason. After `FALLS_FORGOTTEN` seconds without one the count starts at 1 again."""
        return replace(self, losses=self.losses_in_a_row(now) + 1, lost_at=now)

    def fallen(self, now: float) -> Damping:
        """One more loss because this node was unhealthy."""
        recent = self.fell_at is not None and now - self.fell_at < FALLS_FORGOTTEN
        return replace(self.lost(now), falls=self.falls + 1 if recent else 1, fell_at=now)

    def losses_in_a_row(self, now: float) -> int:
        """The number of losses that still count."""
        return self.losses if self.lost_at is not None and now < self.lost_at + FALLS_FORGOTTEN else 0

    def tossed(self, now: float) -> bool:
        """True if the role was lost repeatedly, for any reason, and the pause is not over."""
        more = self.losses - LOSSES_BORNE
        return more > 0 and self.lost_at is not None and now < self.lost_at + min(2.0**more, FALL_HOLD_MAX)

    def ill(self, now: float) -> bool:
        """True if the role was lost repeatedly because this node was unhealthy, and the pause is not over."""
        hold = min(2.0 ** (self.falls - 1), FALL_HOLD_MAX)
        return self.falls > 1 and self.fell_at is not None and now < self.fell_at + hold

    def lately(self, now: float, seconds: float) -> bool:
        """True if the last loss is less than `seconds` old."""
        return any(at is not None and now < at + seconds for at in (self.fell_at, self.lost_at))


@dataclass(frozen=True, slots=True)
class Fitness:
    """Since when each of these holds without a break; None if it does not.

    `bgp_lost_at`: no BGP session; `unfit_at`: not healthy enough to be given the role; `helpless_at`: not able to
    serve. `whole_since`: links, gateway, ruleset and BGP are all healthy. `blind_since`: the peer sees clients on the
    VLAN, and this node sees neither clients nor the peer. `unanswered_at`: when this node was last active without
    replies for a FIP.
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

    `translating` and `copying` are read back from the kernel after each load. `translating`: clients are forwarded.
    `copying`: packets that match no flow are copied to the peer as well. `insisted_at`: when this node last repeated to
    the peer that it is active. `local_for`: the handover by which it became active.
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
        """True if this node tells its peer that it is active."""
        return self.phase in CLAIMING

    @property
    def holds_vip(self) -> bool:
        """True if this node is active and has not released the VIP in a handover."""
        return self.claims_active and (self.handover is None or self.handover.released_at is None)

    @property
    def waits_for_fabric(self) -> bool:
        """True while a taker announces the FIPs already and waits for packets before it translates."""
        opening = self.handover is not None and self.handover.opening
        return self.phase is Phase.PREPARING and not opening

    @property
    def flows_to_hold(self) -> int:
        """How many flows a standby of this node must have."""
        return self.health.flows if self.health.cached is None else self.health.cached

    def can_serve(self, now: float) -> bool:
        """True if links, ruleset, gateway and BGP are healthy enough to carry the clients' traffic."""
        return self.health.reaches_out and self._has_bgp(now)

    def _has_bgp(self, now: float) -> bool:
        lost_at = self.fitness.bgp_lost_at
        return self.health.bgp.established > 0 or (lost_at is not None and now - lost_at < BGP_GRACE)

    def fit(self, now: float) -> bool:
        """True if this node is healthy enough to be given the role: it can serve, repairs hold, and replies
        come back.
        """
        return self.can_serve(now) and not self.health.unrepaired and not (self.claims_active and self.health.silent)

    def unanswered(self, now: float) -> bool:
        """True if replies were missing for a FIP when this node was last active, within `UNANSWERED_SECONDS`."""
        return self.fitness.unanswered_at is not None and now < self.fitness.unanswered_at + UNANSWERED_SECONDS

    def able(self, now: float) -> bool:
        """True if this standby could serve, whether or not it is in the election."""
        return not self.claims_active and self.fit(now) and self.health.keepalived and not self.blind(now)

    def blind(self, now: float) -> bool:
        """True if this node's VLAN link is dead: the peer sees clients there and this node does not.

        The peer must say so for `BLIND_SECONDS`. If clients leave, one node notices sooner than the other.
        """
        since = self.fitness.blind_since
        return since is not None and max(self.peer.heard.values()) >= since + BLIND_SECONDS

    def helpless(self, now: float) -> bool:
        """True if this node has not been able to serve for `UNFIT_SECONDS`, or its VLAN link is dead."""
        return self.blind(now) or (
            self.fitness.helpless_at is not None and now >= self.fitness.helpless_at + UNFIT_SECONDS
        )

    def unfit(self, now: float) -> bool:
        """True if this node has not been fit for `UNFIT_SECONDS`."""
        return self.fitness.unfit_at is not None and now >= self.fitness.unfit_at + UNFIT_SECONDS

    def cut_off(self, now: float) -> bool:
        """True if this node certainly cannot serve: a link is dead, no FIP can be announced, or the kernel rejects the
        ruleset.

        A gateway that does not answer ARP is not enough, nor is a changed ruleset that still translates.
        """
        closed = not self.health.ruleset and not self.translating
        return not self.health.public_up or closed or not self._has_bgp(now) or self.blind(now)

    def deferring(self, now: float) -> bool:
        """True if this node is cut off and the peer was heard less than `DEFER_SECONDS` ago. The peer may be active
        without being heard, and this node could only disturb it.
        """
        return self.terms.fresh < self.peer.age(now) < DEFER_SECONDS and self.cut_off(now)

    def peer_idle(self, now: float) -> bool:
        """True if the peer has said for some seconds, without a break, that it neither serves nor could."""
        since = self.peer.idle_since
        return since is not None and now >= since + self.terms.detect + IDLE_SECONDS

    def damped(self, now: float) -> bool:
        """True if the role was lost repeatedly: this node stays out for 2, 4, 8, … seconds while the peer serves."""
        return self.damping.ill(now) or self.damping.tossed(now)

    def peer_serves(self, now: float) -> bool:
        """True if the peer's last message says that it serves and is healthy, and the peer is not silent."""
        said = self.peer.said
        well = said is not None and said.active and not (said.unfit or said.unserving)
        return well and not self.peer.silent(self.terms, now)

    def synced(self, now: float) -> bool:
        """True if this standby has the active peer's conntrack entries, as far as counts and samples show."""
        said = self.peer.active(self.terms, now)
        if said is None or self.resync.flushed_for != said.epoch or self.resync.settling(now):
            return False
        copy, counted = self.health.sync, self.health.flows >= SYNC_RATIO * said.flows - SYNC_SLACK
        return self.health.conntrackd and counted and not lacks_too_many(copy.sampled, copy.missing)

    def ready(self, now: float) -> bool:
        """True if this standby could become active now."""
        well = self.fit(now) and not self.blind(now)
        return well and self.phase is Phase.STANDBY and self.vrrp is VrrpRole.BACKUP

    def announcement(self) -> Announcement:
        """What BIRD should announce. In a handover the taker announces as active before it has the role."""
        active = self.claims_active or self.phase is Phase.PREPARING
        return announcement_for(active=active, epoch=self.epoch, policy=self.terms.policy)


def lacks_too_many(sampled: int, missing: int) -> bool:
    """True if more of a sample is missing than chance and the speed of replication explain."""
    return sampled > 0 and missing > MISSING_RATIO * sampled


def flows_missing(sampled: int, missing: int, flows: int, copied: int = 0) -> int:
    """About how many of the active node's `flows` are missing on the standby, which has `copied` flows.

    A sample gives the best estimate. Without one the difference of the two counts is used.
    """
    return round(flows * missing / sampled) if sampled else max(0, flows - copied)


def initial(terms: Terms, now: float, *, reserved: int = 0, drained: bool = False) -> NodeState:
    """The state of a node that has just started and knows only what is on its disk."""
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
    """The heartbeat for `state`: what this node tells its peer."""
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
