"""The control endpoint under `/_emulator/`, which Linode's API does not have, so no client reaches it by accident.

GET, POST, DELETE /_emulator/faults        the faults that are set; set one; remove all
POST /_emulator/tokens                     {"token", "scopes": ["ips:read_only"] | null, "read_only": [linode ids],
                                           "denied": ["POST /networking/firewalls"]}
POST, DELETE /_emulator/maintenance        an entry of the account's maintenance list; clear the list
POST /_emulator/migrate                    {"linode_id", "beside"}: onto the host of another Linode
GET /_emulator/state                       Linodes, shares, the last requests, their number per client, and who waits
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import Any

from natpair_lab.emulator.api import Api
from natpair_lab.emulator.body import Body, Json, Many, read
from natpair_lab.emulator.faults import Faults, read_fault
from natpair_lab.emulator.model import Maintenance
from natpair_lab.emulator.refused import not_found
from natpair_lab.emulator.tokens import EVERYTHING, Token

_MOMENTS = ("when", "not_before", "start_time", "complete_time")


class _Token(Body):
    token: str
    scopes: list[str] | None = None
    read_only: Many[int] = ()
    denied: Many[str] = ()


class _Maintenance(Body):
    linode_id: int
    type: str | None = None
    status: str | None = None
    policy: str | None = None
    description: str | None = None
    source: str | None = None
    reason: str | None = None
    when: int | None = None
    not_before: int | None = None
    start_time: int | None = None
    complete_time: int | None = None


class _Migrate(Body):
    linode_id: int
    beside: int


@dataclass(frozen=True, slots=True)
class Served:
    """A request that was answered; `fault` is the kind of the fault that was injected, if any."""

    method: str
    path: str
    status: int
    fault: str | None = None


@dataclass(slots=True)
class Control:
    """What the control endpoint can change and read."""

    api: Api
    faults: Faults = field(default_factory=Faults)
    served: deque[Served] = field(default_factory=lambda: deque(maxlen=1000))
    waiting: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def answering(self, client: str) -> Iterator[None]:
        """`client` waits for an answer while the block runs."""
        self.waiting[client] += 1
        self.asked[client] += 1
        try:
            yield
        finally:
            self.waiting[client] -= 1

    def answer(self, method: str, path: str, body: Json) -> dict[str, Any]:
        """Carry out one control request."""
        operation = _OPERATIONS.get((method, path))
        if operation is None:
            raise not_found()
        return operation(self, body)

    def list_faults(self, _: Json) -> dict[str, Any]:
        """The faults that are set."""
        return {"faults": [asdict(fault) for fault in self.faults.active]}

    def add_fault(self, body: Json) -> dict[str, Any]:
        """Set a fault."""
        self.faults.active.append(read_fault(body))
        return self.list_faults(body)

    def clear_faults(self, body: Json) -> dict[str, Any]:
        """Remove all faults."""
        self.faults.active.clear()
        return self.list_faults(body)

    def set_token(self, body: Json) -> dict[str, Any]:
        """Give a token its scopes and restrictions, or revoke it with `"scopes": null`."""
        stated = read(_Token, body)
        if "scopes" in body and stated.scopes is None:
            self.api.tokens.set(stated.token, None)
        else:
            allowed = EVERYTHING if stated.scopes is None else frozenset(stated.scopes)
            token = Token(allowed, frozenset(stated.read_only), frozenset(stated.denied))
            self.api.tokens.set(stated.token, token)
        return {}

    def add_maintenance(self, body: Json) -> dict[str, Any]:
        """Schedule maintenance; times are seconds from now."""
        now, stated = self.api.store.now, read(_Maintenance, body).model_dump(exclude_none=True)
        moments = {name: now + seconds for name, seconds in stated.items() if name in _MOMENTS}
        entry = Maintenance(**{"when": now} | stated | moments)
        self.api.store.linode_named(entry.linode_id, "linode_id")
        self.api.store.maintenance.append(entry)
        return {}

    def clear_maintenance(self, _: Json) -> dict[str, Any]:
        """Clear the maintenance list."""
        self.api.store.maintenance.clear()
        return {}

    def migrate(self, body: Json) -> dict[str, Any]:
        """Move a Linode onto the host of another one, so that their placement group is no longer compliant."""
        store, stated = self.api.store, read(_Migrate, body)
        linode = store.linode_named(stated.linode_id, "linode_id")
        other = store.linode_named(stated.beside, "beside")
        store.linodes[linode.id] = replace(linode, host_uuid=other.host_uuid)
        return {}

    def state(self, _: Json) -> dict[str, Any]:
        """The state, for tests and people."""
        store = self.api.store
        return {
            "linodes": [
                {"id": one.id, "label": one.label, "status": one.status.value} for one in store.linodes.values()
            ],
            "addresses": len(store.addresses),
            "shares": {
                str(receiver): [str(address) for address in addresses] for receiver, addresses in store.shares.items()
            },
            "requests": [asdict(one) for one in self.served],
            "asked": dict(self.asked),
            "waiting": sorted(+self.waiting),
        }


_OPERATIONS: Mapping[tuple[str, str], Callable[[Control, Json], dict[str, Any]]] = MappingProxyType(
    {
        ("GET", "/faults"): Control.list_faults,
        ("POST", "/faults"): Control.add_fault,
        ("DELETE", "/faults"): Control.clear_faults,
        ("POST", "/tokens"): Control.set_token,
        ("POST", "/maintenance"): Control.add_maintenance,
        ("DELETE", "/maintenance"): Control.clear_maintenance,
        ("POST", "/migrate"): Control.migrate,
        ("GET", "/state"): Control.state,
    }
)
