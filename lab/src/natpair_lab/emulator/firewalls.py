"""Cloud Firewalls and what stands behind them. Rules are checked and kept, not enforced.

Linode's limits: protocols TCP, UDP, ICMP and IPENCAP (no VRRP), 25 rules in all, 255 addresses and 15 ports a rule.
A firewall never applies to a VLAN interface.
"""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import ip_network

from natpair_lab.emulator.fields import Fields
from natpair_lab.emulator.interfaces import NO_FIREWALL, Wanted
from natpair_lab.emulator.model import Device, DeviceType, Entity, Firewall, Generation, Linode, Purpose, Rule, Rules
from natpair_lab.emulator.refused import invalid, not_found
from natpair_lab.emulator.state import Store

_PROTOCOLS = ("TCP", "UDP", "ICMP", "IPENCAP")
_ACTIONS = ("ACCEPT", "DROP")
LABEL = re.compile(r"(?=.*[A-Za-z0-9]$)[a-zA-Z]((?!--|__|\.\.)[a-zA-Z0-9-_.])+")  # as Linode's specification has it
_PORT = re.compile(r"([1-9]\d{0,4})(?:-([1-9]\d{0,4}))?")
_LAST_PORT = 65_535
MOST_RULES, MOST_ADDRESSES, MOST_PORTS = 25, 255, 15


def entity_of(firewall: Firewall) -> Entity:
    """How events name a firewall."""
    url = f"/v4/networking/firewalls/{firewall.id}"
    return Entity(id=firewall.id, type="firewall", label=firewall.label, url=url)


def find(store: Store, firewall_id: int) -> Firewall:
    """The firewall, or 404."""
    if firewall_id not in store.firewalls:
        raise not_found()
    return store.firewalls[firewall_id]


def named(store: Store, firewall_id: int, field: str) -> Firewall:
    """The firewall that a request's field names, or 400."""
    if firewall_id not in store.firewalls:
        raise invalid("firewall_id is not valid", field)
    return store.firewalls[firewall_id]


def guarded(store: Store, one: Wanted, field: str) -> Wanted:
    """A new interface with the firewall it gets: the account's default if the request names none, or 400.

    -1 stands for none.
    """
    if one.purpose is not Purpose.PUBLIC:
        return one
    firewall_id = store.default_firewall if one.firewall_id is None else one.firewall_id
    if firewall_id is None:
        raise invalid("A firewall is required: the account has no default firewall for public interfaces.", field)
    if firewall_id == NO_FIREWALL:
        return replace(one, firewall_id=None)
    return replace(one, firewall_id=named(store, firewall_id, field).id)


def create(store: Store, body: Fields) -> Firewall:
    """A new firewall, with devices if the request names any."""
    label = _label(store, body)
    stated = body.child("rules")
    if stated is None:
        raise body.missing("rules")
    rules = read_rules(stated)
    devices = body.child("devices") or Fields()
    linodes = [store.linode_named(number, "devices.linodes") for number in devices.integers("linodes") or ()]
    interfaces = [_interface(store, number) for number in devices.integers("linode_interfaces") or ()]
    for linode in linodes:
        _check_linode(linode)
    number = store.next_id()
    firewall = Firewall(id=number, label=label, created=store.now, updated=store.now, rules=rules)
    firewall = replace(firewall, tags=body.texts("tags") or ())
    store.firewalls[number] = firewall
    for linode in linodes:
        attach(store, firewall, DeviceType.LINODE, linode.id, linode)
    for interface_id, linode in interfaces:
        attach(store, firewall, DeviceType.INTERFACE, interface_id, linode)
    store.add_event("firewall_create", entity_of(firewall))
    return firewall


def _label(store: Store, body: Fields, but: int | None = None) -> str:
    label = body.required_text("label")
    if not LABEL.fullmatch(label) or not 3 <= len(label) <= 32:
        raise body.wrong("label", "must be 3 to 32 letters, digits, hyphens, underscores and periods")
    if any(one.label == label and one.id != but for one in store.firewalls.values()):
        raise body.wrong("label", "must be unique among your firewalls")
    return label


def update(store: Store, firewall: Firewall, body: Fields) -> Firewall:
    """Change label, status or tags."""
    status = body.text("status") or firewall.status
    if status not in ("enabled", "disabled"):
        raise body.wrong("status", "must be one of enabled, disabled")
    label = _label(store, body, firewall.id) if body.text("label") is not None else firewall.label
    tags = body.texts("tags")
    changed = replace(
        firewall, label=label, status=status, tags=firewall.tags if tags is None else tags, updated=store.now
    )
    store.firewalls[firewall.id] = changed
    store.add_event("firewall_update", entity_of(changed))
    return changed


def delete(store: Store, firewall: Firewall) -> None:
    """Delete a firewall and detach what stood behind it."""
    del store.firewalls[firewall.id]
    store.devices = {key: device for key, device in store.devices.items() if device.firewall_id != firewall.id}
    store.add_event("firewall_delete", entity_of(firewall))


def replace_rules(store: Store, firewall: Firewall, body: Fields) -> Rules:
    """State all rules anew."""
    rules = replace(read_rules(body), version=firewall.rules.version + 1)
    store.firewalls[firewall.id] = replace(firewall, rules=rules, updated=store.now)
    store.add_event("firewall_rules_update", entity_of(firewall))
    return rules


def read_rules(body: Fields) -> Rules:
    """Check a set of rules."""
    inbound = tuple(_rule(one) for one in body.children("inbound") or ())
    outbound = tuple(_rule(one) for one in body.children("outbound") or ())
    if len(inbound) + len(outbound) > MOST_RULES:
        raise invalid(f"A firewall has no more than {MOST_RULES} rules.", "rules")
    return Rules(
        inbound=inbound,
        outbound=outbound,
        inbound_policy=_one_of(body, "inbound_policy", _ACTIONS),
        outbound_policy=_one_of(body, "outbound_policy", _ACTIONS),
    )


def _one_of(body: Fields, name: str, choices: tuple[str, ...], default: str = "") -> str:
    text = body.text(name) or default
    if text not in choices:
        raise body.wrong(name, f"must be one of {', '.join(choices)}")
    return text


def _rule(item: Fields) -> Rule:
    protocol, ports = _one_of(item, "protocol", _PROTOCOLS), item.text("ports") or None
    if ports is not None:
        if protocol in ("ICMP", "IPENCAP"):
            raise item.wrong("ports", f"cannot be given for {protocol}")
        _check_ports(item, ports)
    addresses = item.child("addresses")
    if addresses is None:
        raise item.missing("addresses")
    ipv4, ipv6 = _networks(addresses, "ipv4"), _networks(addresses, "ipv6")
    if not ipv4 and not ipv6:
        raise item.wrong("addresses", "must contain ipv4, ipv6, or both")
    if len(ipv4) + len(ipv6) > MOST_ADDRESSES:
        raise item.wrong("addresses", f"can have no more than {MOST_ADDRESSES} entries")
    return Rule(
        protocol=protocol,
        action=_one_of(item, "action", _ACTIONS),
        ports=ports,
        label=_within(item, "label", 3, 32),
        description=_within(item, "description", 1, 100),
        ipv4=ipv4,
        ipv6=ipv6,
    )


def _check_ports(item: Fields, ports: str) -> None:
    """No leading zeroes, ranges that rise, and a range counts as two pieces."""
    pieces = 0
    for part in ports.split(","):
        found = _PORT.fullmatch(part.strip())
        numbers = [int(one) for one in found.groups() if one] if found else []
        pieces += len(numbers)
        if not numbers or max(numbers) > _LAST_PORT or (len(numbers) == 2 and numbers[0] >= numbers[1]):
            raise item.wrong("ports", "must be ports or ranges, separated by commas")
    if pieces > MOST_PORTS:
        raise item.wrong("ports", f"must be up to {MOST_PORTS} ports, where a range counts as two")


def _within(item: Fields, name: str, least: int, most: int) -> str | None:
    text = item.text(name)
    if text is not None and not least <= len(text) <= most:
        raise item.wrong(name, f"must be between {least} and {most} characters")
    return text


def _networks(addresses: Fields, name: str) -> tuple[str, ...]:
    networks = addresses.texts(name)
    if networks is None:
        return ()
    if not networks:
        raise addresses.wrong(name, "must not be an empty list")
    for network in networks:
        try:
            version = ip_network(network, strict=False).version if "/" in network else 0
        except ValueError:
            raise addresses.wrong(name, f"must be networks: {network}") from None
        if name != f"ipv{version}":
            raise addresses.wrong(name, f"must be IP{name[2:]} networks: {network}")
    return networks


def add_device(store: Store, firewall: Firewall, body: Fields) -> Device:
    """Put a Linode or a Linode interface behind a firewall."""
    number = body.required_integer("id")
    kind = DeviceType(_one_of(body, "type", tuple(DeviceType)))
    if kind is DeviceType.LINODE:
        linode = store.linode_named(number, "id")
        _check_linode(linode)
    else:
        number, linode = _interface(store, number)
    if any(one.type is kind and one.entity_id == number for one in store.devices.values()):
        raise invalid("This entity already has a firewall.", "id")
    device = attach(store, firewall, kind, number, linode)
    store.add_event("firewall_device_add", entity_of(firewall))
    return device


def _check_linode(linode: Linode) -> None:
    if linode.generation is Generation.LINODE:
        raise invalid(f"Linode {linode.id} has Linode interfaces; assign the firewall to an interface.", "id")


def _interface(store: Store, number: int) -> tuple[int, Linode]:
    for linode in store.linodes.values():
        for interface in linode.interfaces:
            if interface.id == number and interface.purpose is Purpose.PUBLIC:
                return number, linode
    raise invalid("interface is not valid", "id")


def attach(store: Store, firewall: Firewall, kind: DeviceType, number: int, linode: Linode) -> Device:
    """Note a device that was checked before."""
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


def device(store: Store, firewall: Firewall, device_id: int) -> Device:
    """A device of the firewall, or 404."""
    found = store.devices.get(device_id)
    if found is None or found.firewall_id != firewall.id:
        raise not_found()
    return found


def of_linode(store: Store, linode_id: int) -> list[Firewall]:
    """The firewalls before a Linode or any of its interfaces."""
    numbers = dict.fromkeys(one.firewall_id for one in store.devices.values() if one.linode_id == linode_id)
    return [store.firewalls[number] for number in numbers]
