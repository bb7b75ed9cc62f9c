"""Rate limits: fixed windows per token and class of operation, and the headers that report them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType


class Kind(StrEnum):
    """The classes of requests that Linode counts separately."""

    LISTING = "listing"
    CREATE = "create"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Limit:
    """So many requests are allowed in so many seconds."""

    requests: int
    seconds: float


# From Linode's page of 2026. Recorded answers also show other numbers, so clients obey the headers.
DEFAULT_LIMITS: Mapping[Kind, Limit] = MappingProxyType(
    {Kind.LISTING: Limit(200, 60.0), Kind.CREATE: Limit(20, 15.0), Kind.OTHER: Limit(1600, 60.0)}
)


@dataclass(frozen=True, slots=True)
class Quota:
    """The state of a request's window; `reset` is seconds since the epoch."""

    limit: int
    remaining: int
    reset: float
    allowed: bool

    def headers(self) -> dict[str, str]:
        """The three headers that every answer has."""
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(int(-(-self.reset // 1))),
        }


@dataclass(slots=True)
class Limiter:
    """Counts requests per window."""

    limits: Mapping[Kind, Limit] = field(default_factory=lambda: DEFAULT_LIMITS)
    _windows: dict[tuple[str, Kind], tuple[float, int]] = field(default_factory=dict)

    def take(self, who: str, kind: Kind, now: float) -> Quota:
        """Count one request, and return whether it may be answered."""
        limit = self.limits[kind]
        start, used = self._windows.get((who, kind), (now, 0))
        if now >= start + limit.seconds:
            start, used = now, 0
        self._windows[who, kind] = (start, used + 1)
        left = max(0, limit.requests - used - 1)
        return Quota(limit.requests, left, start + limit.seconds, used < limit.requests)
