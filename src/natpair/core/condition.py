"""What a condition is: code, severity, words, fix. The modules `conditions_*` hold those that there are.

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
        """A word that a later version may have: better shown as a warning than not at all."""
        return cls.WARNING


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that is wrong: what, how bad, and what to do. `node`: on which node it was seen."""

    code: str
    severity: Severity
    text: str
    fix: str
    node: str = ""


@dataclass(frozen=True, slots=True)
class Kind:
    """An entry of the catalogue. `check` gives the detail for people, or None while all is well.

    `severity` is the worst it can be; where `urgent` says that it is not now, `otherwise` holds. `told`: the peer shows
    it, too. `fix_for` gives the fix for this very case, where one sentence for all is not enough.
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
        """How bad it is as things stand."""
        return self.severity if self.urgent(state, now) else self.otherwise
