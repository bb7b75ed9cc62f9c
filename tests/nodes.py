"""Node states and peer messages as stories need them: healthy unless said otherwise."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, TypeVar

from natpair.core.events import PeerHeard
from natpair.core.health import AddressReading, BgpSessions, FlowTable, Health, HeartbeatReading, SyncReading
from natpair.core.messages import CLAIMING, PeerMessage, Phase, VrrpRole
from natpair.core.state import Damping, Fitness, NodeState, PeerView, Resync, Takeover, Terms, initial
from natpair.core.wire import Path
from samples import gateway

_RECORDS: dict[type, dict[str, type]] = {
    NodeState: {
        "peer": PeerView,
        "fitness": Fitness,
        "takeover": Takeover,
        "resync": Resync,
        "damping": Damping,
    },
    Health: {
        "bgp": BgpSessions,
        "sync": SyncReading,
        "table": FlowTable,
        "heartbeats": HeartbeatReading,
        "addresses": AddressReading,
    },
}
_FIELDS = {
    owner: {
        name: (record, field.name)
        for record, kind in records.items()
        for field in fields(kind)
        for name in (field.name, f"{record}_{field.name}")
    }
    for owner, records in _RECORDS.items()
}
"""Where a field of a record is: `falls` in `damping`; `mac` of the peer may be called `peer_mac`, too."""
Changed = TypeVar("Changed", NodeState, Health)


def changed(of: Changed, **changes: Any) -> Changed:
    """`of` with `changes`, in which the fields of its records may stand by their own names."""
    places = _FIELDS[type(of)]
    own = {field.name for field in fields(of)}
    made = replace(of, **{name: value for name, value in changes.items() if name in own})
    for name, value in changes.items():
        if name not in own:
            record, field = places[name]
            made = replace(made, **{record: replace(getattr(made, record), **{field: value})})
    return made


HASH = "same-on-both"
WELL = Health(
    private_up=True,
    public_up=True,
    ruleset=True,
    gateway=True,
    conntrackd=True,
    keepalived=True,
    bgp=BgpSessions(established=4, total=4),
    flows=1000,
)
SICK = replace(WELL, gateway=False)
NO_BGP = changed(WELL, bgp_established=0)
UNRESPONSIVE = replace(WELL, conntrackd=False)
TERMS = {name: Terms.of(gateway(), name, HASH) for name in ("nat-a", "nat-b")}
MINE, THEIRS, NEWER = 20, 19, 23
"""Epochs: of nat-a's promotion, of nat-b's before it, of nat-b's after it."""
_VRRP = {
    Phase.ACTIVE: VrrpRole.MASTER,
    Phase.HANDING_OVER: VrrpRole.MASTER,
    Phase.CHALLENGING: VrrpRole.MASTER,
    Phase.STANDBY: VrrpRole.BACKUP,
    Phase.PREPARING: VrrpRole.BACKUP,
}


def says(phase: Phase, **fields: Any) -> PeerMessage:
    """What nat-b says in `phase`: a standby is ready and in sync with nat-a, an active one serves in epoch 19."""
    standby = phase is Phase.STANDBY
    usual: dict[str, Any] = {"vrrp": _VRRP.get(phase, VrrpRole.FAULT), "epoch": THEIRS, "config_hash": HASH}
    usual |= {"ready": standby, "synced": standby, "flushed_for": MINE if standby else 0, "flows": 1000}
    return PeerMessage(phase=phase, **(usual | fields))


def hears(phase: Phase, path: Path = Path.PRIVATE, **fields: Any) -> PeerHeard:
    """The event in which nat-a hears nat-b."""
    return PeerHeard(path, says(phase, **fields))


def node(phase: Phase, said: PeerMessage | None = None, *, me: str = "nat-a", **changes: Any) -> NodeState:
    """nat-a, healthy and at rest in `phase` since time 0, with `said` just heard on both paths."""
    base = initial(TERMS[me], 0.0, reserved=5000)
    usual: dict[str, Any] = {"vrrp": _VRRP.get(phase, VrrpRole.FAULT), "health": WELL, "generation_seen": 10}
    usual["whole_since"] = -60.0
    usual["peer"] = PeerView(heard=dict.fromkeys(Path, 0.0), said=said)
    if said is not None and said.reached:
        usual["peer"] = replace(usual["peer"], reaches_since=-60.0)
    if said is not None and said.ready:
        usual["peer_ready_since"] = -60.0
    if phase in CLAIMING:
        usual |= {"epoch": MINE, "refresh_at": 60.0}
    if phase is Phase.STANDBY and said is not None:
        usual |= {"flushed_for": said.epoch, "pulled_at": -1.0}
    return changed(base, phase=phase, **(usual | changes))


def active(**changes: Any) -> NodeState:
    """nat-a serves, nat-b is its synced standby."""
    return node(Phase.ACTIVE, changes.pop("said", says(Phase.STANDBY)), **changes)


def standby(**changes: Any) -> NodeState:
    """nat-a is the synced standby of nat-b, which serves."""
    return node(Phase.STANDBY, changes.pop("said", says(Phase.ACTIVE)), **changes)
