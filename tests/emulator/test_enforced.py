"""Each rule of Linode's specification, for each body that natpair sends: the emulator refuses what breaks it, or the
table beside this file says why not. And every body that natpair sends keeps every rule.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from cloud.accounts import LEGACY, TEXT, desk
from emulator.accounts import IMAGE, LINODE, OPEN, POLICIES, PUBLIC, RULE, VLAN, Full
from emulator.specification import Rule, bare, complaints, rules_of
from natpair.linode import operations as op
from natpair.probe import machines
from natpair.probe.record import Record
from natpair_lab.emulator.api import ROUTES, Api, Reply, Request
from natpair_lab.emulator.routing import find
from unit.linode.published import Published, published
from unit.linode.test_published import CALLS, noted
from unit.linode.test_published import complaints as table_complaints

TABLE = Path(__file__).with_name("not_enforced.toml")
GROUP = {"region": "us-east", "placement_group_type": "anti_affinity:local", "placement_group_policy": "flexible"}
RULES = POLICIES | {"inbound": [RULE | {"description": "ssh"}], "outbound": [RULE | {"description": "ssh"}]}
LAN = {"vlan_label": "other-lan", "ipam_address": "10.0.0.1/24"}

# A good body for each operation that natpair sends one with.
GOOD: dict[str, Any] = {
    "POST /linode/instances": LINODE | IMAGE | {"interfaces": [PUBLIC, VLAN]},
    "POST /linode/instances, Linode interfaces": LINODE
    | IMAGE
    | {
        "interface_generation": "linode",
        "interfaces": [OPEN | {"public": {"ipv4": {"addresses": [{}]}}}, {"vlan": LAN}],
    },
    "PUT /linode/instances/{linodeId}": {"tags": ["natpair"]},
    "POST /linode/instances/{linodeId}/rebuild": IMAGE,
    "POST /linode/instances/{linodeId}/boot": {},
    "POST /linode/instances/{linodeId}/reboot": {},
    "POST /linode/instances/{linodeId}/ips": {"type": "ipv4", "public": True},
    "PUT /linode/instances/{linodeId}/configs/{configId}": {"interfaces": [PUBLIC, VLAN]},
    "POST /linode/instances/{linodeId}/interfaces": {"vlan": LAN},
    "PUT /linode/instances/{linodeId}/interfaces/{interfaceId}": {"public": {"ipv4": {"addresses": [{}]}}},
    "PUT /linode/instances/{linodeId}/interfaces/settings": {"network_helper": False},
    "POST /networking/ips/share": {"linode_id": 0, "ips": []},
    "POST /placement/groups": GROUP | {"label": "second"},
    "POST /placement/groups/{groupId}/assign": {"linodes": []},
    "POST /networking/firewalls": {"label": "second", "rules": RULES},
    "PUT /networking/firewalls/{firewallId}/rules": RULES,
    "POST /networking/firewalls/{firewallId}/devices": {"type": "linode_interface", "id": 0},
}
# Sent without a body.
BARE = {"POST /linode/instances/{linodeId}/shutdown"}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Published]:
    return {f"{one.method} {one.path}": one for one in published(tmp_path_factory.mktemp("home"))}


async def test_no_operation_of_natpair_is_forgotten(table: dict[str, Published]) -> None:
    sent = {found for _, call in CALLS if (found := shape((await noted(call)).operation, table))}
    assert {bare(name) for name in GOOD} | BARE == sent


def shape(operation: op.Operation, table: Mapping[str, Published]) -> str:
    """The name of an operation with a body in the table; empty if it has none."""
    if operation.method not in ("POST", "PUT"):
        return ""
    path = operation.at(linode=1, config=1, interface=1, group=1, firewall=1)
    found = [name for name, one in table.items() if one.answers(operation.method, path)]
    return min(found, key=lambda name: name.count("{"))


def status_of(operation: str, body: Mapping[str, Any]) -> int:
    account = Full()
    method, path = bare(operation).split()
    if path.endswith("/boot"):
        account.do("POST", account.path(path).replace("/boot", "/shutdown"))
        account.later()
    return account.ask(method, account.path(path), body)[0]


def with_numbers(operation: str) -> dict[str, Any]:
    """The good body, with this account's numbers where it has a 0."""
    account = Full()
    numbers = {"linode_id": int(account.modern), "id": int(account.unguarded_interface)}
    return {name: numbers.get(name, value) if value == 0 else value for name, value in GOOD[operation].items()}


@pytest.mark.parametrize("operation", GOOD)
def test_a_good_body_is_taken(operation: str) -> None:
    assert status_of(operation, with_numbers(operation)) == 200


def all_rules(table: Mapping[str, Published]) -> Iterator[Rule]:
    for operation in GOOD:
        yield from rules_of(operation, table[bare(operation)])


def test_what_is_not_enforced_is_in_the_table_with_a_reason(table: dict[str, Published]) -> None:
    good = {operation: with_numbers(operation) for operation in GOOD}
    rules = {rule.name: rule for rule in all_rules(table)}
    answers = {name: status_of(rule.operation, rule.break_in(good[rule.operation])) for name, rule in rules.items()}
    assert set(answers.values()) == {200, 400}
    open_ = {name for name, status in answers.items() if status == 200}
    groups = tomllib.loads(TABLE.read_text())["group"]
    assert all(group["reason"].strip() for group in groups)
    listed = [pattern for group in groups for pattern in group["rules"]]
    said = {name for name in rules if any(fnmatchcase(name, pattern) for pattern in listed)}
    assert not sorted(open_ - said), "not enforced, and no reason is given"
    assert not sorted(said - open_), "enforced: take it out of the table"
    assert not [pattern for pattern in listed if not any(fnmatchcase(name, pattern) for name in rules)]


async def test_every_body_that_natpair_sends_keeps_every_rule(
    table: dict[str, Published], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[str, dict[str, Any]]] = []
    note(monkeypatch, sent)
    for text, setting in ((TEXT, "linode_only"), (LEGACY, "legacy_config_only")):
        async with desk(text) as at:
            at.store.interfaces_for_new_linodes = setting
            await at.apply()
            record = Record.begin(tmp_path, "http://x/v4", "us-ord", "now")
            offered = await machines.offer(at.client, "us-ord", None)
            await machines.make(at.client, record, offered, machines.IMAGE, "ssh-ed25519 AAAA", lambda _: None)
    assert len({name for name, _ in sent}) > 8
    for name, body in sent:
        assert list(table_complaints(body, table[name].arguments)) == [], name
        assert complaints(name, body) == [], name


def note(monkeypatch: pytest.MonkeyPatch, sent: list[tuple[str, dict[str, Any]]]) -> None:
    """Keep every body that is sent to an emulator."""
    answer = Api.answer

    def noting(api: Api, request: Request, now: float) -> Reply:
        found = find(ROUTES, request.method, request.path)
        if request.body.strip() and found is not None:
            sent.append((f"{found.route.method} {found.route.path}", json.loads(request.body)))
        return answer(api, request, now)

    monkeypatch.setattr(Api, "answer", noting)


@pytest.mark.parametrize(
    ("operation", "body", "complaint"),
    [
        ("POST /linode/instances", {"label": "1-nat"}, "label = '1-nat': pattern"),
        ("POST /linode/instances", {"interfaces": [{"firewall_id": -2}]}, "interfaces.firewall_id = -2: minimum"),
        (
            "POST /networking/firewalls",
            {"rules": {"inbound": [{"addresses": {"ipv4": []}}]}},
            "rules.inbound.addresses.ipv4 = []: length",
        ),
    ],
)
def test_the_check_can_say_no(operation: str, body: dict[str, Any], complaint: str) -> None:
    assert complaint in complaints(operation, body)
