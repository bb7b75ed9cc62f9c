"""Routes: the path of each operation, the scopes it needs, and the function that answers it.

A route's function takes a `Call` and returns the JSON of the answer; it does no network I/O. Paths name their
parameters as Linode's specification does, so that a test can compare the two tables.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import unquote

from natpair_lab.emulator.body import Json, Model, read
from natpair_lab.emulator.filters import filtered, page
from natpair_lab.emulator.model import Linode
from natpair_lab.emulator.refused import not_found, unauthorized
from natpair_lab.emulator.state import Store

LINODES_READ, LINODES_WRITE = ("linodes:read_only",), ("linodes:read_write",)
IPS_READ, IPS_WRITE = ("ips:read_only",), ("ips:read_write", "linodes:read_write")
FIREWALL_READ, FIREWALL_WRITE = ("firewall:read_only",), ("firewall:read_write",)
EVENTS_READ = ("events:read_only",)
ACCOUNT_READ = ("account:read_only",)
ANY_TOKEN: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """A request as an operation sees it."""

    store: Store
    params: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    x_filter: str = ""
    body: Json = field(default_factory=dict)
    read_only: frozenset[int] = frozenset()

    def number(self, name: str) -> int:
        """A path parameter that is a number, or 404."""
        text = self.params[name]
        if not (text.isascii() and text.isdecimal() and len(text) < 18):
            raise not_found()
        return int(text)

    def read(self, model: type[Model]) -> Model:
        """The parsed request, or 400."""
        return read(model, self.body)

    def linode(self) -> Linode:
        """The Linode in the path."""
        return self.store.linode(self.number("linodeId"))

    def own_linode(self) -> Linode:
        """The Linode in the path, if the user may change it."""
        linode = self.linode()
        self.may_change(linode.id)
        return linode

    def may_change(self, linode_id: int) -> None:
        """403 if the user's grant for a Linode is read-only."""
        if linode_id in self.read_only:
            raise unauthorized()


Answer = Callable[[Call], Json]


@dataclass(frozen=True)
class Route:
    """An operation. `scopes` is None if it needs no token; `attributes` are what its list can be filtered by."""

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
    """An operation that reads a list; `attributes` names what it can be filtered by, separated by spaces."""
    allowed = frozenset(attributes.split())

    def answer(call: Call) -> Json:
        return page(filtered(items(call), call.x_filter, allowed), call.query)

    return Route("GET", path, scopes, answer, allowed)


def post(path: str, scopes: tuple[str, ...], answer: Answer) -> Route:
    """An operation that creates something or starts an action."""
    return Route("POST", path, scopes, answer)


def put(path: str, scopes: tuple[str, ...], answer: Answer) -> Route:
    """An operation that changes."""
    return Route("PUT", path, scopes, answer)


def delete(path: str, scopes: tuple[str, ...], answer: Callable[[Call], Any]) -> Route:
    """An operation that removes."""
    return Route("DELETE", path, scopes, done(answer))


def done(work: Callable[[Call], Any]) -> Answer:
    """The empty answer of an operation that has done its work."""

    def answer(call: Call) -> Json:
        work(call)
        return {}

    return answer


@dataclass(frozen=True, slots=True)
class Found:
    """A route and the parameters its path had."""

    route: Route
    params: Mapping[str, str]


def find(routes: Sequence[Route], method: str, path: str) -> Found | None:
    """The operation for a request. None if the path exists with another method only; 404 if the path is unknown.

    `path` is as received, still quoted: an address may contain a quoted slash.
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
