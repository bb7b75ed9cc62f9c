"""What the core may ask the agent to do once. Lasting states are not actions: see `core/desired.py`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from natpair.core.messages import Phase


@dataclass(frozen=True, slots=True)
class Speak:
    """Send a heartbeat to the peer now, on both paths, instead of at the next beat."""


@dataclass(frozen=True, slots=True)
class ProbeVlan:
    """Ask the known clients by ARP and report a `VlanProbed` with this nonce."""

    nonce: int


@dataclass(frozen=True, slots=True)
class ReassertVip:
    """Send gratuitous ARP for the VIP, because another machine may just have claimed it."""


class ConntrackJob(StrEnum):
    """What conntrackd is asked, in its own commands (conntrackd(8))."""

    COMPLETE = "complete"  # -R then -B: adopt the injected entries, send all to the peer
    BULK = "bulk"  # -B: renew the peer's copies
    ABANDON = "abandon"  # -f internal then -n: flush our own entries, request the peer's


@dataclass(frozen=True, slots=True)
class Conntrack:
    """Run one conntrackd job; `tag` comes back in the `ConntrackDone`."""

    job: ConntrackJob
    tag: int


@dataclass(frozen=True, slots=True)
class Reserve:
    """Reserve generations up to `ceiling` on disk, in the background. A takeover never waits for it."""

    ceiling: int


@dataclass(frozen=True, slots=True)
class SaveDrained:
    """Save whether this node is drained, so that it survives a reboot."""

    drained: bool


@dataclass(frozen=True, slots=True)
class WakeAt:
    """Run `step()` again at this monotonic time, even if no event comes."""

    at: float


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to an operator's request."""

    number: int
    ok: bool
    message: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Journal:
    """A change of phase for the event log: from, to, and the cause."""

    before: Phase
    after: Phase
    cause: str
    epoch: int


@dataclass(frozen=True, slots=True)
class RepairShares:
    """Share again the FIPs whose shares were missing in the last reading of the account."""


@dataclass(frozen=True, slots=True)
class Note:
    """An entry for the event log without a change of phase."""

    text: str


Action = (
    Speak | ProbeVlan | ReassertVip | Conntrack | Reserve | SaveDrained | WakeAt | Reply | Journal | RepairShares | Note
)
