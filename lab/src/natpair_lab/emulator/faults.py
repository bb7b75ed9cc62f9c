"""Faults on demand: what the API does wrong, to which requests, how often.

A fault is set through the control endpoint or from a test. Whether the work is done before it strikes is what makes
the difference between a retry that is harmless and one that creates a second Linode, so each kind says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Annotated, Any

from pydantic import Field

from natpair_lab.emulator.body import Body, read
from natpair_lab.emulator.refused import invalid


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


class _Stated(Body):
    kind: str
    method: str = "*"
    path: str = "*"
    times: int | None = 1
    skip: int = 0
    status: Annotated[int, Field(ge=400, le=599)] = 500
    seconds: Annotated[float, Field(ge=0, le=3600)] = 5.0
    retry_after: str | None = None


def read_fault(body: dict[str, Any]) -> Fault:
    """A fault as the control endpoint is told it: `{"kind": "lost", "method": "POST", "path": "/linode/*"}`."""
    stated = read(_Stated, body)
    if stated.kind not in tuple(Kind):
        raise invalid(f"kind must be one of {', '.join(Kind)}", "kind")
    # A null, which counts as absent elsewhere, means here: until it is removed.
    times = None if "times" in body and body["times"] is None else stated.times
    return Fault(**stated.model_dump() | {"kind": Kind(stated.kind), "times": times})
