"""The heartbeat that the two agents exchange: one message with the sender's state, never a command.

Every message has the sender's whole public state, so a lost one does no harm, and the next replaces a late
one. A handover, a challenge and an answer are fields, too. How messages are
authenticated and protected from replay is in `core/wire.py`.
"""

from __future__ import annotations

from enum import StrEnum
from ipaddress import IPv4Address
from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

MAX_GENERATION = 2**29
"""More than any real number of promotions. A larger one means a damaged file, and would give an invalid MED."""

MAC_PATTERN = r"^(([0-9a-f]{2}:){5}[0-9a-f]{2})?$"

_Count = Annotated[int, Field(ge=0, lt=2**63)]


class VrrpRole(StrEnum):
    """Keepalived's own role (keepalived(8), notify FIFO)."""

    INIT = "INIT"
    BACKUP = "BACKUP"
    MASTER = "MASTER"
    FAULT = "FAULT"


class Phase(StrEnum):
    """A node's phase in the takeover protocol. `core/rules.py` has the rule of each."""

    BOOTING = "booting"
    STANDBY = "standby"
    CHALLENGING = "challenging"
    REFUSED = "refused"
    PREPARING = "preparing"
    ACTIVE = "active"
    HANDING_OVER = "handing-over"
    YIELDING = "yielding"
    FAULT = "fault"
    DRAINED = "drained"


CLAIMING = frozenset({Phase.ACTIVE, Phase.HANDING_OVER})
"""Phases in which a node claims to be active."""


SAMPLE_SIZE = 32
"""Flows in a sample. If one flow in twenty is missing, four of five samples show it. Looking all up takes some 20
ms."""


_FlowPort = Annotated[int, Field(ge=0, le=65535)]


class Flow(NamedTuple):
    """A client's flow as it began: what both nodes must know to translate it alike. An array in JSON."""

    protocol: Annotated[int, Field(ge=0, le=255)]
    source: IPv4Address
    source_port: _FlowPort
    target: IPv4Address
    target_port: _FlowPort


class Alarm(NamedTuple):
    """A condition that the sender reports: its code and its text."""

    code: Annotated[str, Field(max_length=40)]
    text: Annotated[str, Field(max_length=200)]


MOST_ALARMS = 4


class PeerMessage(BaseModel):
    """One agent's state as it tells its peer.

    `epoch` is the epoch of the sender's last promotion, 0 if it never had one; `generation` is the
    highest it has seen or reserved on its disk. `ready` means: could
    serve if asked. `flushed_for` is the epoch of the receiver's promotion after which the sender
    emptied its internal conntrackd cache. `handover`, `prepared_for` and `local_for` carry the number
    of a planned switchover, `opened` says that its taker translates already; `challenge` and `answer`
    carry that of a challenge. `evidence` counts clients that answered ARP on the VLAN just now, None
    while still counting. `sees` counts the clients heard on the VLAN in the last seconds, None if nobody counts. `able`
    means: well enough to serve, though it may be drained or out of the election; `unserving`: claims to be active, and
    has not been able to serve for some seconds. `sample` holds some flows of an active sender now and then, on the
    private path only; a standby answers with how many it was last asked for (`sampled`, 0 if not lately) and how many
    of them it lacks.
    `unanswered`: no packets came back when the sender served lately. An active sender names in `ask` what its peer
    should try to reach, and `reached` is the peer's answer. `alarms`: conditions that only the sender can see.

    During an upgrade the two are of different versions: fields that are not known here are passed over, fields that
    are not there have their defaults, and a change that this does not cover raises the version in `core/wire.py`.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", strict=False)

    phase: Phase
    vrrp: VrrpRole
    epoch: Annotated[int, Field(ge=0, lt=2 * MAX_GENERATION)] = 0
    generation: Annotated[int, Field(ge=0, lt=MAX_GENERATION)] = 0
    ready: bool = False
    synced: bool = False
    drained: bool = False
    config_hash: Annotated[str, Field(max_length=64)] = ""
    flows: _Count = 0
    flushed_for: _Count = 0
    handover: _Count = 0
    prepared_for: _Count = 0
    opened: bool = False
    local_for: _Count = 0
    asks_for_role: bool = False
    challenge: _Count = 0
    answer: _Count = 0
    evidence: _Count | None = None
    clients: Annotated[tuple[IPv4Address, ...], Field(max_length=4)] = ()
    sees: _Count | None = None
    able: bool = False
    unserving: bool = False
    suspect: bool = False
    unfit: bool = False
    unanswered: bool = False
    ask: Annotated[tuple[IPv4Address, ...], Field(max_length=4)] = ()
    reached: bool | None = None
    mac: Annotated[str, Field(pattern=MAC_PATTERN)] = ""
    alarms: Annotated[tuple[Alarm, ...], Field(max_length=MOST_ALARMS)] = ()
    sampled: _Count = 0
    missing: _Count = 0
    sample: Annotated[tuple[Flow, ...], Field(max_length=SAMPLE_SIZE)] = ()

    @property
    def active(self) -> bool:
        """The sender claims to be the active node."""
        return self.phase in CLAIMING
