"""Rate limits: fixed windows per token and class of operation, with the headers that tell of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType


class Kind(StrEnum):
    """The classes that Linode counts apart."""

    LISTING = "listing"
    CREATE = "create"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Limit:
    """So many requests in so many seconds."""

    requests: int
    seconds: float


# Linode's page of 2026. Recorded answers show other numbers, too: clients obey the headers.
DEFAULT_LIMITS: Mapping[Kind, Limit] = MappingProxyType(
    {Kind.LISTING: Limit(200, 60.0), Kind.CREATE: Limit(20, 15.0), Kind.OTHER: Limit(1600, 60.0)}
)


@dataclass(frozen=True, slots=True)
class Quota:
    """Where a request stands in its window; `reset` is seconds since the epoch."""

    limit: int
    remaining: int
    reset: float
    allowed: bool

    def headers(self) -> dict[str, str]:
        """The three headers of every answer."""
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(int(-(-self.reset // 1))),
        }


@dataclass(slots=True)
class Limiter:
    """Counts requests."""

    limits: Mapping[Kind, Limit] = field(default_factory=lambda: DEFAULT_LIMITS)
    _windows: dict[tuple[str, Kind], tuple[float, int]] = field(default_factory=dict)

    def take(self, who: str, kind: Kind, now: float) -> Quota:
        """Count one request, and say whether it may be answered."""
        limit = self.limits[kind]
        start, used = self._windows.get((who, kind), (now, 0))
        if now >= start + limit.seconds:
            start, used = now, 0
        self._windows[who, kind] = (start, used + 1)
        left = max(0, limit.requests - used - 1)
        return Quota(limit.requests, left, start + limit.seconds, used < limit.requests)
