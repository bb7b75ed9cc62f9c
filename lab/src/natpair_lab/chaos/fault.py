"""What a fault is: data. Whom to ask, what to do, what must hold and for how long it may not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from natpair_lab.chaos.context import Context


class Invariant(StrEnum):
    """What must be true of the pair whatever happens; checked from outside."""

    LEAK = "I1"
    OWNERS = "I2"
    PATH = "I3"
    FLOWS = "I4"
    RESETS = "I5"
    UNIQUE = "I6"
    NEW = "I7"
    FIP_ONLY = "I8"
    RECOVERS = "I9"
    STATUS = "I10"
    UNTOUCHED = "I11"
    BOUNDED = "I12"
    SERVED = "I13"


WORDS: Mapping[Invariant, str] = {
    Invariant.LEAK: "nothing leaves an uplink with another source than a FIP or the node's own address",
    Invariant.OWNERS: "never two nodes with the VIP, or both primary at the route servers, for longer than a bound",
    Invariant.PATH: "who has the VIP is the fabric's best path, within a bound",
    Invariant.FLOWS: "established flows go on, with the same public address and port",
    Invariant.RESETS: "no RST or ICMP unreachable from FIP or VIP that nobody sent",
    Invariant.UNIQUE: "no two live flows share protocol, public address, port and remote",
    Invariant.NEW: "new connections work within the bound",
    Invariant.FIP_ONLY: "the outside sees only a FIP",
    Invariant.RECOVERS: "after repair one active and one synced standby, by themselves, with no needless transition",
    Invariant.STATUS: "what the agents say of their role is what the kernel shows",
    Invariant.UNTOUCHED: "not one packet is lost and no role moves",
    Invariant.BOUNDED: "memory, flow tables and logs stay bounded",
    Invariant.SERVED: "while a node has power and both its links, somebody serves clients within 10 s",
}
"""What each invariant says, in words."""

ALWAYS = tuple(i for i in Invariant if i is not Invariant.UNTOUCHED)
"""Checked under every fault."""
UNTOUCHED = tuple(Invariant)
"""For a fault that no client may notice at all."""

Act = Callable[[Context], None]


@dataclass(frozen=True, slots=True)
class Limits:
    """How far the invariants may bend under a fault. What is not said keeps the strict value."""

    owners_ms: float = 3000
    path_ms: float = 2000
    new_ms: float | None = None
    """Longest time without a new connection; None: the fault's bound plus half a second."""
    served_ms: float = 10_000
    transitions: int = 1
    recover_seconds: float = 60
    broken_ratio: float = 0.001
    flow_kinds: tuple[str, ...] = ("echo", "idle", "push", "bulk")
    fip_grace_ms: float = 0
    rss_growth_kb: int = 60_000
    flows_growth: int = 20_000
    log_growth_bytes: int = 4_000_000


NO_OUTAGE_MS = 250.0
"""The stream's silence that still counts as none: the worst undisturbed gap on two busy cores, and some more."""
OUTBOUND_FIRST = ("echo", "idle")
"""Flows whose client speaks first: without any entry only these can be picked up again."""
STAYS = Limits(transitions=0)
"""No role may move."""


def nothing(_scene: Context) -> None:
    """The pair has to repair this by itself."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One row of the catalogue.

    `bound_ms` is the longest silence of the echo stream that is allowed after the event. `scale` says what was
    shortened against the real thing. `agents` faults need natpair's agent and make no sense on another design;
    `watched` ones a lab with an emulated account that the agents watch.
    """

    id: int
    name: str
    bound_ms: float
    inject: Act = nothing
    repair: Act = nothing
    invariants: tuple[Invariant, ...] = ALWAYS
    limits: Limits = field(default_factory=Limits)
    scale: str = ""
    flows: int = 40
    agents: bool = False
    watched: bool = False
    needs: str = ""
    """A program of this machine without which the fault is not possible."""
    alone: bool = False
    """It takes the pair through several lives by itself: no other fault can be timed against it."""
    pair: str = ""
    """Of a schedule of two faults: "first+second+seconds between"."""

    @property
    def key(self) -> str:
        """What a history calls it."""
        return self.pair or str(self.id)

    def __call__(self, inject: Act) -> Fault:
        """As a decorator: this row with the function that injects it, so that a row stands where its code is."""
        return replace(self, inject=inject)
