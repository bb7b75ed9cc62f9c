"""Everything that can be wrong with a pair, as one catalogue: code, severity, words, cure.

`status`, the metrics and the docs all read this one. A condition is a pure function of what one node
knows; it never asks the outside. Add one to the module of its theme.
"""

from __future__ import annotations

from natpair.core import conditions_account, conditions_node, conditions_pair, conditions_traffic
from natpair.core.condition import Condition, Kind, Severity
from natpair.core.state import NodeState

CATALOGUE: tuple[Kind, ...] = (
    *conditions_pair.KINDS,
    *conditions_node.KINDS,
    *conditions_traffic.KINDS,
    *conditions_account.KINDS,
)


def conditions(state: NodeState, now: float) -> tuple[Condition, ...]:
    """What is wrong now, worst first."""
    found = ((kind, kind.judge(state, now)) for kind in CATALOGUE)
    active = [
        Condition(kind.code, kind.severity_now(state, now), text, kind.cure) for kind, text in found if text is not None
    ]
    order = list(Severity)
    return tuple(sorted(active, key=lambda condition: order.index(condition.severity)))
