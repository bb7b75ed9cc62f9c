"""The events of a node. Events carry facts; `core/machine.py` decides what follows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address

from natpair.core.account import Lack, Trouble, Work
from natpair.core.health import Health
from natpair.core.messages import PeerMessage, VrrpRole
from natpair.core.wire import Path


@dataclass(frozen=True, slots=True)
class VrrpChanged:
    """Keepalived's role, confirmed by reading it back."""

    role: VrrpRole


@dataclass(frozen=True, slots=True)
class PeerHeard:
    """An authenticated, fresh message of the peer's agent came in on `path`."""

    path: Path
    message: PeerMessage


@dataclass(frozen=True, slots=True)
class HealthRead:
    """A complete reading of the node's own health."""

    health: Health


@dataclass(frozen=True, slots=True)
class VlanProbed:
    """`answers` known clients answered ARP on the VLAN; `nonce` names the challenge it was for."""

    nonce: int
    answers: int


@dataclass(frozen=True, slots=True)
class ClientsSeen:
    """Addresses of clients lately seen on the VLAN, at most four."""

    clients: tuple[IPv4Address, ...]


@dataclass(frozen=True, slots=True)
class ArrivalSeen:
    """Packets for a FIP arrive on this node's public interface: the fabric routes to this node."""


@dataclass(frozen=True, slots=True)
class TrafficSwitched:
    """The ruleset in force, as read back: whether it forwards clients, whether it copies what matches no flow."""

    local: bool
    duplicate: bool


@dataclass(frozen=True, slots=True)
class ConntrackdStarted:
    """conntrackd has (re)started. Its internal cache now has injected entries as if they were this node's own."""


@dataclass(frozen=True, slots=True)
class ConntrackDone:
    """A `Conntrack` action finished; `ok` says how."""

    job: str
    tag: int
    ok: bool


@dataclass(frozen=True, slots=True)
class Frozen:
    """This machine stood still for `gap` seconds, agent and Keepalived alike."""

    gap: float


class Verb(StrEnum):
    """What an operator may ask of an agent."""

    SWITCHOVER = "switchover"
    DRAIN = "drain"
    UNDRAIN = "undrain"


@dataclass(frozen=True, slots=True)
class Asked:
    """An operator's request; the answer is a `Reply` action with the same number."""

    number: int
    verb: Verb
    force: bool = False


@dataclass(frozen=True, slots=True)
class AccountSeen:
    """The provider's account was read. A part that could not be read is None, and `troubles` says why."""

    lacks: tuple[Lack, ...] | None
    planned: tuple[Work, ...] | None
    events: tuple[Work, ...] | None
    troubles: tuple[Trouble, ...] = ()


@dataclass(frozen=True, slots=True)
class RepairEnded:
    """A `RepairShares` has ended. `trouble`: why it failed, None if it succeeded."""

    trouble: Trouble | None


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed. Timers are compared with the `now` of the step."""


Event = (
    VrrpChanged
    | PeerHeard
    | HealthRead
    | VlanProbed
    | ClientsSeen
    | ArrivalSeen
    | TrafficSwitched
    | ConntrackdStarted
    | ConntrackDone
    | Frozen
    | Asked
    | AccountSeen
    | RepairEnded
    | Tick
)
