"""The emulator against Linode's own table of operations, as linode-cli carries it.

Every operation of the emulator is one that Linode publishes, every answer has the attributes that the table names,
and a list can be filtered by what the table marks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

import pytest

from emulator.accounts import IMAGE, LINODE, POLICIES, RULE, Full
from natpair_lab.emulator.api import ROUTES
from natpair_lab.emulator.routing import Route
from unit.linode.published import Published, published

# What only events about Kubernetes have.
OF_OTHER_PRODUCTS = {"entity.cpc", "entity.node", "entity.pool"}
# Recorded answers leave these out of a firewall rule that has none.
LEFT_OUT = {f"{side}bound.{name}" for side in ("in", "out") for name in ("description", "ruleset")}
# What the emulator does not have: an object on the way there is null, or a list empty.
NOT_EMULATED = (
    "*vpc*",
    "*nat_1_1*",
    "*rdma*",
    "ipv6.global.*",
    "*ipv6.ranges*",
    "*ipv6.shared*",
    "*ipv6.is_public",  # of an interface in a VPC
    "interfaces.ipv6.slaac.*",
    "ipv6.slaac.range",
    "details.*",
    "secondary_entity.*",
    "devices.sd?.*",
    "active_promotions.*",
    "migrations.*",
)

BODIES: dict[tuple[str, str], Any] = {
    ("POST", "/linode/instances"): LINODE | {"placement_group": {"id": 0}},
    ("PUT", "/linode/instances/{linodeId}"): {"label": "other"},
    ("POST", "/linode/instances/{linodeId}/rebuild"): IMAGE,
    ("POST", "/linode/instances/{linodeId}/ips"): {"type": "ipv4", "public": True},
    ("PUT", "/linode/instances/{linodeId}/configs/{configId}"): {"helpers": {"network": False}},
    ("POST", "/linode/instances/{linodeId}/interfaces"): {"vlan": {"vlan_label": "other-lan"}},
    ("PUT", "/linode/instances/{linodeId}/interfaces/{interfaceId}"): {"default_route": {"ipv4": True}},
    ("PUT", "/linode/instances/{linodeId}/interfaces/settings"): {"network_helper": False},
    ("POST", "/networking/ips"): {"type": "ipv4", "public": True, "reserved": True, "region": "us-east"},
    ("POST", "/networking/ips/share"): {"linode_id": 0, "ips": []},
    ("POST", "/networking/reserved/ips"): {"region": "us-east"},
    ("POST", "/placement/groups"): {
        "label": "second",
        "region": "us-east",
        "placement_group_type": "anti_affinity:local",
        "placement_group_policy": "flexible",
    },
    ("POST", "/placement/groups/{groupId}/assign"): {"linodes": []},
    ("POST", "/placement/groups/{groupId}/unassign"): {"linodes": []},
    ("POST", "/networking/firewalls"): {
        "label": "second",
        "rules": POLICIES | {"inbound": [RULE], "outbound": [RULE]},
        "devices": {"linode_interfaces": [0]},
    },
    ("PUT", "/networking/firewalls/{firewallId}/rules"): POLICIES | {"inbound": [RULE], "outbound": [RULE]},
    ("POST", "/networking/firewalls/{firewallId}/devices"): {"type": "linode_interface", "id": 0},
}
# What one answer alone cannot show: the thing is new and empty, or an interface is either public or in a VLAN.
UNREADABLE = {
    ("GET", "/images"): ("regions.*",),  # of images that are copied between regions
    ("POST", "/placement/groups"): ("members.*",),
    ("POST", "/networking/reserved/ips"): ("assigned_entity.*",),
    ("POST", "/linode/instances/{linodeId}/interfaces"): ("public.*",),
    ("PUT", "/linode/instances/{linodeId}/interfaces/{interfaceId}"): ("vlan.*",),
}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Published]:
    return {(one.method, one.path): one for one in published(tmp_path_factory.mktemp("home"))}


def test_every_operation_is_published(table: dict[tuple[str, str], Published]) -> None:
    ours = {(route.method, route.path) for route in ROUTES}
    assert ours <= set(table)


def test_lists_are_lists_and_can_be_filtered_by_what_is_marked(table: dict[tuple[str, str], Published]) -> None:
    for route in ROUTES:
        one = table[route.method, route.path]
        assert route.listing == one.paged, route.path
        if route.attributes is not None:
            marked = {name for name in one.filters if not re.match(r"(devices|entities|members|rules)\.", name)}
            assert marked <= route.attributes, route.path


def routes_with_answers() -> Iterator[Route]:
    for route in ROUTES:
        # No range is emulated, so none can be read.
        if route.method != "DELETE" and "{range}" not in route.path:
            yield route


@pytest.mark.parametrize("route", list(routes_with_answers()), ids=lambda route: f"{route.method} {route.path}")
def test_the_answer_has_the_attributes(route: Route, table: dict[tuple[str, str], Published]) -> None:
    account = Full()
    one = table[route.method, route.path]
    body = prepared(account, route)
    document = account.do(route.method, account.path(route.path), body)
    items = document["data"] if route.listing else [document]
    names = {bare(name, route) for name in one.attributes}
    for item in items:
        missing = {name for name in names if look(item, name.split(".")) is False}
        assert not {name.removeprefix("rules.") for name in missing} - OF_OTHER_PRODUCTS - LEFT_OUT
    if items:
        unreadable = {name for name in names if all(look(item, name.split(".")) is None for item in items)}
        known = (*NOT_EMULATED, *UNREADABLE.get((route.method, route.path), ()))
        assert not [name for name in sorted(unreadable) if not any(fnmatchcase(name, pattern) for pattern in known)]


_KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}
# Of these the table knows no type, and then says string; a duration is recorded with a fraction.
OTHER_TYPES = {
    "assigned_entity.id",
    "duration",
    "entity.id",
    "interface_id",
    "is_shared",
    "linode_id",
    "prefix",
    "public",
    "reserved",
    "secondary_entity.id",
}


@pytest.mark.parametrize("route", list(routes_with_answers()), ids=lambda route: f"{route.method} {route.path}")
def test_the_attributes_have_the_types(route: Route, table: dict[tuple[str, str], Published]) -> None:
    account = Full()
    one = table[route.method, route.path]
    document = account.do(route.method, account.path(route.path), prepared(account, route))
    for name, (kind, item_kind) in one.types.items():
        if name in OTHER_TYPES or (name, kind) == ("tags", "string"):
            continue
        for value in leaves(document["data"] if route.listing else document, bare(name, route).split(".")):
            assert fits(value, kind), (name, value)
            if kind == "array" and item_kind:
                assert all(fits(part, item_kind) for part in value), (name, value)


def fits(value: Any, kind: str) -> bool:
    return isinstance(value, _KINDS[kind]) and (kind == "boolean" or not isinstance(value, bool))


def leaves(item: Any, path: list[str]) -> Iterator[Any]:
    """Every value at the end of the path that is not null."""
    if isinstance(item, list) and path:
        for one in item:
            yield from leaves(one, path)
    elif not path:
        yield from [] if item is None else [item]
    elif isinstance(item, dict) and path[0] in item:
        yield from leaves(item[path[0]], path[1:])


def bare(name: str, route: Route) -> str:
    """The table wraps one interface as if it were a list of them; Linode's SDK reads it bare (`result["id"]`)."""
    single = route.path.endswith(("/interfaces/{interfaceId}", "/interfaces")) and "/configs" not in route.path
    if single and (route.method, route.path[-11:]) != ("GET", "/interfaces"):
        return name.removeprefix("interfaces.")
    return name


def prepared(account: Full, route: Route) -> Any:
    """The body for a route, with this account's numbers where the sample has a 0."""
    if route.path.endswith("/boot"):
        account.do("POST", account.path(route.path).replace("/boot", "/shutdown"))
        account.later()
    numbers = {
        "linode_id": int(account.modern),
        "placement_group": {"id": int(account.names["groupId"])},
        "id": int(account.unguarded_interface),
        "devices": {"linode_interfaces": [int(account.unguarded_interface)]},
    }
    body = BODIES.get((route.method, route.path))
    return body and {name: numbers.get(name, value) for name, value in body.items()}


def look(item: Any, path: list[str]) -> bool | None:
    """Whether the attribute is there (True), missing (False), or out of sight behind a null or an empty list."""
    if not path:
        return True
    if isinstance(item, list):
        seen = [look(one, path) for one in item]
        return None if not seen or all(one is None for one in seen) else False not in seen
    if item is None:
        return None
    if not isinstance(item, dict) or path[0] not in item:
        return False
    return look(item[path[0]], path[1:])
