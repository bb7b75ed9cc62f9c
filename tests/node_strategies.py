"""Any node state, any event: also such as no story leads to. What is drawn keeps types and ranges, and little else.

Fields are drawn by their type, so that a new one is drawn, too; only where a type says too little a field is named.
"""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from typing import Any, get_args, get_type_hints

from hypothesis import strategies as st

from natpair.core import events
from natpair.core.account import Account, Lack, Trouble, Work
from natpair.core.actions import ConntrackJob
from natpair.core.capacity import Crowd
from natpair.core.events import Event, Verb
from natpair.core.health import AddressReading, BgpSessions, DiskTrouble, FlowTable, Health, HeartbeatReading
from natpair.core.messages import CLAIMING, PeerMessage, Phase, VrrpRole
from natpair.core.model import Watch
from natpair.core.replies import FipReplies, ReplyState, Where
from natpair.core.state import Answer, Challenge, Handover, NodeState, PeerView, Request, initial
from natpair.core.wire import Path
from nodes import HASH, TERMS

NOW = 1000.0
"""When generated states are stepped: all their times lie around it."""

Strategy = st.SearchStrategy[Any]

# Few values, so that the two sides of a comparison often meet.
small = st.integers(0, 6)
epochs = st.integers(0, 24)
times = st.sampled_from([0.01, 0.1, 0.2, 0.5, 1.0, 3.0, 5.0, 20.0, 70.0]).map(lambda ago: NOW - ago)
phases, roles, flags = st.sampled_from(Phase), st.sampled_from(VrrpRole), st.booleans()

BY_TYPE: dict[Any, Strategy] = {
    bool: flags,
    str: st.just(""),
    int: epochs,
    float: times,
    float | None: st.none() | times,
    int | None: st.none() | small,
    VrrpRole: roles,
    Phase: phases,
    Verb: st.sampled_from(Verb),
    ConntrackJob: st.sampled_from(ConntrackJob),
    Path: st.sampled_from(Path),
}


def fields_of(kind: type, **named: Strategy) -> dict[str, Strategy]:
    """A strategy for each field of a dataclass: the named one, or that of its type."""
    hints = get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else list(hints)
    return {name: named[name] if name in named else strategy_of(hints[name]) for name in names}


def strategy_of(hint: Any) -> Strategy:
    """By the type of a field; a record of the state is drawn field by field."""
    return BY_TYPE[hint] if hint in BY_TYPE else any_of(hint)


def any_of(kind: type, **named: Strategy) -> Strategy:
    return st.builds(kind, **fields_of(kind, **named))


messages = st.builds(
    PeerMessage,
    phase=phases,
    vrrp=roles,
    epoch=epochs,
    generation=st.integers(0, 12),
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
    asks_for_role=flags,
    challenge=small,
    answer=small,
    evidence=st.none() | small,
    unanswered=flags,
    reached=st.none() | flags,
    clients=st.sampled_from([(), ("192.168.1.101",)]),
)
replies = any_of(
    FipReplies,
    fip=st.just("192.0.2.221"),
    state=st.sampled_from(ReplyState),
    where=st.sampled_from(Where),
    elsewhere=st.sampled_from(["", "192.0.2.221"]),
)
healths = any_of(
    Health,
    bgp=st.builds(
        BgpSessions,
        established=st.sampled_from([0, 1, 4]),
        total=st.just(4),
        plain_sessions=st.sampled_from([(), ("rs1",)]),
    ),
    table=any_of(
        FlowTable,
        most_flows=st.sampled_from([0, 1000]),
        crowd=st.none() | st.just(Crowd("192.0.2.221", 6, "198.51.100.10", 443, 60_000)),
    ),
    heartbeats=any_of(
        HeartbeatReading,
        foreign_version=st.sampled_from([None, 2]),
        key_mode=st.sampled_from([None, 0o600, 0o644]),
        clock_ahead=st.sampled_from([0.0, -60.0]),
    ),
    addresses=st.builds(AddressReading, contested=st.sampled_from([None, "02:00:00:00:00:09"])),
    disk=st.none() | st.builds(DiskTrouble, path=st.just("/var/lib/natpair"), seconds=st.sampled_from([None, 5.0])),
    replies=st.just(()) | st.tuples(replies),
    asking=st.just(()),
    reached=st.sampled_from([None, True, False]),
    alarms=st.just(()),
    barred=st.sampled_from([(), ("table inet ufw chain fchain",)]),
    flows=st.sampled_from([0, 500, 1000]),
    relaying_seconds=st.sampled_from([0.0, 20.0]),
    mac=st.just(""),
    cached=st.none() | st.sampled_from([0, 500, 1000]),
    unrepaired=st.sampled_from([(), ("ruleset",)]),
    failed_parts=st.sampled_from([(), ("looks: a bug",)]),
)
heard_at = st.fixed_dictionaries(dict.fromkeys(Path, times))
peers = any_of(PeerView, heard=heard_at, said=st.none() | messages, mac=st.just(""))
taken = any_of(Handover, prepared_at=st.none(), released_at=st.none(), local_at=st.none())
names = st.sampled_from(["nat-a", "nat-b"])
keys = st.sampled_from(["one", "two", "three"])
moments = st.none() | st.sampled_from([-600.0, 30.0, 60.0, 600.0, 86_400.0]).map(lambda away: NOW + away)
works = st.lists(any_of(Work, node=names, key=keys, what=st.just("reboot"), begins_at=moments), max_size=3).map(tuple)
lacks = st.lists(any_of(Lack, fip=st.just("192.0.2.221"), node=names, why=st.just("is not shared")), max_size=2)
troubles = st.lists(any_of(Trouble, part=st.just("shares"), why=st.just("HTTP 500")), max_size=2).map(tuple)
accounts = any_of(
    Account,
    seen_at=st.none() | times,
    lacks=lacks.map(tuple),
    planned=works,
    events=works,
    troubles=troubles,
    handed=st.lists(keys, max_size=2, unique=True).map(tuple),
    repairs=st.lists(times, max_size=6).map(tuple),
    unrepaired=st.just(None),
)
watches = st.builds(Watch, enabled=flags, switch_over=flags, repair_shares=flags)
all_terms = st.builds(lambda terms, watch: replace(terms, watch=watch), st.sampled_from(list(TERMS.values())), watches)
NAMED: dict[str, Strategy] = {
    "account": accounts,
    "health": healths,
    "peer": peers,
    "reserved": st.sampled_from([0, 5000]),
    "refusals": st.integers(1, 40),
    "last_nonce": small,
    "answer": st.none() | any_of(Answer, nonce=small),
    "request": st.none()
    | any_of(
        Request,
        number=small,
        verb=st.sampled_from(Verb),
        deadline=st.sampled_from([NOW - 1, NOW + 5]),
    ),
    "challenge": any_of(Challenge, nonce=small),
    "handover": any_of(Handover, opening=st.just(False)),
    "clients": st.just(()),
}
ONLY_IN: dict[str, frozenset[Phase]] = {
    "challenge": frozenset({Phase.CHALLENGING}),
    "handover": frozenset({Phase.PREPARING, Phase.HANDING_OVER}),
    "takeover": CLAIMING,
    "local_for": CLAIMING,
    "asks_for_role": frozenset({Phase.STANDBY}),
}
"""What only some phases have: `enter` and the rules leave none of it behind."""
STATE_FIELDS = fields_of(NodeState, terms=all_terms, **NAMED)


@st.composite
def states(draw: st.DrawFn, phase: Phase | None = None) -> NodeState:
    """A node in `phase`, or in any."""
    phase = phase or draw(phases)
    fields = {name: s for name, s in STATE_FIELDS.items() if phase in ONLY_IN.get(name, Phase)} | {
        "phase": st.just(phase)
    }
    if phase is Phase.PREPARING:
        fields["handover"] = taken
    values = {name: draw(strategy) for name, strategy in fields.items()}
    if phase is not Phase.ACTIVE and "takeover" in values:
        values["takeover"] = replace(values["takeover"], completing=False)
    drawn = replace(initial(values["terms"], 0.0), **values)
    # Whatever was ever heard or used has been seen: the recorders and `raise_epoch` see to that.
    said = drawn.peer.said
    told = max(said.epoch // 2, said.generation) if said is not None else 0
    return replace(drawn, generation_seen=max(drawn.generation_seen, drawn.epoch // 2, told))


NAMED_IN_EVENTS: dict[type, dict[str, Strategy]] = {
    events.PeerHeard: {"message": messages},
    events.HealthRead: {"health": healths},
    events.VlanProbed: {"nonce": small, "answers": small},
    events.ClientsSeen: {"clients": st.sampled_from([(), ("192.168.1.101", "192.168.1.102")])},
    events.ConntrackDone: {"job": st.sampled_from(ConntrackJob)},
    events.Frozen: {"gap": st.floats(1, 100)},
    events.Asked: {"number": small},
    events.AccountSeen: {
        "lacks": st.none() | lacks.map(tuple),
        "planned": st.none() | works,
        "events": st.none() | works,
        "troubles": troubles,
    },
    events.RepairEnded: {"trouble": st.none() | any_of(Trouble)},
}
EVENTS: dict[type, st.SearchStrategy[Event]] = {
    kind: any_of(kind, **NAMED_IN_EVENTS.get(kind, {})) for kind in get_args(Event)
}
any_event = st.one_of(*EVENTS.values())
