"""Checks for each FIP whether replies come back, from the clients' own traffic and, if that proves nothing, by probes.

A client's packets may go to a destination that does not exist, so missing replies alone prove nothing. A probe is an
echo request to the gateway, or to `health.probe_target`; one is sent from the FIP and one from the node's own address.
If the gateway answers and clients get no replies, destinations that have answered clients before are probed as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Evidence:
    """How much evidence is required. `misses`: probes in a row without an answer; `misses_lost`: the same if clients
    get no replies either. `packets`: clients' packets in a row, over `seconds`, without a reply. `rounds`: times that
    all known destinations were probed without an answer; `rounds_one` if only one is known, because it may be down
    itself.
    """

    misses: int
    misses_lost: int
    packets: int
    seconds: float
    rounds: int
    rounds_one: int


TO_TELL = Evidence(misses=3, misses_lost=2, packets=6, seconds=1.0, rounds=2, rounds_one=3)
"""Enough to report that replies may be missing. Probes are 0.3 s apart; a single lost one is not reported."""
TO_ACT = Evidence(misses=7, misses_lost=7, packets=12, seconds=2.0, rounds=5, rounds_one=10)
"""Enough for the role to move."""
PROVEN_SECONDS = 2.0
"""Seconds for which one reply proves that replies come back."""
SUSPECT_SECONDS = 0.5
"""Seconds of clients' packets without a reply after which the node probes."""


class ReplyState(StrEnum):
    """What is known of one FIP."""

    UNKNOWN = "unknown"  # clients send nothing, and the target answers no probe
    ASKING = "asking"
    ANSWERED = "answered"
    SUSPECTED = "suspected"  # nothing has come back for a moment: reported, but the role does not move yet
    SILENT = "silent"


class Where(StrEnum):
    """Where replies are lost, if they do not come back."""

    NOWHERE = ""
    FIP = "fip"  # the target answers the node's own address, but not this FIP
    LINE = "line"  # the gateway answers, but no destination behind it does
    TARGET = "target"  # the target answers neither


@dataclass(frozen=True, slots=True)
class FipReplies:
    """The result for one FIP. `lost`: clients' packets since the last reply. `elsewhere`: the machine that answers for
    it.
    """

    fip: str
    state: ReplyState
    where: Where = Where.NOWHERE
    lost: int = 0
    elsewhere: str = ""


@dataclass(frozen=True, slots=True)
class Track:
    """One FIP's evidence. `asked`: probes in a row without an answer. `far`: rounds beyond the gateway without one."""

    passed: int | None = None
    back: int = 0
    proof_at: float | None = None
    heard_at: float | None = None
    lost: int = 0
    lost_at: float = 0.0
    lost_last_at: float = 0.0
    asked: int = 0
    far: int = 0
    elsewhere: str = ""

    def counted(self, passed: int, back: int, now: float) -> Track:
        """The evidence after a reading of the FIP's two packet counters: sent (`passed`) and received (`back`)."""
        if self.passed is None or passed < self.passed or back < self.back:
            return replace(self, passed=passed, back=back)
        if back > self.back:
            return Track(passed, back, proof_at=now, heard_at=now)
        if passed == self.passed:
            return self
        lost = self.lost + passed - self.passed
        return replace(self, passed=passed, lost=lost, lost_at=self.lost_at or now, lost_last_at=now)

    def suspect(self, now: float) -> bool:
        """True if clients send packets and nothing comes back."""
        return self.lost > 0 and now - self.lost_at >= SUSPECT_SECONDS and now - self.lost_last_at < PROVEN_SECONDS

    def proven(self, now: float) -> bool:
        """True if a client got a reply within the last `PROVEN_SECONDS`."""
        return self.proof_at is not None and now - self.proof_at < PROVEN_SECONDS and not self.suspect(now)


@dataclass(frozen=True, slots=True)
class Own:
    """The probes from the node's own address: how many in a row had no answer, and whether any ever had one."""

    asked: int = 0
    ever: bool = False


@dataclass(frozen=True, slots=True)
class Replies:
    """The evidence for all FIPs of an active node. `behind`: the target is configured and lies behind the gateway.

    `known`: how many destinations that have answered clients are probed. `peer_reaches`: the peer gets answers there.
    `echoes`: some destination behind the gateway has answered a probe. Without one, silence there proves little.
    """

    tracks: Mapping[str, Track] = field(default_factory=lambda: MappingProxyType({}))
    own: Own = Own()
    behind: bool = False
    known: int = 0
    peer_reaches: bool = False
    echoes: bool = False

    @classmethod
    def of(cls, fips: Iterable[str], *, behind: bool) -> Replies:
        """The start: no evidence yet."""
        return cls({fip: Track() for fip in fips}, behind=behind)

    def counted(self, counts: Mapping[str, tuple[int, int]], now: float) -> Replies:
        """The evidence after a reading of each FIP's counters: packets sent and packets received."""
        tracks = {fip: t.counted(*counts[fip], now) if fip in counts else t for fip, t in self.tracks.items()}
        return replace(self, tracks=tracks)

    def to_ask(self, now: float) -> tuple[str, ...]:
        """The FIPs to probe: no client has had a reply recently."""
        return tuple(fip for fip, track in self.tracks.items() if not track.proven(now))

    def asked(self, fips: Iterable[str]) -> Replies:
        """The evidence after a probe was sent from each of `fips` and from the node's own address."""
        asked = {*fips}
        tracks = {fip: replace(t, asked=t.asked + (fip in asked)) for fip, t in self.tracks.items()}
        return replace(self, tracks=tracks, own=replace(self.own, asked=self.own.asked + 1))

    def answered(self, address: str, now: float) -> Replies:
        """The evidence after the target answered `address`: a FIP, or else the node's own address."""
        track = self.tracks.get(address)
        if track is None:
            return replace(self, own=Own(0, ever=True))
        return self._with(address, replace(track, asked=0, elsewhere="", heard_at=now))

    def with_peer(self, *, reaches: bool) -> Replies:
        """After what the peer says: does it get answers? If that is news, this node asks twice more before it acts.

        Both may have been cut off, and the peer may be the first to notice that this is over.
        """
        if not reaches or self.peer_reaches:
            return replace(self, peer_reaches=reaches)
        tracks = {
            fip: replace(track, far=min(track.far, TO_ACT.rounds - 2), asked=min(track.asked, TO_ACT.misses - 2))
            for fip, track in self.tracks.items()
        }
        return replace(self, tracks=tracks, peer_reaches=True)

    def asked_far(self, fip: str, known: int) -> Replies:
        """The evidence after all `known` destinations were probed from `fip`. Earlier rounds without destinations are
        forgotten once there are some.
        """
        before = self.tracks[fip].far if self.known or not known else 0
        return replace(self._with(fip, replace(self.tracks[fip], far=before + 1)), known=known)

    def answered_far(self, fip: str, now: float) -> Replies:
        """The evidence after a destination behind the gateway answered `fip`: the line works."""
        track = self.tracks.get(fip)
        if track is None:
            return self
        heard = replace(track, far=0, lost=0, lost_at=0.0, heard_at=now)
        return replace(self._with(fip, heard), echoes=True)

    def patient(self, fip: str) -> bool:
        """True if destinations have been probed for so long that it may be done less often. Some clients only send to
        destinations that do not exist.
        """
        return self.tracks[fip].far > TO_ACT.rounds_one

    def claimed(self, fip: str, by: str) -> Replies:
        """The evidence after machine `by` answered an echo request to `fip` itself. A natpair node never
        answers one.
        """
        return self._with(fip, replace(self.tracks[fip], elsewhere=by)) if fip in self.tracks else self

    def urgent(self, now: float) -> bool:
        """True if something may be wrong, so that probes are sent faster."""
        return any(track.asked > 0 or (track.lost > 0 and not self.patient(fip)) for fip, track in self.tracks.items())

    def want_far(self, now: float) -> tuple[str, ...]:
        """The FIPs whose clients get no replies although the gateway answers probes from the FIP.

        After a line was found cut, its FIP stays in the list until the line works again, even if no client sends any
        more.
        """
        if self.behind:
            return ()
        doubted = {
            fip: track
            for fip, track in self.tracks.items()
            if track.suspect(now) or self._where(track, now, TO_ACT) is Where.LINE
        }
        return tuple(fip for fip, track in doubted.items() if track.heard_at is not None and track.asked < 2)

    @property
    def suspect(self) -> bool:
        """True if destinations were probed more than once without an answer, so that the peer should try, too."""
        return any(track.far > 1 for track in self.tracks.values())

    def verdicts(self, now: float, *, settled: bool) -> tuple[FipReplies, ...]:
        """The result for each FIP. No FIP is called silent until the fabric has `settled` after a change of role."""
        return tuple(self._verdict(fip, track, now, settled=settled) for fip, track in self.tracks.items())

    def _verdict(self, fip: str, track: Track, now: float, *, settled: bool) -> FipReplies:
        proven = track.proven(now)
        sure = Where.NOWHERE if proven else self._where(track, now, TO_ACT)
        where = sure or (Where.NOWHERE if proven else self._where(track, now, TO_TELL))
        if where:
            told = ReplyState.SILENT if sure else ReplyState.SUSPECTED
            return FipReplies(fip, told if settled else ReplyState.ASKING, where, track.lost, track.elsewhere)
        if track.heard_at is not None:
            return FipReplies(fip, ReplyState.ANSWERED, lost=track.lost)
        known = self.own.asked > TO_TELL.misses
        return FipReplies(fip, ReplyState.UNKNOWN if known else ReplyState.ASKING, lost=track.lost)

    def _where(self, track: Track, now: float, enough: Evidence) -> Where:
        lost = track.lost >= enough.packets and now - track.lost_at >= enough.seconds
        misses = enough.misses_lost if lost else enough.misses
        if track.asked >= misses:
            if self.own.ever and self.own.asked < misses:
                return Where.FIP
            # A gateway that has only stopped answering pings does no harm.
            return Where.TARGET if self.own.ever and (lost or self.behind) else Where.NOWHERE
        if not (lost and self.known and (self.echoes or enough is TO_ACT)):
            return Where.NOWHERE
        rounds = enough.rounds if self.known > 1 or self.peer_reaches else enough.rounds_one
        return Where.LINE if track.far >= rounds else Where.NOWHERE

    def _with(self, fip: str, track: Track) -> Replies:
        return replace(self, tracks={**self.tracks, fip: track})
