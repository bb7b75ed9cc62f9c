"""Cloud Firewalls and the devices behind them. Rules are checked and stored, not enforced.

Linode's limits: protocols TCP, UDP, ICMP and IPENCAP (no VRRP), 25 rules in all, 255 addresses and 15 ports per rule. A
firewall never applies to a VLAN interface.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_network
from typing import Annotated, Any, Literal
from zlib import crc32

from pydantic import AfterValidator, Field

from natpair_lab.emulator.account import when
from natpair_lab.emulator.body import Body, Json, Label32, Many
from natpair_lab.emulator.model import Device, DeviceType, Entity, Firewall, Generation, Linode, Purpose, Rule, Rules
from natpair_lab.emulator.refused import invalid, not_found
from natpair_lab.emulator.routing import FIREWALL_READ, FIREWALL_WRITE, LINODES_READ, Call, delete, listing, post, put
from natpair_lab.emulator.state import Store, entity_of

NO_FIREWALL = -1
MOST_RULES, MOST_ADDRESSES, MOST_PORTS = 25, 255, 15
_PORT = re.compile(r"([1-9]\d{0,4})(?:-([1-9]\d{0,4}))?")
_LAST_PORT = 65_535
_Action = Literal["ACCEPT", "DROP"]


def _ports(text: str) -> str:
    """Check ports: no leading zeroes, ranges that rise; a range counts as two."""
    pieces = 0
    for part in text.split(","):
        found = _PORT.fullmatch(part.strip())
        numbers = [int(one) for one in found.groups() if one] if found else []
        pieces += len(numbers)
        if not numbers or max(numbers) > _LAST_PORT or (len(numbers) == 2 and numbers[0] >= numbers[1]):
            raise ValueError("must be ports or ranges, separated by commas")
    if pieces > MOST_PORTS:
        raise ValueError(f"must be up to {MOST_PORTS} ports, where a range counts as two")
    return text


def _networks(version: int) -> AfterValidator:
    def check(networks: list[str]) -> list[str]:
        if not networks:
            raise ValueError("must not be an empty list")
        for network in networks:
            if "/" not in network or ip_network(network, strict=False).version != version:
                raise ValueError(f"must be IPv{version} networks: {network}")
        return networks

    return AfterValidator(check)


class _Addresses(Body):
    ipv4: Annotated[list[str], _networks(4)] | None = None
    ipv6: Annotated[list[str], _networks(6)] | None = None


def _some(addresses: _Addresses) -> _Addresses:
    count = len(addresses.ipv4 or ()) + len(addresses.ipv6 or ())
    if not count:
        raise ValueError("must contain ipv4, ipv6, or both")
    if count > MOST_ADDRESSES:
        raise ValueError(f"can have no more than {MOST_ADDRESSES} entries")
    return addresses


class _Rule(Body):
    protocol: Literal["TCP", "UDP", "ICMP", "IPENCAP"]
    action: _Action
    addresses: Annotated[_Addresses, AfterValidator(_some)]
    ports: Annotated[str, AfterValidator(_ports)] | None = None
    label: Annotated[str, Field(min_length=3, max_length=32)] | None = None
    description: Annotated[str, Field(min_length=1, max_length=100)] | None = None

    def kept(self, field: str) -> Rule:
        """The rule as the account stores it."""
        if self.ports is not None and self.protocol in ("ICMP", "IPENCAP"):
            raise invalid(f"ports cannot be given for {self.protocol}", f"{field}.ports")
        ipv4, ipv6 = tuple(self.addresses.ipv4 or ()), tuple(self.addresses.ipv6 or ())
        return Rule(self.protocol, self.action, self.ports, self.label, self.description, ipv4, ipv6)


class _Rules(Body):
    inbound: Many[_Rule] = ()
    outbound: Many[_Rule] = ()
    inbound_policy: _Action
    outbound_policy: _Action

    def kept(self, version: int) -> Rules:
        """The rules as the account stores them."""
        if len(self.inbound) + len(self.outbound) > MOST_RULES:
            raise invalid(f"A firewall has no more than {MOST_RULES} rules.", "rules")
        inbound = tuple(one.kept(f"inbound[{index}]") for index, one in enumerate(self.inbound))
        outbound = tuple(one.kept(f"outbound[{index}]") for index, one in enumerate(self.outbound))
        return Rules(inbound, outbound, self.inbound_policy, self.outbound_policy, version)


class _Behind(Body):
    linodes: Many[int] = ()
    linode_interfaces: Many[int] = ()


class _New(Body):
    label: Label32
    rules: _Rules
    devices: _Behind = _Behind()
    tags: Many[str] = ()


class _NewDevice(Body):
    id: int
    type: Literal["linode", "linode_interface"]


def _entity(firewall: Firewall) -> Entity:
    url = f"/v4/networking/firewalls/{firewall.id}"
    return Entity(id=firewall.id, type="firewall", label=firewall.label, url=url)


def named(store: Store, firewall_id: int, field: str) -> Firewall:
    """The firewall that a request's field names, or 400."""
    if firewall_id not in store.firewalls:
        raise invalid("firewall_id is not valid", field)
    return store.firewalls[firewall_id]


def wanted(store: Store, firewall_id: int | None, field: str, *, needed: bool = False) -> Firewall | None:
    """The firewall for a new Linode or interface: the account's default if the request names none, no firewall for -1.

    400 if a firewall is `needed` and there is no default.
    """
    chosen = store.default_firewall if firewall_id is None else firewall_id
    if chosen is None and needed:
        raise invalid("A firewall is required: the account has no default firewall for public interfaces.", field)
    return None if chosen in (None, NO_FIREWALL) else named(store, chosen, field)


def _create(call: Call) -> Json:
    store, new = call.store, call.read(_New)
    if any(one.label == new.label for one in store.firewalls.values()):
        raise invalid("label must be unique among your firewalls", "label")
    rules = new.rules.kept(1)
    behind = [_target(store, DeviceType.LINODE, number) for number in new.devices.linodes]
    behind += [_target(store, DeviceType.INTERFACE, number) for number in new.devices.linode_interfaces]
    firewall = Firewall(
        id=store.next_id(), label=new.label, created=store.now, updated=store.now, rules=rules, tags=tuple(new.tags)
    )
    store.firewalls[firewall.id] = firewall
    for kind, number, linode in behind:
        attach(store, firewall, kind, number, linode)
    store.add_event("firewall_create", _entity(firewall))
    return _view(store, firewall)


def _delete(call: Call) -> None:
    store, firewall = call.store, _firewall(call)
    del store.firewalls[firewall.id]
    store.devices = {key: device for key, device in store.devices.items() if device.firewall_id != firewall.id}
    store.add_event("firewall_delete", _entity(firewall))


def _replace_rules(call: Call) -> Json:
    store, firewall = call.store, _firewall(call)
    rules = call.read(_Rules).kept(firewall.rules.version + 1)
    store.firewalls[firewall.id] = replace(firewall, rules=rules, updated=store.now)
    store.add_event("firewall_rules_update", _entity(firewall))
    return _rules(rules)


def _add_device(call: Call) -> Json:
    store, firewall, new = call.store, _firewall(call), call.read(_NewDevice)
    kind, number, linode = _target(store, DeviceType(new.type), new.id)
    if any(one.type is kind and one.entity_id == number for one in store.devices.values()):
        raise invalid("This entity already has a firewall.", "id")
    device = attach(store, firewall, kind, number, linode)
    store.add_event("firewall_device_add", _entity(firewall))
    return _device(store, device)


def _target(store: Store, kind: DeviceType, number: int) -> tuple[DeviceType, int, Linode]:
    """The device that a firewall is to protect, or 400."""
    if kind is DeviceType.LINODE:
        linode = store.linode_named(number, "id")
        if linode.generation is Generation.LINODE:
            raise invalid(f"Linode {linode.id} has Linode interfaces; assign the firewall to an interface.", "id")
        return kind, number, linode
    for linode in store.linodes.values():
        if any(one.id == number and one.purpose is Purpose.PUBLIC for one in linode.interfaces):
            return kind, number, linode
    raise invalid("interface is not valid", "id")


def attach(store: Store, firewall: Firewall, kind: DeviceType, number: int, linode: Linode) -> Device:
    """Record a device that was checked before."""
    device = Device(
        id=store.next_id(),
        firewall_id=firewall.id,
        type=kind,
        entity_id=number,
        linode_id=linode.id,
        created=store.now,
    )
    store.devices[device.id] = device
    return device


def _of_linode(call: Call) -> list[Json]:
    store, linode = call.store, call.linode()
    numbers = dict.fromkeys(one.firewall_id for one in store.devices.values() if one.linode_id == linode.id)
    return [_view(store, store.firewalls[number]) for number in numbers]


def _view(store: Store, one: Firewall) -> Json:
    return {
        "id": one.id,
        "label": one.label,
        "created": when(one.created),
        "updated": when(one.updated),
        "status": one.status,
        "tags": list(one.tags),
        "rules": _rules(one.rules),
        "entities": [_behind(store, device) for device in store.devices.values() if device.firewall_id == one.id],
    }


def _rules(one: Rules) -> Json:
    return {
        "inbound": _listed(one.inbound),
        "inbound_policy": one.inbound_policy,
        "outbound": _listed(one.outbound),
        "outbound_policy": one.outbound_policy,
        "version": one.version,
        "fingerprint": f"{crc32(repr((one.inbound, one.outbound)).encode()):08x}",
    }


def _listed(rules: Sequence[Rule]) -> list[Json] | None:
    """A rule as a list shows it: null for empty values, and no key for what a rule does not have."""
    return [_without_nothing(rule) for rule in rules] or None


def _without_nothing(one: Rule) -> Json:
    made: dict[str, Any] = {
        "protocol": one.protocol,
        "action": one.action,
        "addresses": {"ipv4": list(one.ipv4), "ipv6": list(one.ipv6)},
        "ports": one.ports,
        "label": one.label,
        "description": one.description,
    }
    made["addresses"] = {name: networks for name, networks in made["addresses"].items() if networks}
    return {name: value for name, value in made.items() if value is not None}


def _device(store: Store, one: Device) -> Json:
    return {"id": one.id, "created": when(one.created), "updated": when(one.created), "entity": _behind(store, one)}


def _behind(store: Store, one: Device) -> Json:
    linode = entity_of(store.linodes[one.linode_id])
    parent = {"id": linode.id, "type": linode.type, "label": linode.label, "url": linode.url, "parent_entity": None}
    if one.type is DeviceType.LINODE:
        return parent
    url = f"{linode.url}/interfaces/{one.entity_id}"
    return {"id": one.entity_id, "type": one.type.value, "label": None, "url": url, "parent_entity": parent}


def _firewall(call: Call) -> Firewall:
    number = call.number("firewallId")
    if number not in call.store.firewalls:
        raise not_found()
    return call.store.firewalls[number]


def _devices(call: Call) -> list[Json]:
    firewall = _firewall(call)
    return [_device(call.store, one) for one in call.store.devices.values() if one.firewall_id == firewall.id]


_ONE = "/networking/firewalls/{firewallId}"
_FILTERS = "created id label tags updated"

ROUTES = (
    listing(
        "/networking/firewalls",
        FIREWALL_READ,
        lambda call: [_view(call.store, one) for one in call.store.firewalls.values()],
        _FILTERS,
    ),
    post("/networking/firewalls", FIREWALL_WRITE, _create),
    delete(_ONE, FIREWALL_WRITE, _delete),
    put(f"{_ONE}/rules", FIREWALL_WRITE, _replace_rules),
    listing(f"{_ONE}/devices", FIREWALL_READ, _devices, "created id updated"),
    post(f"{_ONE}/devices", FIREWALL_WRITE, _add_device),
    listing("/linode/instances/{linodeId}/firewalls", LINODES_READ, _of_linode, _FILTERS),
)
