"""The control endpoint under `/_emulator/`: never part of Linode's namespace, so no client meets it by accident.

GET, POST, DELETE /_emulator/faults        the faults that are set; set one; remove all
POST /_emulator/tokens                     {"token", "scopes": ["ips:read_only"] | null, "read_only": [linode ids],
                                           "denied": ["POST /networking/firewalls"]}
POST, DELETE /_emulator/maintenance        an entry of the account's maintenance list; clear the list
POST /_emulator/migrate                    {"linode_id", "beside"}: onto the host of another Linode
GET /_emulator/state                       Linodes, shares, requests: the last, how many of whom, and who waits
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from types import MappingProxyType
from typing import Any

from natpair_lab.emulator.api import Api
from natpair_lab.emulator.faults import Faults, read_fault
from natpair_lab.emulator.fields import Fields
from natpair_lab.emulator.model import Maintenance
from natpair_lab.emulator.refused import not_found
from natpair_lab.emulator.tokens import EVERYTHING, Token

_MOMENTS = ("when", "not_before", "start_time", "complete_time")


@dataclass(frozen=True, slots=True)
class Served:
    """A request that was answered; `fault` is the kind of the fault that struck it, if any."""

    method: str
    path: str
    status: int
    fault: str | None = None


@dataclass(slots=True)
class Control:
    """What the control endpoint reaches."""

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

    def answer(self, method: str, path: str, body: Fields) -> dict[str, Any]:
        """Carry out one control request."""
        operation = _OPERATIONS.get((method, path))
        if operation is None:
            raise not_found()
        return operation(self, body)

    def list_faults(self, _: Fields) -> dict[str, Any]:
        """The faults that are set."""
        return {"faults": [asdict(fault) for fault in self.faults.active]}

    def add_fault(self, body: Fields) -> dict[str, Any]:
        """Set a fault."""
        self.faults.active.append(read_fault(body))
        return self.list_faults(body)

    def clear_faults(self, body: Fields) -> dict[str, Any]:
        """Remove all faults."""
        self.faults.active.clear()
        return self.list_faults(body)

    def set_token(self, body: Fields) -> dict[str, Any]:
        """Give a token scopes and restrictions, or revoke it by `"scopes": null`."""
        word, scopes = body.required_text("token"), body.texts("scopes")
        if body.has("scopes") and scopes is None:
            self.api.tokens.set(word, None)
        else:
            allowed = EVERYTHING if scopes is None else frozenset(scopes)
            read_only, denied = body.integers("read_only") or (), body.texts("denied") or ()
            self.api.tokens.set(word, Token(allowed, frozenset(read_only), frozenset(denied)))
        return {}

    def add_maintenance(self, body: Fields) -> dict[str, Any]:
        """Schedule maintenance; moments are seconds from now."""
        linode = self.api.store.linode_named(body.required_integer("linode_id"), "linode_id")
        entry = Maintenance(linode_id=linode.id, when=self.api.store.now)
        for name in ("type", "status", "policy", "description", "source", "reason"):
            text = body.text(name)
            if text is not None:
                entry = replace(entry, **{name: text})  # type: ignore[arg-type] # every one of these is a str
        for name in _MOMENTS:
            seconds = body.integer(name)
            if seconds is not None:
                entry = replace(entry, **{name: self.api.store.now + seconds})  # type: ignore[arg-type] # all floats
        self.api.store.maintenance.append(entry)
        return {}

    def clear_maintenance(self, _: Fields) -> dict[str, Any]:
        """Nothing is scheduled any more."""
        self.api.store.maintenance.clear()
        return {}

    def migrate(self, body: Fields) -> dict[str, Any]:
        """Move a Linode onto the host of another: their placement group is no longer compliant."""
        store = self.api.store
        linode = store.linode_named(body.required_integer("linode_id"), "linode_id")
        other = store.linode_named(body.required_integer("beside"), "beside")
        store.linodes[linode.id] = replace(linode, host_uuid=other.host_uuid)
        return {}

    def state(self, _: Fields) -> dict[str, Any]:
        """What a test or a person looks at."""
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


_OPERATIONS: Mapping[tuple[str, str], Callable[[Control, Fields], dict[str, Any]]] = MappingProxyType(
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
