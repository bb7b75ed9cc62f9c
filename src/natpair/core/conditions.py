"""The catalogue of everything that can be wrong with a pair: code, severity, text, fix.

`natpair status`, the events and the docs use it. A condition is a pure function of what one node knows; it reads
nothing else. Add a new one to the `conditions_*` module of its subject.
"""

from __future__ import annotations

from collections.abc import Iterable

from natpair.core import conditions_account, conditions_node, conditions_pair, conditions_traffic
from natpair.core.condition import Condition, Kind, Severity
from natpair.core.messages import MOST_ALARMS, Alarm
from natpair.core.state import NodeState

_ALARM_LENGTH = 200

CATALOGUE: tuple[Kind, ...] = (
    *conditions_pair.KINDS,
    *conditions_node.KINDS,
    *conditions_traffic.KINDS,
    *conditions_account.KINDS,
)


_BY_CODE = {kind.code: kind for kind in CATALOGUE}


def conditions(state: NodeState, now: float) -> tuple[Condition, ...]:
    """What is wrong now, worst first: what this node sees, then what only its peer sees."""
    own = _own(state, now)
    order = list(Severity)
    return tuple(sorted((*own, *_told(state, now, own)), key=lambda condition: order.index(condition.severity)))


def alarms(state: NodeState, now: float) -> tuple[Alarm, ...]:
    """The conditions to send to the peer, worst first: those that the peer shows, too, and all critical ones."""
    found = [one for one in conditions(state, now) if one.node == state.terms.me]
    telling = [one for one in found if _BY_CODE[one.code].told or one.severity is Severity.CRITICAL]
    return tuple(Alarm(one.code, one.text[:_ALARM_LENGTH]) for one in telling[:MOST_ALARMS])


def _own(state: NodeState, now: float) -> list[Condition]:
    found = ((kind, kind.check(state, now)) for kind in CATALOGUE)
    return [_condition(kind, text, state, now) for kind, text in found if text is not None]


def _condition(kind: Kind, text: str, state: NodeState, now: float) -> Condition:
    fix = kind.fix_for(state, now) if kind.fix_for is not None else kind.fix
    return Condition(kind.code, kind.severity_now(state, now), text, fix, state.terms.me)


def _told(state: NodeState, now: float, own: Iterable[Condition]) -> list[Condition]:
    said = state.peer.fresh(state.terms, now)
    if said is None:
        return []
    mine, peer = {one.code for one in own}, state.terms.peer
    found = [(_BY_CODE[one.code], one.text) for one in said.alarms if one.code in _BY_CODE and one.code not in mine]
    # On a node that is not active it harms no client yet.
    eased = Severity.CRITICAL if said.active else Severity.WARNING
    order = list(Severity)
    return [
        Condition(kind.code, max(kind.severity, eased, key=order.index), f"{peer}: {text}", kind.fix, peer)
        for kind, text in found
        if kind.told
    ]
