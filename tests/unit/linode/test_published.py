"""Every request natpair can send, and every field it reads, against Linode's own table of operations."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Interface, IPv6Address
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from natpair.linode import models
from natpair.linode import operations as op
from natpair.linode.bodies import (
    DeviceKind,
    Generation,
    NewFirewall,
    NewInstance,
    NewPlacementGroup,
    Rebuild,
    VlanAttachment,
)
from natpair.linode.client import LinodeClient
from natpair.linode.operations import Operation
from natpair.linode.transport import Transport
from unit.linode.published import Argument, Published, published

VLAN = VlanAttachment("nat-lan", IPv4Interface("192.168.1.2/24"))
RULE = models.FirewallRule(
    action="ACCEPT",
    protocol="TCP",
    ports="22, 179",
    addresses=models.RuleAddresses(ipv4=("192.0.2.0/24",), ipv6=("2001:db8::/32",)),
    label="bgp",
)
RULES = models.FirewallRules(inbound=(RULE,), inbound_policy="DROP", outbound=(), outbound_policy="ACCEPT")
FULL = NewInstance(
    "nat-a",
    "us-ord",
    "g6-nanode-1",
    image="linode/debian12",
    vlan=VLAN,
    firewall_id=5,
    placement_group_id=6,
    tags=("natpair",),
    authorized_keys=("ssh-ed25519 AAAA",),
    root_password="a-long-one",  # noqa: S106
    user_data=b"#cloud-config\n",
)
REBUILD = Rebuild(
    "linode/debian12",
    "a-long-one",
    authorized_keys=("ssh-ed25519 AAAA",),
    user_data=b"#cloud-config\n",
    booted=False,
)
LEGACY = NewInstance("nat-b", "us-ord", "g6-nanode-1", vlan=VLAN, firewall_id=5, generation=Generation.LEGACY)
FIP, RANGE = IPv4Address("192.0.2.221"), IPv6Address("2001:db8::")
INTERFACE = models.Interface.model_validate(
    {"id": 2, "public": {"ipv4": {"addresses": [{"address": "192.0.2.3", "primary": True}]}}}
)

Call = Callable[[LinodeClient], Awaitable[object]]
CALLS: tuple[tuple[str, Call], ...] = (
    ("instances", lambda c: c.instances()),
    ("instances", lambda c: c.instances(label="nat-a")),
    ("instance", lambda c: c.instance(7)),
    ("create_instance", lambda c: c.create_instance(FULL)),
    ("create_instance", lambda c: c.create_instance(LEGACY)),
    ("delete_instance", lambda c: c.delete_instance(7)),
    ("set_tags", lambda c: c.set_tags(7, ["natpair"])),
    ("rebuild", lambda c: c.rebuild(7, REBUILD)),
    ("boot", lambda c: c.boot(7)),
    ("reboot", lambda c: c.reboot(7)),
    ("shut_down", lambda c: c.shut_down(7)),
    ("addresses", lambda c: c.addresses(7)),
    ("address", lambda c: c.address(FIP)),
    ("allocate_address", lambda c: c.allocate_address(7)),
    ("replace_shares", lambda c: c.replace_shares(7, [FIP, RANGE])),
    ("replace_shares", lambda c: c.replace_shares(7, [])),
    ("ipv6_ranges", lambda c: c.ipv6_ranges()),
    ("ipv6_range", lambda c: c.ipv6_range(RANGE)),
    ("configs", lambda c: c.configs(7)),
    ("update_config", lambda c: c.update_config(7, 1, vlan=VLAN, network_helper=False)),
    ("interfaces", lambda c: c.interfaces(7)),
    ("add_vlan_interface", lambda c: c.add_vlan_interface(7, VLAN)),
    ("allocate_on_interface", lambda c: c.allocate_on_interface(7, INTERFACE)),
    ("interface_settings", lambda c: c.interface_settings(7)),
    ("set_network_helper", lambda c: c.set_network_helper(7, on=False)),
    ("placement_groups", lambda c: c.placement_groups(label="nat")),
    ("create_placement_group", lambda c: c.create_placement_group(NewPlacementGroup("nat", "us-ord"))),
    ("assign_to_group", lambda c: c.assign_to_group(3, [7, 8])),
    ("delete_placement_group", lambda c: c.delete_placement_group(3)),
    ("firewalls", lambda c: c.firewalls(label="nat")),
    ("create_firewall", lambda c: c.create_firewall(NewFirewall("nat", RULES, ("natpair",)))),
    ("set_firewall_rules", lambda c: c.set_firewall_rules(4, RULES)),
    ("firewall_devices", lambda c: c.firewall_devices(4)),
    ("add_firewall_device", lambda c: c.add_firewall_device(4, 7)),
    ("add_firewall_device", lambda c: c.add_firewall_device(4, 7, DeviceKind.INTERFACE)),
    ("delete_firewall", lambda c: c.delete_firewall(4)),
    ("regions", lambda c: c.regions()),
    ("types", lambda c: c.types()),
    ("images", lambda c: c.images()),
    ("reserved_address_types", lambda c: c.reserved_address_types()),
    ("account_settings", lambda c: c.account_settings()),
    ("maintenance", lambda c: c.maintenance()),
    ("events", lambda c: c.events(linode=7, action="linode_reboot")),
)

# What each operation's answer is read as, and below which name the table has it.
ANSWERS: tuple[tuple[Operation, type[BaseModel], str], ...] = (
    (op.LIST_INSTANCES, models.Instance, ""),
    (op.GET_INSTANCE, models.Instance, ""),
    (op.CREATE_INSTANCE, models.Instance, ""),
    (op.UPDATE_INSTANCE, models.Instance, ""),
    (op.REBUILD_INSTANCE, models.Instance, ""),
    (op.LIST_INSTANCE_IPS, models.InstanceAddresses, ""),
    (op.ALLOCATE_IP, models.Address, ""),
    (op.LIST_RANGES, models.RangeSummary, ""),
    (op.GET_RANGE, models.Range, ""),
    (op.LIST_CONFIGS, models.Config, ""),
    (op.UPDATE_CONFIG, models.Config, ""),
    (op.ADD_INTERFACE, models.Interface, "interfaces."),
    (op.UPDATE_INTERFACE, models.Interface, ""),
    (op.GET_INTERFACE_SETTINGS, models.InterfaceSettings, ""),
    (op.LIST_PLACEMENT_GROUPS, models.PlacementGroup, ""),
    (op.ASSIGN_TO_PLACEMENT_GROUP, models.PlacementGroup, ""),
    (op.LIST_FIREWALLS, models.Firewall, ""),
    (op.UPDATE_FIREWALL_RULES, models.FirewallRules, ""),
    (op.LIST_FIREWALL_DEVICES, models.FirewallDevice, ""),
    (op.LIST_REGIONS, models.Region, ""),
    (op.LIST_TYPES, models.LinodeType, ""),
    (op.LIST_IMAGES, models.Image, ""),
    (op.LIST_RESERVED_IP_TYPES, models.AddressType, ""),
    (op.GET_ACCOUNT_SETTINGS, models.AccountSettings, ""),
    (op.LIST_MAINTENANCE, models.Maintenance, ""),
    (op.LIST_EVENTS, models.Event, ""),
)


class Noted(BaseException):
    """Ends a call once its request is known."""


class NotingTransport(Transport):
    """Sends nothing: keeps what would have been sent."""

    def __init__(self) -> None:
        super().__init__(None)
        self.operation: Operation = op.LIST_REGIONS
        self.path = ""
        self.body: Mapping[str, Any] | None = None
        self.wanted: Mapping[str, Any] = {}
        self.paged = False

    async def call(
        self,
        operation: Operation,
        parts: Mapping[str, object] | None = None,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        wanted: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        self.operation, self.body, self.wanted = operation, body, wanted or {}
        self.path = operation.at(**(parts or {}))
        self.paged = bool(query and "page" in query)
        raise Noted


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> tuple[Published, ...]:
    return published(tmp_path_factory.mktemp("home"))


async def noted(call: Call) -> NotingTransport:
    transport = NotingTransport()
    with pytest.raises(Noted):
        await call(LinodeClient(transport))
    return transport


def one_of(table: tuple[Published, ...], method: str, path: str) -> Published:
    # /interfaces/settings also has the shape of /interfaces/{id}: the most literal path is meant.
    found = sorted((one for one in table if one.answers(method, path)), key=lambda one: one.path.count("{"))
    assert found, f"Linode has no {method} {path}"
    return found[0]


@pytest.mark.parametrize(("name", "call"), CALLS, ids=[f"{index}-{name}" for index, (name, _) in enumerate(CALLS)])
async def test_a_request_is_one_that_linode_publishes(name: str, call: Call, table: tuple[Published, ...]) -> None:
    sent = await noted(call)
    theirs = one_of(table, sent.operation.method, sent.path)
    assert sent.paged == theirs.paged
    assert {key for key in sent.wanted if not key.startswith("+")} <= theirs.filters
    if sent.operation.method in {"POST", "PUT"}:
        assert list(complaints(sent.body or {}, theirs.arguments)) == []


def test_no_method_of_the_client_and_no_operation_goes_unchecked() -> None:
    methods = {n for n, _ in inspect.getmembers(LinodeClient, inspect.iscoroutinefunction) if not n.startswith("_")}
    assert {name for name, _ in CALLS} == methods


async def test_no_operation_goes_unchecked() -> None:
    assert {(await noted(call)).operation for _, call in CALLS} == set(op.ALL)


@pytest.mark.parametrize(("operation", "model", "below"), ANSWERS, ids=[one[0].name for one in ANSWERS])
def test_what_is_read_is_what_linode_answers(
    operation: Operation, model: type[BaseModel], below: str, table: tuple[Published, ...]
) -> None:
    parts = dict.fromkeys(["linode", "config", "interface", "address", "range", "group", "firewall"], "1")
    theirs = one_of(table, operation.method, operation.at(**parts))
    names = {below + name for name in fields_of(model)}
    known = theirs.attributes | UNLISTED.get(operation.path, frozenset())
    unknown = {name for name in names if not any(one == name or one.startswith(f"{name}.") for one in known)}
    assert unknown == set()


# All addresses are read alike, but the table gives private ones fewer fields; both of these may be absent.
UNLISTED: dict[str, frozenset[str]] = {
    op.LIST_INSTANCE_IPS.path: frozenset({"ipv4.private.reserved", "ipv4.private.vpc_nat_1_1.address"})
}


def fields_of(model: type[BaseModel]) -> Iterator[str]:
    """Dotted names of all fields, down to the leaves."""
    for name, field in model.model_fields.items():
        inner = [one for one in _types_in(field.annotation) if isinstance(one, type) and issubclass(one, BaseModel)]
        below = [f"{name}.{sub}" for one in inner for sub in fields_of(one)]
        yield from below or [name]


def _types_in(annotation: Any) -> Iterator[Any]:
    yield annotation
    for inner in get_args(annotation):
        yield from _types_in(inner)


def complaints(body: Mapping[str, Any], arguments: tuple[Argument, ...]) -> Iterator[str]:
    """What Linode's table holds against `body`: unknown keys, wrong types, missing required ones."""
    known = {argument.path: argument for argument in arguments}
    sent = dict(_leaves(body, known))
    for path, value in sent.items():
        argument = known.get(path)
        if argument is None:
            yield f"{path} is unknown"
        elif not _fits(value, argument):
            yield f"{path} = {value!r} is not {argument.type}"
    for path, argument in known.items():
        parent = path.rpartition(".")[0]
        if argument.required and path not in sent and (not parent or any(one.startswith(f"{parent}.") for one in sent)):
            yield f"{path} is missing"


def _leaves(value: Mapping[str, Any], known: Mapping[str, Argument], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, inner in value.items():
        path = prefix + key
        deeper = any(one.startswith(f"{path}.") for one in known)
        if isinstance(inner, Mapping) and deeper:
            yield from _leaves(inner, known, f"{path}.")
        elif isinstance(inner, list) and deeper:
            for item in inner:
                yield from _leaves(item, known, f"{path}.")
        else:
            yield path, inner


_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict, list),
}


def _fits(value: object, argument: Argument) -> bool:
    if isinstance(value, bool) and argument.type != "boolean":
        return False
    if not isinstance(value, _TYPES[argument.type]):
        return False
    return (
        not isinstance(value, list) or argument.item is None or all(isinstance(v, _TYPES[argument.item]) for v in value)
    )


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({"ips": ["a"]}, "linode_id is missing"),
        ({"ips": "a", "linode_id": 1}, "ips = 'a' is not array"),
        ({"ips": [1], "linode_id": 1}, "ips = [1] is not array"),
        ({"ips": [], "linode_id": True}, "linode_id = True is not integer"),
        ({"ips": [], "linode_id": 1, "linode": 1}, "linode is unknown"),
    ],
)
def test_the_check_can_say_no(body: dict[str, Any], complaint: str, table: tuple[Published, ...]) -> None:
    theirs = one_of(table, "POST", "/networking/ips/share")
    assert list(complaints(body, theirs.arguments)) == [complaint]
