"""One reading of a node's own health, as one frozen value with a record for each thing that is read."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address

from natpair.core.capacity import Crowd
from natpair.core.messages import Alarm
from natpair.core.replies import FipReplies, ReplyState


@dataclass(frozen=True, slots=True)
class BgpSessions:
    """Sessions that are Established, all of them, and those whose other side takes no IPv4 route over IPv6."""

    established: int = 0
    total: int = 0
    plain_sessions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SyncReading:
    """A standby's copy of the flows. Of `sampled` flows that the active peer lately named, this node lacks `missing`.

    `quiet_seconds`: how long no message of the peer's conntrackd has come.
    """

    sampled: int = 0
    missing: int = 0
    quiet_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class FlowTable:
    """Room for flows. `most_flows`: what the table holds; `refusing`: new flows find no port, `overflowing`: no room.

    `limiting`: a client opens more than it may. `crowd`: most flows that one FIP has to one destination.
    """

    most_flows: int = 0
    refusing: bool = False
    overflowing: bool = False
    limiting: bool = False
    crowd: Crowd | None = None


@dataclass(frozen=True, slots=True)
class HeartbeatReading:
    """What is wrong with heartbeats. `foreign_version`: the peer's protocol version if it differs from ours.

    `keys_differ`: they come and do not verify. `key_mode`: the key file's permissions, `key_missing`: there is none.
    `clock_ahead`: seconds that this node's clock is ahead of its peer's. `large_lost`: heartbeats of full size do not
    come over the VLAN, small ones do.
    """

    foreign_version: int | None = None
    keys_differ: bool = False
    key_mode: int | None = None
    key_missing: bool = False
    clock_ahead: float = 0.0
    large_lost: bool = False


@dataclass(frozen=True, slots=True)
class AddressReading:
    """Addresses in the wrong place. `contested`: the MAC of another machine that recently claimed the VIP by ARP.

    `misplaced`: addresses on a wrong interface. `twice`: addresses that another machine has, too.
    """

    contested: str | None = None
    misplaced: tuple[str, ...] = ()
    twice: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DiskTrouble:
    """A disk that has not answered for `seconds`, or refused a write with `error`."""

    path: str
    seconds: float | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """One reading of the node's own health; a missing reading counts as bad.

    `flows` counts the kernel's, `cached` those that conntrackd replicates: the node's own are not among them.
    `unrepaired` names what is wrong and does not stay repaired. `suspect`: the gateway has not answered the
    last question: a lost packet, or the first sign that the internet is away. `mac` is that of the private interface.
    `sees` counts the clients heard on the VLAN in the last seconds, None if nobody counts. `private_why`, `public_why`:
    why a link is not up. `leaking`: the leak guard drops packets of clients. `barred`: other tools' chains that may
    drop what clients send, to go by the last few packets. `failed_parts`: parts of the agent that lately failed and
    were started again, each with its error. `rollback_at`: when an apply that nobody has confirmed is undone.
    `replies`: for each FIP, whether packets come back. `asking`: what the peer should try to reach in its own name;
    `reached`: whether this node, so asked, reaches it. `alarms`: of the conditions that it led to, what the peer should
    know.
    """

    private_up: bool = False
    public_up: bool = False
    private_why: str = ""
    public_why: str = ""
    mac: str = ""
    ruleset: bool = False
    gateway: bool = False
    suspect: bool = False
    conntrackd: bool = False
    keepalived: bool = False
    bgp: BgpSessions = BgpSessions()
    flows: int = 0
    cached: int | None = None
    table: FlowTable = FlowTable()
    sync: SyncReading = SyncReading()
    heartbeats: HeartbeatReading = HeartbeatReading()
    addresses: AddressReading = AddressReading()
    disk: DiskTrouble | None = None
    sees: int | None = None
    relaying_seconds: float = 0.0
    leaking: bool = False
    unrepaired: tuple[str, ...] = ()
    barred: tuple[str, ...] = ()
    failed_parts: tuple[str, ...] = ()
    rollback_at: float | None = None
    replies: tuple[FipReplies, ...] = ()
    asking: tuple[IPv4Address, ...] = ()
    reached: bool | None = None
    alarms: tuple[Alarm, ...] = ()

    @property
    def silent(self) -> tuple[FipReplies, ...]:
        """The FIPs without replies while this node is active."""
        return tuple(one for one in self.replies if one.state is ReplyState.SILENT)

    @property
    def suspected(self) -> tuple[FipReplies, ...]:
        """The FIPs that may have no replies: enough to report, not enough to act on."""
        return tuple(one for one in self.replies if one.state is ReplyState.SUSPECTED)

    @property
    def can_forward(self) -> bool:
        """True if the private link is up and the ruleset is in force: the minimum for forwarding."""
        return self.private_up and self.ruleset

    @property
    def reaches_out(self) -> bool:
        """True if it can forward and its uplink works. Whether the fabric routes to it is a matter of BGP."""
        return self.can_forward and self.public_up and self.gateway
