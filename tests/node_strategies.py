"""Any node state, any event: also such as no story leads to. What is drawn keeps types and ranges, nothing else."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from natpair.core import events
from natpair.core.actions import ConntrackJob
from natpair.core.events import Event, Verb
from natpair.core.messages import PeerMessage, Phase, VrrpRole
from natpair.core.state import Answer, Challenge, Handover, Health, NodeState, PeerView, Request, initial
from natpair.core.wire import Path
from nodes import HASH, TERMS

NOW = 1000.0
"""When generated states are stepped: all their times lie around it."""

# Few values, so that the two sides of a comparison often meet.
small = st.integers(0, 6)
epochs = st.integers(0, 24)
times = st.sampled_from([0.01, 0.1, 0.2, 0.5, 1.0, 3.0, 5.0, 20.0, 70.0]).map(lambda ago: NOW - ago)
phases, roles, flags = st.sampled_from(Phase), st.sampled_from(VrrpRole), st.booleans()

messages = st.builds(
    PeerMessage,
    phase=phases,
    vrrp=roles,
    epoch=epochs,
    ready=flags,
    synced=flags,
    drained=flags,
    config_hash=st.sampled_from([HASH, "other"]),
    flows=st.sampled_from([0, 500, 1000]),
    flushed_for=epochs,
    handover=epochs,
    prepared_for=epochs,
    opened=flags,
    local_for=epochs,
    wish=flags,
    challenge=small,
    answer=small,
    evidence=st.none() | small,
    clients=st.sampled_from([(), ("192.168.1.101",)]),
)
healths = st.builds(
    Health,
    private_up=flags,
    public_up=flags,
    ruleset=flags,
    gateway=flags,
    conntrackd=flags,
    keepalived=flags,
    bgp_established=st.sampled_from([0, 1, 4]),
    bgp_total=st.just(4),
    flows=st.sampled_from([0, 500, 1000]),
)
peers = st.builds(PeerView, heard=st.fixed_dictionaries(dict.fromkeys(Path, times)), said=st.none() | messages)
given_away = st.builds(
    Handover,
    number=epochs,
    started_at=times,
    force=flags,
    prepared_at=st.none() | times,
    released_at=st.none() | times,
    local_at=st.none() | times,
)
taken = st.builds(Handover, number=epochs, started_at=times, opening=flags, opened=flags)
challenges = st.builds(Challenge, small, times, st.sampled_from([0.03, 0.15]), st.none() | small)
verbs = st.sampled_from(Verb)
requests = st.builds(Request, number=small, verb=verbs, force=flags, deadline=st.sampled_from([NOW - 1, NOW + 5]))


EVERYWHERE: dict[str, st.SearchStrategy[object]] = {
    "vrrp": roles,
    "health": healths,
    "peer": peers,
    "epoch": epochs,
    "generation_seen": st.integers(0, 30),
    "reserved": st.sampled_from([0, 5000]),
    "drained": flags,
    "bgp_lost_at": st.none() | times,
    "flushed_for": epochs,
    "flushing": epochs,
    "answer": st.none() | st.builds(Answer, small, st.none() | small),
    "refusals": st.integers(1, 40),
    "last_nonce": small,
    "request": st.none() | requests,
    "since": times,
}
_ROLE = {"fenced": flags, "boosted": flags, "duplicate_until": times, "refresh_at": times, "local_for": epochs}
SOMEWHERE: dict[Phase, dict[str, st.SearchStrategy[object]]] = {
    Phase.ACTIVE: {**_ROLE, "completing": flags},
    Phase.HANDING_OVER: {**_ROLE, "handover": given_away},
    Phase.PREPARING: {"handover": taken},
    Phase.CHALLENGING: {"challenge": challenges},
    Phase.STANDBY: {"pulled_at": times, "wish": flags},
}
"""What only some phases have: `enter` and the rules leave none of it behind."""


@st.composite
def states(draw: st.DrawFn, phase: Phase | None = None) -> NodeState:
    """A node in `phase`, or in any."""
    phase = phase or draw(phases)
    fields = EVERYWHERE | SOMEWHERE.get(phase, {})
    base = initial(TERMS[draw(st.sampled_from(sorted(TERMS)))], 0.0)
    drawn = replace(base, phase=phase, **{name: draw(strategy) for name, strategy in fields.items()})
    # Whatever was ever heard or used has been seen: the recorders and `_raised` see to that.
    said = drawn.peer.said.epoch if drawn.peer.said is not None else 0
    return replace(drawn, generation_seen=max(drawn.generation_seen, drawn.epoch // 2, said // 2))


EVENTS: dict[type[Event], st.SearchStrategy[Event]] = {
    events.VrrpChanged: st.builds(events.VrrpChanged, roles),
    events.PeerHeard: st.builds(events.PeerHeard, st.sampled_from(Path), messages),
    events.HealthRead: st.builds(events.HealthRead, healths),
    events.VlanProbed: st.builds(events.VlanProbed, small, small),
    events.ClientsSeen: st.builds(events.ClientsSeen, st.sampled_from([(), ("192.168.1.101", "192.168.1.102")])),
    events.ArrivalSeen: st.just(events.ArrivalSeen()),
    events.TrafficSwitched: st.builds(events.TrafficSwitched, flags),
    events.ConntrackdStarted: st.just(events.ConntrackdStarted()),
    events.ConntrackDone: st.builds(events.ConntrackDone, st.sampled_from(ConntrackJob), epochs, flags),
    events.Frozen: st.builds(events.Frozen, st.floats(1, 100)),
    events.Asked: st.builds(events.Asked, small, verbs, flags),
    events.Tick: st.just(events.Tick()),
}
any_event = st.one_of(*EVENTS.values())
