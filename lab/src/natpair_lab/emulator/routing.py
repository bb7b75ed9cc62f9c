"""One operation of the API: where it is, what a token must be allowed to do, what answers it.

A route's function takes a `Call` and returns the JSON of the answer; it neither reads nor writes the network. Paths
name their parameters as Linode's specification does, so that a test can lay the two tables side by side.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import unquote

from natpair_lab.emulator.fields import Fields
from natpair_lab.emulator.filters import filtered, page
from natpair_lab.emulator.refused import not_found
from natpair_lab.emulator.state import Store
from natpair_lab.emulator.views import Json

LINODES_READ, LINODES_WRITE = ("linodes:read_only",), ("linodes:read_write",)
IPS_READ, IPS_WRITE = ("ips:read_only",), ("ips:read_write", "linodes:read_write")
FIREWALL_READ, FIREWALL_WRITE = ("firewall:read_only",), ("firewall:read_write",)
EVENTS_READ, EVENTS_WRITE = ("events:read_only",), ("events:read_write",)
ACCOUNT_READ = ("account:read_only",)
ANY_TOKEN: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """A request as an operation sees it."""

    store: Store
    params: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    x_filter: str = ""
    body: Fields = field(default_factory=Fields)
    read_only: frozenset[int] = frozenset()

    def number(self, name: str) -> int:
        """A path parameter that is a number, or 404."""
        text = self.params[name]
        if not (text.isascii() and text.isdecimal() and len(text) < 18):
            raise not_found()
        return int(text)


# The specification has one bare array, the interfaces of a profile.
Answer = Callable[[Call], Json | list[Json]]


@dataclass(frozen=True)
class Route:
    """An operation. `scopes` is None if it needs no token; `attributes` are what its list may be filtered by."""

    method: str
    path: str
    scopes: tuple[str, ...] | None
    answer: Answer
    attributes: frozenset[str] | None = None

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """The path as a pattern with a group for each parameter."""
        return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", self.path))

    @property
    def listing(self) -> bool:
        """Whether the answer is a page of a list."""
        return self.attributes is not None


def get(path: str, scopes: tuple[str, ...] | None, answer: Answer) -> Route:
    """An operation that reads one thing."""
    return Route("GET", path, scopes, answer)


def listing(
    path: str, scopes: tuple[str, ...] | None, items: Callable[[Call], Sequence[Json]], attributes: str = ""
) -> Route:
    """An operation that reads a list; `attributes` names what it may be filtered by, separated by spaces."""
    allowed = frozenset(attributes.split())

    def answer(call: Call) -> Json:
        return page(filtered(items(call), call.x_filter, allowed), call.query)

    return Route("GET", path, scopes, answer, allowed)


def post(path: str, scopes: tuple[str, ...], answer: Answer) -> Route:
    """An operation that creates or acts."""
    return Route("POST", path, scopes, answer)


def put(path: str, scopes: tuple[str, ...], answer: Answer) -> Route:
    """An operation that changes."""
    return Route("PUT", path, scopes, answer)


def delete(path: str, scopes: tuple[str, ...], answer: Answer) -> Route:
    """An operation that removes."""
    return Route("DELETE", path, scopes, answer)


@dataclass(frozen=True, slots=True)
class Found:
    """A route and the parameters its path had."""

    route: Route
    params: Mapping[str, str]


def find(routes: Sequence[Route], method: str, path: str) -> Found | None:
    """The operation that a request means. None: another method would do; 404 if the path is unknown.

    `path` is as it came over the wire, still quoted: an address may carry a quoted slash.
    """
    path = path.rstrip("/")  # the Python SDK allocates at /networking/ips/
    known = False
    for route in routes:
        match = route.pattern.fullmatch(path)
        if match and route.method == method:
            return Found(route, {name: unquote(value) for name, value in match.groupdict().items()})
        known = known or match is not None
    if not known:
        raise not_found()
    return None
