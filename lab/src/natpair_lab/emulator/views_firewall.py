"""The JSON of Cloud Firewalls and their devices."""

from __future__ import annotations

from zlib import crc32

from natpair_lab.emulator.model import Device, DeviceType, Firewall, Rule, Rules
from natpair_lab.emulator.state import Store, entity_of
from natpair_lab.emulator.views import Json, when


def firewall(store: Store, one: Firewall) -> Json:
    """A firewall with its rules and what stands behind it."""
    return {
        "id": one.id,
        "label": one.label,
        "created": when(one.created),
        "updated": when(one.updated),
        "status": one.status,
        "tags": list(one.tags),
        "rules": rules(one.rules),
        "entities": [_entity(store, device) for device in store.devices.values() if device.firewall_id == one.id],
    }


def rules(one: Rules) -> Json:
    """All rules of a firewall."""
    return {
        "inbound": [_rule(rule) for rule in one.inbound] or None,  # as recorded
        "inbound_policy": one.inbound_policy,
        "outbound": [_rule(rule) for rule in one.outbound] or None,
        "outbound_policy": one.outbound_policy,
        "version": one.version,
        "fingerprint": f"{crc32(repr((one.inbound, one.outbound)).encode()):08x}",
    }


def _rule(one: Rule) -> Json:
    addresses = {"ipv4": list(one.ipv4), "ipv6": list(one.ipv6)}
    optional = {"ports": one.ports, "label": one.label, "description": one.description}
    return {
        "protocol": one.protocol,
        "action": one.action,
        "addresses": {name: networks for name, networks in addresses.items() if networks},
    } | {name: text for name, text in optional.items() if text is not None}


def device(store: Store, one: Device) -> Json:
    """One thing behind a firewall."""
    return {
        "id": one.id,
        "created": when(one.created),
        "updated": when(one.created),
        "entity": _entity(store, one),
    }


def _entity(store: Store, one: Device) -> Json:
    linode = entity_of(store.linodes[one.linode_id])
    parent = {"id": linode.id, "type": linode.type, "label": linode.label, "url": linode.url, "parent_entity": None}
    if one.type is DeviceType.LINODE:
        return parent
    return {
        "id": one.entity_id,
        "type": one.type.value,
        "label": None,
        "url": f"{linode.url}/interfaces/{one.entity_id}",
        "parent_entity": parent,
    }
