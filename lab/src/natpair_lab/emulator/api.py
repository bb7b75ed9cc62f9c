"""The API as a function from requests to answers that changes the account. No network here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from natpair_lab.emulator import (
    account,
    addresses,
    configs,
    firewalls,
    interfaces,
    lifecycle,
    linodes,
    placement,
    platform,
)
from natpair_lab.emulator.body import Json
from natpair_lab.emulator.limits import Kind, Limiter
from natpair_lab.emulator.refused import Complaint, Refused, error_body, invalid, unauthorized
from natpair_lab.emulator.routing import Call, Found, Route, find
from natpair_lab.emulator.state import Store
from natpair_lab.emulator.tokens import Token, Tokens, authorize
from natpair_lab.emulator.world import Boot, ShutDown

ROUTES: tuple[Route, ...] = (
    *platform.ROUTES,
    *account.ROUTES,
    *linodes.ROUTES,
    *configs.ROUTES,
    *interfaces.ROUTES,
    *addresses.ROUTES,
    *placement.ROUTES,
    *firewalls.ROUTES,
)

_COMMON_HEADERS = {
    "Access-Control-Allow-Origin": "*",
    "Cache-Control": "max-age=0, no-cache, no-store",
    "Vary": "Authorization, X-Filter",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class Request:
    """A request without the version: `path` begins with a slash and is still quoted."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a request."""

    status: int
    body: bytes
    headers: Mapping[str, str]
    content_type: str = "application/json"


@dataclass(slots=True)
class Api:
    """An account with its tokens and limits. `in_hand` are the Linodes that the World is working on now."""

    store: Store = field(default_factory=Store)
    tokens: Tokens = field(default_factory=Tokens)
    limiter: Limiter = field(default_factory=Limiter)
    tell_retry_after: bool = True
    in_hand: set[int] = field(default_factory=set)

    def advance(self, now: float) -> None:
        """Let time pass until `now`."""
        told = {one.linode.id for one in self.store.notices if isinstance(one, Boot)}
        told |= {one.linode_id for one in self.store.notices if isinstance(one, ShutDown)}
        lifecycle.advance(self.store, now, waiting=frozenset(told | self.in_hand))

    def answer(self, request: Request, now: float) -> Reply:
        """Carry out a request at a time given in seconds since the epoch."""
        self.advance(now)
        headers = dict(_COMMON_HEADERS)
        try:
            return reply(200, self._carry_out(request, now, headers), headers)
        except Refused as refused:
            return reply(refused.status, error_body(*refused.complaints), headers)

    def _carry_out(self, request: Request, now: float, headers: dict[str, str]) -> Any:
        token = self.tokens.identify(request.headers)
        found = find(ROUTES, request.method, request.path)
        if found is None:
            raise Refused(405, Complaint("Method Not Allowed"))
        self._count(request, found.route, now, headers)
        headers["X-Accepted-OAuth-Scopes"] = " ".join(found.route.scopes or ()) or "*"
        headers["X-OAuth-Scopes"] = " ".join(sorted(token.scopes)) if token else "unknown"
        allowed = authorize(token, found.route.scopes)
        if f"{found.route.method} {found.route.path}" in allowed.denied:
            raise unauthorized()
        return found.route.answer(self._call(request, found, allowed))

    def _count(self, request: Request, route: Route, now: float, headers: dict[str, str]) -> None:
        quota = self.limiter.take(request.headers.get("Authorization", ""), _kind(route), now)
        headers.update(quota.headers())
        if not quota.allowed:
            if self.tell_retry_after:
                headers["Retry-After"] = str(max(1, int(-(-(quota.reset - now) // 1))))
            raise Refused(429, Complaint("Too many requests"))

    def _call(self, request: Request, found: Found, token: Token) -> Call:
        body = read_body(request.body) if request.method in ("POST", "PUT") else {}
        x_filter = request.headers.get("X-Filter", "") if found.route.listing else ""
        return Call(self.store, found.params, request.query, x_filter, body, token.read_only)


def _kind(route: Route) -> Kind:
    if route.listing:
        return Kind.LISTING
    return Kind.CREATE if (route.method, route.path) == ("POST", "/linode/instances") else Kind.OTHER


def read_body(raw: bytes) -> Json:
    """The JSON object in a request, empty if there is none; 400 if it is anything else."""
    if not raw.strip():
        return {}
    try:
        values = json.loads(raw)
    except (ValueError, RecursionError):
        raise invalid("Invalid JSON") from None
    if not isinstance(values, dict):
        raise invalid("Invalid JSON: an object is expected")
    return values


def reply(status: int, document: Any, headers: Mapping[str, str]) -> Reply:
    """An answer with a JSON body."""
    return Reply(status, json.dumps(document).encode(), headers)


def error_reply(status: int, reason: str, headers: Mapping[str, str] | None = None) -> Reply:
    """An error that was not raised by an operation."""
    return reply(status, error_body(Complaint(reason)), _COMMON_HEADERS | dict(headers or {}))
