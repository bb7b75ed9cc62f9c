"""What the machine may ask to be done once. Lasting demands are not actions: see `core/desired.py`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from natpair.core.messages import Phase


@dataclass(frozen=True, slots=True)
class Speak:
    """Send our message to the peer now, on both paths, instead of at the next beat."""


@dataclass(frozen=True, slots=True)
class ProbeVlan:
    """Ask the known clients by ARP and report a `VlanProbed` with this nonce."""

    nonce: int


@dataclass(frozen=True, slots=True)
class ReassertVip:
    """Send gratuitous ARP for the VIP: somebody else may just have claimed it."""


class ConntrackJob(StrEnum):
    """What conntrackd is asked, in its own commands (conntrackd(8))."""

    COMPLETE = "complete"  # -R then -B: adopt the injected entries, tell the peer all
    BULK = "bulk"  # -B: renew the peer's copies
    ABANDON = "abandon"  # -f internal then -n: forget what was ours, fetch what is the peer's


@dataclass(frozen=True, slots=True)
class Conntrack:
    """Run one conntrackd job; `tag` comes back in the `ConntrackDone`."""

    job: ConntrackJob
    tag: int


@dataclass(frozen=True, slots=True)
class Reserve:
    """Make sure that generations up to `ceiling` are reserved on disk. Never waited for."""

    ceiling: int


@dataclass(frozen=True, slots=True)
class SaveDrained:
    """Write down whether this node is drained, so that it survives a reboot."""

    drained: bool


@dataclass(frozen=True, slots=True)
class WakeAt:
    """Step again at this monotonic time, whatever happens or not."""

    at: float


@dataclass(frozen=True, slots=True)
class Reply:
    """The end of an operator's request."""

    number: int
    ok: bool
    message: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Journal:
    """A change of phase worth telling people: from, to, and the cause in plain words."""

    before: Phase
    after: Phase
    cause: str
    epoch: int


@dataclass(frozen=True, slots=True)
class RepairShares:
    """Share again what the last look at the account found not shared."""


@dataclass(frozen=True, slots=True)
class Note:
    """Something worth telling people that changes no phase."""

    text: str


Action = (
    Speak | ProbeVlan | ReassertVip | Conntrack | Reserve | SaveDrained | WakeAt | Reply | Journal | RepairShares | Note
)
