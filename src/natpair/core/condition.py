"""What a condition is: code, severity, text, fix. The modules `conditions_*` define all of them.

`natpair status` reads conditions and must start fast: nothing heavy is imported here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from natpair.core.state import NodeState


class Severity(StrEnum):
    """How soon somebody has to look."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"

    @classmethod
    def _missing_(cls, _value: object) -> Severity:
        """A severity that only a later version knows is shown as a warning."""
        return cls.WARNING


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that is wrong: what, how bad, and how to fix it. `node`: the node that saw it."""

    code: str
    severity: Severity
    text: str
    fix: str
    node: str = ""


@dataclass(frozen=True, slots=True)
class Kind:
    """An entry of the catalogue. `check` returns the text for the operator, or None if the condition does not hold.

    `severity` is the worst case; `otherwise` applies while `urgent` is false. `told`: the peer shows it, too. `fix_for`
    gives a fix for the current case if one sentence does not fit all cases.
    """

    code: str
    meaning: str
    severity: Severity
    fix: str
    check: Callable[[NodeState, float], str | None]
    urgent: Callable[[NodeState, float], bool] = lambda _state, _now: True
    otherwise: Severity = Severity.INFO
    told: bool = False
    fix_for: Callable[[NodeState, float], str] | None = None

    def severity_now(self, state: NodeState, now: float) -> Severity:
        """The severity in the current state."""
        return self.severity if self.urgent(state, now) else self.otherwise
