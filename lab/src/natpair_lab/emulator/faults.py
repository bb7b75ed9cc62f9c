"""Faults of the emulated API: what fails, for which requests, how often.

A fault is set through the control endpoint or by a test. Each kind says whether the work is done before it fails: that
decides whether a retry is harmless or creates a second Linode.
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

    STATUS = "status"  # an error status; nothing is done
    RATE_LIMIT = "rate-limit"  # 429; nothing is done
    SCOPE = "scope"  # the token is refused; nothing is done
    SLOW = "slow"  # the right answer, late
    HANG = "hang"  # no answer; nothing is done
    REFUSE = "refuse"  # the connection ends; nothing is done
    HTML = "html"  # an HTML page in place of JSON, with the request's headers in it; nothing is done
    HUGE = "huge"  # an endless answer; nothing is done
    HALF = "half"  # the work is done, but the answer breaks off
    LOST = "lost"  # the work is done, but the connection ends without an answer
    STATUS_AFTER = "status-after"  # the work is done, but an error status says that it is not


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault. `path` is a shell pattern for the path after the version; `times` None means until removed.

    `skip` lets that many matching requests pass first. `retry_after` is copied into the header unchanged, even if it
    makes no sense: negative values were seen.
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
        """Whether the fault applies to such a request."""
        return fnmatchcase(method, self.method) and fnmatchcase(path, self.path)


@dataclass(slots=True)
class Faults:
    """The faults that are set, oldest first."""

    active: list[Fault] = field(default_factory=list)

    def take(self, method: str, path: str) -> Fault | None:
        """The fault that applies to this request; its count goes down by one."""
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
    """Parse a fault as sent to the control endpoint: `{"kind": "lost", "method": "POST", "path": "/linode/*"}`."""
    stated = read(_Stated, body)
    if stated.kind not in tuple(Kind):
        raise invalid(f"kind must be one of {', '.join(Kind)}", "kind")
    # A null counts as absent elsewhere. Here it means: until it is removed.
    times = None if "times" in body and body["times"] is None else stated.times
    return Fault(**stated.model_dump() | {"kind": Kind(stated.kind), "times": times})
