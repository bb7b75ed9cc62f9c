"""What a fault is: the hosts it needs, the code that injects it, the invariants that must hold, and their bounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from natpair_lab.chaos.context import Context


class Invariant(StrEnum):
    """What must always be true of the pair, checked from outside."""

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
    Invariant.LEAK: "no packet leaves an uplink with any other source than a FIP or the node's own address",
    Invariant.OWNERS: "two nodes never both have the VIP, or are both primary at the route servers, beyond a bound",
    Invariant.PATH: "the node that has the VIP is the fabric's best path, within a bound",
    Invariant.FLOWS: "established flows continue, with the same public address and port",
    Invariant.RESETS: "no RST or ICMP unreachable leaves a node unless it had entered one",
    Invariant.UNIQUE: "no two live flows share protocol, public address, port and remote",
    Invariant.NEW: "new connections work within the bound",
    Invariant.FIP_ONLY: "servers see no source but a FIP",
    Invariant.RECOVERS: "after the repair the pair becomes ready without help and without a needless transition",
    Invariant.STATUS: "what an agent says about its role is what its kernel shows",
    Invariant.UNTOUCHED: "no packet is lost and no role moves",
    Invariant.BOUNDED: "memory, flow tables and logs stay bounded",
    Invariant.SERVED: "as long as the same node has power and both its links, clients are served again within 10 s",
}
"""What each invariant demands, in words."""

ALWAYS = tuple(i for i in Invariant if i is not Invariant.UNTOUCHED)
"""Checked under every fault."""
UNTOUCHED = tuple(Invariant)
"""For a fault that no client may notice at all."""

Act = Callable[[Context], None]


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a fault relaxes the invariants. A limit that is not set keeps its strict value."""

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
"""The longest silence of the stream that counts as none: above the worst undisturbed gap on two busy cores."""
OUTBOUND_FIRST = ("echo", "idle")
"""Flows in which the client speaks first: without a conntrack entry, only these can be picked up again."""
STAYS = Limits(transitions=0)
"""No role may move."""


def nothing(_scene: Context) -> None:
    """No action by the nemesis: the pair has to repair this by itself."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One row of the catalogue.

    `bound_ms` is the longest silence of the echo stream that is allowed after the event. `scale` says what was
    shortened compared with reality. `agents`: the fault needs natpair's agent and makes no sense on another design.
    `watched`: it needs a lab with an emulated account that the agents watch.
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
    """A program of this machine that the fault needs."""
    alone: bool = False
    """The fault reboots or switches the pair several times, so no other fault can be timed against it."""
    pair: str = ""
    """For a schedule of two faults: "first+second+seconds between"."""

    @property
    def key(self) -> str:
        """The name of the fault in a history."""
        return self.pair or str(self.id)

    def __call__(self, inject: Act) -> Fault:
        """Use a row as the decorator of the function that injects it, so that a row stands where its code is."""
        return replace(self, inject=inject)
