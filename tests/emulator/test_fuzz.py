"""schemathesis, with Linode's own table of arguments as the schema: whatever is sent, no answer is a 500."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case

from emulator.accounts import Full
from emulator.served import Served, served
from natpair_lab.emulator.api import ROUTES
from unit.linode.published import Argument, Published, published

TYPES = {"integer": "integer", "boolean": "boolean", "number": "number", "object": "object", "array": "array"}
MISFITS = ["x", 0, None, []]
EXAMPLES = 12


@pytest.fixture(scope="module")
def account() -> Full:
    return Full()


@pytest.fixture(scope="module")
def server(account: Full) -> Iterator[Served]:
    with served(account.api) as running:
        yield running


def body_of(arguments: tuple[Argument, ...], known: dict[str, list[Any]]) -> dict[str, Any]:
    """A JSON schema from the table's flat list of dotted names."""
    properties: dict[str, Any] = {}
    for argument in arguments:
        *parents, leaf = argument.path.split(".")
        place = properties
        for part in parents:
            parent = place.setdefault(part, {"type": "object", "properties": {}})
            holder = parent.get("items", parent) if parent.get("type") == "array" else parent
            place = holder.setdefault("properties", {})
        place.setdefault(leaf, leaf_of(argument, known))
    needed = [one.path for one in arguments if one.required and "." not in one.path]
    return {"type": "object", "properties": properties} | ({"required": needed} if needed else {})


def leaf_of(argument: Argument, known: dict[str, list[Any]]) -> dict[str, Any]:
    name = argument.path.rpartition(".")[2]
    kind = TYPES.get(argument.type, "string")
    if argument.item == "object" and argument.type != "object":
        return {"type": "array", "items": {"type": "object", "properties": {}}, "maxItems": 3}
    if kind == "array":
        item = (
            {"enum": [*known[name], *MISFITS]} if name in known else {"type": TYPES.get(argument.item or "", "string")}
        )
        return {"type": "array", "items": item, "maxItems": 3}
    if name == "label":
        return {"type": "string", "pattern": "^[a-z][a-z0-9]{2,9}$"}
    return {"enum": [*known[name], *MISFITS]} if name in known else {"type": kind}


def operation(one: Published, account: Full, known: dict[str, list[Any]]) -> dict[str, Any]:
    names = [part[1:-1] for part in one.path.split("/") if part.startswith("{")]
    numbers = (
        account.names | {"range": "2001:db8::"} | {"linodeId": account.legacy, "interfaceId": account.modern_interface}
    )
    either = {"linodeId": [account.legacy, account.modern], "address": [numbers["address"], "203.0.113.2", "x"]}
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"enum": [*either.get(name, [numbers[name]]), "0"]}}
        for name in names
    ]
    if one.paged:
        filters = sorted(one.filters) or ["id"]
        schema = {"enum": [f'{{"{name}": {{"+gte": 1}}, "+order_by": "{name}"}}' for name in filters] + ["{", "[]"]}
        parameters.append({"name": "X-Filter", "in": "header", "schema": schema})
        parameters += [{"name": name, "in": "query", "schema": {"type": "integer"}} for name in ("page", "page_size")]
    found: dict[str, Any] = {"parameters": parameters, "responses": {"default": {"description": "any"}}}
    if one.method in ("POST", "PUT"):
        body = {"schema": body_of(one.arguments, known)}
        found["requestBody"] = {"content": {"application/json": body}}
    return found


def schema_of(account: Full, table: tuple[Published, ...]) -> dict[str, Any]:
    ours = {(route.method, route.path) for route in ROUTES}
    known: dict[str, list[Any]] = {
        "region": ["us-east", "us-den-1"],
        "type": ["g6-nanode-1", "ipv4", "linode", "linode_interface"],
        "image": ["linode/debian12"],
        "root_pass": ["correct horse battery"],
        "interface_generation": ["linode", "legacy_config"],
        "linode_id": [int(account.legacy), int(account.modern)],
        "linodes": [int(account.legacy), int(account.modern)],
        "linode_interfaces": [int(account.modern_interface)],
        "ips": [account.names["address"], "203.0.113.2"],
        "address": [account.names["address"]],
        "purpose": ["public", "vlan"],
        "protocol": ["TCP", "ICMP"],
        "action": ["ACCEPT"],
        "placement_group_type": ["anti_affinity:local"],
        "placement_group_policy": ["strict", "flexible"],
        "firewall_id": [int(account.names["firewallId"])],
        "id": [int(account.legacy), int(account.modern_interface), int(account.names["groupId"])],
        "inbound_policy": ["DROP"],
        "outbound_policy": ["ACCEPT"],
        "user_data": ["I2Nsb3VkLWNvbmZpZw=="],
        "maintenance_policy": ["linode/migrate"],
        "ipam_address": ["192.168.1.2/24"],
        "vlan_label": ["nat-lan"],
        "subnet_id": [],
    }
    paths: dict[str, dict[str, Any]] = {}
    for one in table:
        if (one.method, one.path) in ours:
            paths.setdefault(f"/v4{one.path}", {})[one.method.lower()] = operation(one, account, known)
    return {"openapi": "3.0.3", "info": {"title": "Linode, a part", "version": "4"}, "paths": paths}


def test_no_request_makes_it_fail(account: Full, server: Served, tmp_path_factory: pytest.TempPathFactory) -> None:
    table = published(tmp_path_factory.mktemp("home"))
    schema = schemathesis.openapi.from_dict(schema_of(account, table))
    operations = [found.ok() for found in schema.get_all_operations()]
    # Deleting comes last: it takes away what the others speak to.
    operations.sort(key=lambda found: found.method.upper() == "DELETE")
    failed: list[str] = []
    for found in operations:
        attack(found.as_strategy(), server, failed)
    assert not failed
    assert len(operations) == len(ROUTES)


def attack(cases: Any, server: Served, failed: list[str]) -> None:
    @given(case=cases)
    @settings(max_examples=EXAMPLES, phases=[Phase.generate], suppress_health_check=list(HealthCheck), database=None)
    def one(case: Case) -> None:
        headers = {"Authorization": "Bearer any"}
        answer = case.call(base_url=server.url, headers=headers, timeout=10)
        if answer.status_code >= 500:
            failed.append(f"{case.method} {case.path} {case.body!r}")

    one()
