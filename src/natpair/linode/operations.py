"""The API calls as data: method, path, whether a repeat does harm, and the rights that a token needs.

No other call can be sent. A test compares each line with the operation table that Linode publishes
inside linode-cli. Nothing here sends anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum


class Method(StrEnum):
    """HTTP methods of the API."""

    GET = "GET"
    POST = "POST"
    PUT = "PUT"
    DELETE = "DELETE"


class Repeat(Enum):
    """What sending a call twice does. Only `HARMLESS` ones are sent again after an answer that told nothing."""

    HARMLESS = "harmless"
    HARMFUL = "harmful"


@dataclass(frozen=True, slots=True)
class Operation:
    """One call. `path` has `{named}` parts and starts behind the version; `scopes` is what a token needs for it."""

    name: str
    method: Method
    path: str
    repeat: Repeat = Repeat.HARMLESS
    scopes: str = "linodes:read_write"

    def at(self, **parts: object) -> str:
        """The path with its parts filled in; KeyError if one is missing."""
        return self.path.format(**parts)


def _get(name: str, path: str, scopes: str = "linodes:read_only") -> Operation:
    return Operation(name, Method.GET, path, Repeat.HARMLESS, scopes)


def _post(name: str, path: str, scopes: str = "linodes:read_write") -> Operation:
    return Operation(name, Method.POST, path, Repeat.HARMFUL, scopes)


def _put(name: str, path: str, scopes: str = "linodes:read_write", *, repeat: Repeat = Repeat.HARMLESS) -> Operation:
    return Operation(name, Method.PUT, path, repeat, scopes)


def _delete(name: str, path: str, scopes: str = "linodes:read_write") -> Operation:
    return Operation(name, Method.DELETE, path, Repeat.HARMLESS, scopes)


_LINODE = "/linode/instances/{linode}"
_CONFIG = f"{_LINODE}/configs/{{config}}"
_IPS = "ips:read_write linodes:read_write"
_FIREWALL = "firewall:read_write"

LIST_INSTANCES = _get("list Linodes", "/linode/instances")
GET_INSTANCE = _get("read a Linode", _LINODE)
CREATE_INSTANCE = _post("create a Linode", "/linode/instances")
DELETE_INSTANCE = _delete("delete a Linode", _LINODE)
UPDATE_INSTANCE = _put("change a Linode", _LINODE)
REBUILD_INSTANCE = _post("rebuild a Linode", f"{_LINODE}/rebuild")
BOOT_INSTANCE = _post("boot a Linode", f"{_LINODE}/boot")
REBOOT_INSTANCE = _post("reboot a Linode", f"{_LINODE}/reboot")
SHUT_DOWN_INSTANCE = _post("shut down a Linode", f"{_LINODE}/shutdown")

LIST_INSTANCE_IPS = _get("list a Linode's addresses", f"{_LINODE}/ips")
ALLOCATE_IP = _post("allocate an address", f"{_LINODE}/ips")
GET_IP = _get("read an address", "/networking/ips/{address}", "ips:read_only")
# Sharing replaces the receiver's whole list. Sent twice, it would undo what another writer wrote in between.
SHARE_IPS = _post("share addresses", "/networking/ips/share", _IPS)
LIST_RANGES = _get("list IPv6 ranges", "/networking/ipv6/ranges", "ips:read_only")
GET_RANGE = _get("read an IPv6 range", "/networking/ipv6/ranges/{range}", "ips:read_only")

LIST_CONFIGS = _get("list a Linode's configs", f"{_LINODE}/configs")
UPDATE_CONFIG = _put("change a config", _CONFIG)
LIST_INTERFACES = _get("list a Linode's interfaces", f"{_LINODE}/interfaces")
ADD_INTERFACE = _post("add an interface", f"{_LINODE}/interfaces")
# Sending "auto" twice would allocate twice.
UPDATE_INTERFACE = _put("change an interface", f"{_LINODE}/interfaces/{{interface}}", repeat=Repeat.HARMFUL)
GET_INTERFACE_SETTINGS = _get("read interface settings", f"{_LINODE}/interfaces/settings")
UPDATE_INTERFACE_SETTINGS = _put("change interface settings", f"{_LINODE}/interfaces/settings")

LIST_PLACEMENT_GROUPS = _get("list placement groups", "/placement/groups")
CREATE_PLACEMENT_GROUP = _post("create a placement group", "/placement/groups")
DELETE_PLACEMENT_GROUP = _delete("delete a placement group", "/placement/groups/{group}")
ASSIGN_TO_PLACEMENT_GROUP = _post("assign to a placement group", "/placement/groups/{group}/assign")

LIST_FIREWALLS = _get("list firewalls", "/networking/firewalls", "firewall:read_only")
CREATE_FIREWALL = _post("create a firewall", "/networking/firewalls", _FIREWALL)
DELETE_FIREWALL = _delete("delete a firewall", "/networking/firewalls/{firewall}", _FIREWALL)
UPDATE_FIREWALL_RULES = _put("change a firewall's rules", "/networking/firewalls/{firewall}/rules", _FIREWALL)
LIST_FIREWALL_DEVICES = _get(
    "list a firewall's devices", "/networking/firewalls/{firewall}/devices", "firewall:read_only"
)
ADD_FIREWALL_DEVICE = _post("put a firewall on a device", "/networking/firewalls/{firewall}/devices", _FIREWALL)

LIST_REGIONS = _get("list regions", "/regions", "")
LIST_TYPES = _get("list types", "/linode/types", "")
LIST_IMAGES = _get("list images", "/images", "")
LIST_RESERVED_IP_TYPES = _get("list types of reserved addresses", "/networking/reserved/ips/types", "")
GET_ACCOUNT_SETTINGS = _get("read account settings", "/account/settings", "account:read_only")
LIST_MAINTENANCE = _get("list maintenance", "/account/maintenance", "account:read_only")
LIST_EVENTS = _get("list events", "/account/events", "events:read_only")

ALL: tuple[Operation, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Operation))
