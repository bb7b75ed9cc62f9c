"""Faults on demand: what the API does wrong, to which requests, how often.

A fault is set through the control endpoint or from a test. Whether the work is done before it strikes is what makes
the difference between a retry that is harmless and one that creates a second Linode, so each kind says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from fnmatch import fnmatchcase

from natpair_lab.emulator.fields import Fields


class Kind(StrEnum):
    """What goes wrong."""

    STATUS = "status"  # an error status; nothing was done
    RATE_LIMIT = "rate-limit"  # 429; nothing was done
    SCOPE = "scope"  # the token is not good enough; nothing was done
    SLOW = "slow"  # the right answer, late
    HANG = "hang"  # no answer; nothing was done
    REFUSE = "refuse"  # the connection ends; nothing was done
    HTML = "html"  # a page in place of JSON, with the request's headers in it; nothing was done
    HUGE = "huge"  # an endless answer; nothing was done
    HALF = "half"  # the work is done, the answer breaks off
    LOST = "lost"  # the work is done, the connection ends without an answer
    STATUS_AFTER = "status-after"  # the work is done, an error status says it was not


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault. `path` is a shell pattern over the path behind the version; `times` None means until removed.

    `skip` lets that many matching requests pass first. `retry_after` goes into the header as it is, also if it
    makes no sense: negative ones were seen.
    """

    kind: Kind
    method: str = "*"
    path: str = "*"
    times: int | None = 1
    skip: int = 0
    status: int = 500
    seconds: float = 5.0
    retry_after: str | None = None

    def meets(self, method: str, path: str) -> bool:
        """Whether it is for such a request."""
        return fnmatchcase(method, self.method) and fnmatchcase(path, self.path)


@dataclass(slots=True)
class Faults:
    """The faults that are set, oldest first."""

    active: list[Fault] = field(default_factory=list)

    def take(self, method: str, path: str) -> Fault | None:
        """The fault that strikes this request, counted down."""
        for index, fault in enumerate(self.active):
            if not fault.meets(method, path):
                continue
            if fault.skip > 0:
                self.active[index] = replace(fault, skip=fault.skip - 1)
                continue
            if fault.times is None:
                return fault
            if fault.times > 1:
                self.active[index] = replace(fault, times=fault.times - 1)
            else:
                del self.active[index]
            return fault
        return None


def read_fault(body: Fields) -> Fault:
    """A fault as the control endpoint is told it: `{"kind": "lost", "method": "POST", "path": "/linode/*"}`."""
    kind = body.required_text("kind")
    if kind not in tuple(Kind):
        raise body.wrong("kind", f"must be one of {', '.join(Kind)}")
    times, status, seconds = body.integer("times"), body.integer("status"), body.values.get("seconds", 5.0)
    if status is not None and not 400 <= status <= 599:
        raise body.wrong("status", "must be between 400 and 599")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= 3600:
        raise body.wrong("seconds", "must be between 0 and 3600")
    return Fault(
        kind=Kind(kind),
        method=body.text("method") or "*",
        path=body.text("path") or "*",
        times=times if body.has("times") else 1,
        skip=body.integer("skip") or 0,
        status=status or 500,
        seconds=float(seconds),
        retry_after=body.text("retry_after"),
    )
