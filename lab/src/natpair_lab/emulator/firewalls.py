"""Cloud Firewalls and what stands behind them. Rules are checked and kept, not enforced.

Linode's limits: protocols TCP, UDP, ICMP and IPENCAP (no VRRP), 25 rules in all, 255 addresses and 15 ports a rule.
A firewall never applies to a VLAN interface.
"""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import ip_network

from natpair_lab.emulator.fields import Fields
from natpair_lab.emulator.model import Device, DeviceType, Entity, Firewall, Generation, Linode, Purpose, Rule, Rules
from natpair_lab.emulator.refused import invalid, not_found
from natpair_lab.emulator.state import Store

_PROTOCOLS = ("TCP", "UDP", "ICMP", "IPENCAP")
_ACTIONS = ("ACCEPT", "DROP")
_LABEL = re.compile(r"[A-Za-z](?:[A-Za-z0-9]|[._-](?![._-])){1,30}[A-Za-z0-9]")
_PORTS = re.compile(r"\d{1,5}(-\d{1,5})?( *, *\d{1,5}(-\d{1,5})?)*")
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


def create(store: Store, body: Fields) -> Firewall:
    """A new firewall, with devices if the request names any."""
    label = _label(store, body)
    rules = read_rules(body.child("rules") or Fields())
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
    if not _LABEL.fullmatch(label):
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
        inbound_policy=_one_of(body, "inbound_policy", _ACTIONS, "ACCEPT"),
        outbound_policy=_one_of(body, "outbound_policy", _ACTIONS, "ACCEPT"),
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
        if not _PORTS.fullmatch(ports) or len(re.findall(r"\d+", ports)) > MOST_PORTS:
            raise item.wrong("ports", f"must be up to {MOST_PORTS} ports or ranges, separated by commas")
    addresses = item.child("addresses") or Fields()
    return Rule(
        protocol=protocol,
        action=_one_of(item, "action", _ACTIONS),
        ports=ports,
        label=item.text("label"),
        description=item.text("description"),
        ipv4=_networks(addresses, "ipv4"),
        ipv6=_networks(addresses, "ipv6"),
    )


def _networks(addresses: Fields, name: str) -> tuple[str, ...]:
    networks = addresses.texts(name) or ()
    if len(networks) > MOST_ADDRESSES:
        raise addresses.wrong(name, f"can have no more than {MOST_ADDRESSES} entries")
    for network in networks:
        try:
            version = ip_network(network, strict=False).version
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
