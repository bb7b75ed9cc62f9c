"""The JSON that stands for each thing on the account, attribute by attribute as Linode's specification names them."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Address
from typing import Any

from natpair_lab.emulator import placement
from natpair_lab.emulator.catalogue import (
    DEARER_REGIONS,
    PLANS,
    REGIONS,
    RESERVED_IP_HOURLY,
    RESERVED_IP_MONTHLY,
    Plan,
    Region,
    price_factor,
)
from natpair_lab.emulator.model import (
    Address,
    Config,
    Entity,
    Event,
    Interface,
    Linode,
    Maintenance,
    PlacementGroup,
    Purpose,
)
from natpair_lab.emulator.state import Store, entity_of

Json = dict[str, Any]
_FULL_MASK = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"


def when(moment: float) -> str:
    """A moment as Linode writes it: UTC, without a zone."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _when_or_none(moment: float | None) -> str | None:
    return None if moment is None else when(moment)


def region(one: Region) -> Json:
    """A data centre."""
    number = list(REGIONS).index(one.id)
    return {
        "id": one.id,
        "label": one.label,
        "country": one.country,
        "capabilities": list(one.capabilities),
        "monitors": {"alerts": [], "metrics": []},
        "status": "ok",
        "resolvers": {
            "ipv4": f"192.0.2.{number + 10},192.0.2.{number + 100}",
            "ipv6": f"2001:db8:53::{number + 10:x},2001:db8:53::{number + 100:x}",
        },
        "placement_group_limits": {
            "maximum_pgs_per_customer": None if one.maximum_linodes_per_group else 0,
            "maximum_linodes_per_pg": one.maximum_linodes_per_group,
            "maximum_linodes_per_flexible_pg": one.maximum_linodes_per_group,
        },
        "site_type": one.site_type,
    }


def plan(one: Plan) -> Json:
    """A size of Linode with its prices."""
    return {
        "id": one.id,
        "label": one.label,
        "price": _price(one.hourly, one.monthly, 4),
        "region_prices": [{"id": where} | _price(one.hourly, one.monthly, 4, where) for where in DEARER_REGIONS],
        "addons": {
            "backups": {
                "price": _price(one.backups_monthly / 720, one.backups_monthly, 4),
                "region_prices": [
                    {"id": where} | _price(one.backups_monthly / 720, one.backups_monthly, 4, where)
                    for where in DEARER_REGIONS
                ],
            }
        },
        "memory": one.memory,
        "disk": one.disk,
        "transfer": one.transfer,
        "vcpus": one.vcpus,
        "gpus": 0,
        "accelerated_devices": 0,
        "network_out": one.network_out,
        "class": one.family,
        "successor": None,
    }


def reserved_ip_type() -> Json:
    """What a reserved address costs."""
    return {
        "id": "reserved-ipv4",
        "label": "Reserved IPv4",
        "price": _price(RESERVED_IP_HOURLY, RESERVED_IP_MONTHLY, 4),
        "region_prices": [
            {"id": where} | _price(RESERVED_IP_HOURLY, RESERVED_IP_MONTHLY, 4, where) for where in DEARER_REGIONS
        ],
    }


def _price(hourly: float, monthly: float, digits: int, where: str = "") -> Json:
    factor = price_factor(where)
    return {"hourly": round(hourly * factor, digits), "monthly": round(monthly * factor, 2)}


def linode(store: Store, one: Linode) -> Json:
    """A compute instance."""
    size = PLANS[one.type]
    group = placement.group_of(store, one.id)
    owned = store.owned(one.id, public=True) + store.owned(one.id, public=False)
    public = any(address.public for address in owned)
    return {
        "id": one.id,
        "label": one.label,
        "group": one.group,
        "status": store.shown_status(one).value,
        "created": when(one.created),
        "updated": when(one.updated),
        "type": one.type,
        "ipv4": [str(address.address) for address in owned],
        "ipv6": f"{one.slaac}/128" if public else None,
        "image": one.image,
        "region": one.region,
        "site_type": REGIONS[one.region].site_type,
        "specs": {
            "disk": size.disk,
            "memory": size.memory,
            "vcpus": size.vcpus,
            "gpus": 0,
            "transfer": size.transfer,
            "accelerated_devices": 0,
        },
        "alerts": _alerts(size),
        "backups": {
            "enabled": False,
            "available": False,
            "schedule": {"day": None, "window": None},
            "last_successful": None,
        },
        "hypervisor": "kvm",
        "watchdog_enabled": one.watchdog_enabled,
        "tags": list(one.tags),
        "host_uuid": one.host_uuid,
        "has_user_data": bool(one.user_data),
        "placement_group": _group_of_linode(group),
        "disk_encryption": "enabled",
        "lke_cluster_id": None,
        "capabilities": ["SMTP Enabled", "Maintenance Policy"],
        "interface_generation": one.generation.value,
        "maintenance_policy": one.maintenance_policy,
        "locks": [],
    }


def _alerts(size: Plan) -> Json:
    return {
        "cpu": 90 * size.vcpus,
        "network_in": 10,
        "network_out": 10,
        "transfer_quota": 80,
        "io": 10000,
        "system_alerts": [],
        "user_alerts": [],
    }


def _group_of_linode(group: PlacementGroup | None) -> Json | None:
    if group is None:
        return None
    return {
        "id": group.id,
        "label": group.label,
        "placement_group_type": group.type,
        "placement_group_policy": group.policy,
        "migrating_to": None,
    }


def address(store: Store, one: Address) -> Json:
    """An IPv4 address, as it looks to its owner and to those it is shared to alike."""
    interface = store.network_of(one)
    owner = store.linodes.get(one.linode_id) if one.linode_id else None
    return {
        "address": str(one.address),
        "gateway": str(interface.network[1]) if one.public else None,
        "subnet_mask": str(IPv4Network(interface.network).netmask),
        "prefix": interface.network.prefixlen,
        "type": "ipv4",
        "public": one.public,
        "rdns": one.rdns,
        "linode_id": one.linode_id,
        "interface_id": one.interface_id,
        "region": one.region,
        "vpc_nat_1_1": None,
        "reserved": one.reserved,
        "assigned_entity": entity(entity_of(owner)) if owner else None,
        "tags": list(one.tags),
    }


def ips(store: Store, one: Linode) -> Json:
    """All addresses of a Linode by kind; `shared` lists what it receives from others."""
    owned = store.owned(one.id)
    public = [given for given in owned if given.public]
    return {
        "ipv4": {
            "public": [address(store, given) for given in public if not given.reserved],
            "private": [address(store, given) for given in owned if not given.public],
            "shared": [address(store, store.addresses[given]) for given in store.shares.get(one.id, ())],
            "reserved": [address(store, given) for given in public if given.reserved],
            "vpc": [],
        },
        "ipv6": {
            "slaac": ipv6(one, one.slaac, public=True) if public else None,
            "link_local": ipv6(one, _link_local(one), public=False),
            "global": [],
            "vpc": [],
        },
    }


def ipv6(one: Linode, given: IPv6Address, *, public: bool) -> Json:
    """An IPv6 address that a Linode gives itself."""
    return {
        "address": str(given),
        "gateway": "fe80::1",
        "subnet_mask": _FULL_MASK,
        "prefix": 64,
        "type": "ipv6",
        "rdns": None,
        "linode_id": one.id,
        "region": one.region,
        "public": public,
        "interface_id": None,
        "reserved": False,
        "tags": [],
    }


def _link_local(one: Linode) -> IPv6Address:
    return IPv6Address((0xFE80 << 112) | (int(one.slaac) & ((1 << 64) - 1)))


def entity(one: Entity) -> Json:
    """What an event, an address or a maintenance is about."""
    return asdict(one)


def group(store: Store, one: PlacementGroup) -> Json:
    """A placement group with its members."""
    members = [{"linode_id": member, "is_compliant": placement.compliant(store, one, member)} for member in one.members]
    return {
        "id": one.id,
        "label": one.label,
        "region": one.region,
        "placement_group_type": one.type,
        "placement_group_policy": one.policy,
        "is_compliant": all(member["is_compliant"] for member in members),
        "members": members,
        "migrations": {"inbound": [], "outbound": []},
    }


def config(one: Config) -> Json:
    """A configuration profile."""
    return {
        "id": one.id,
        "label": one.label,
        "comments": one.comments,
        "created": when(one.created),
        "updated": when(one.updated),
        "devices": {f"sd{letter}": None for letter in "abcdefgh"},
        "helpers": {
            "updatedb_disabled": True,
            "distro": True,
            "modules_dep": True,
            "network": one.network_helper,
            "devtmpfs_automount": True,
        },
        "initrd": None,
        "interfaces": [legacy_interface(given) for given in one.interfaces],
        "kernel": one.kernel,
        "memory_limit": one.memory_limit,
        "root_device": one.root_device,
        "run_level": one.run_level,
        "virt_mode": one.virt_mode,
    }


def legacy_interface(one: Interface) -> Json:
    """An interface in a configuration profile."""
    return {
        "id": one.id,
        "purpose": one.purpose.value,
        "label": one.vlan_label or None,
        "ipam_address": one.ipam_address or None,
        "primary": one.primary,
        "active": True,
        "subnet_id": None,
        "vpc_id": None,
        "ipv4": None,
        "ipv6": None,
        "ip_ranges": [],
    }


def linode_interface(store: Store, holder: Linode, one: Interface) -> Json:
    """An interface of the newer generation."""
    public = one.purpose is Purpose.PUBLIC
    return {
        "id": one.id,
        "mac_address": one.mac,
        "created": when(one.created),
        "updated": when(one.updated),
        "version": one.version,
        "default_route": {
            "ipv4": holder.default_route_v4 == one.id,
            "ipv6": holder.default_route_v6 == one.id,
        },
        "public": _public_part(store, holder) if public else None,
        "vlan": None if public else {"vlan_label": one.vlan_label, "ipam_address": one.ipam_address or None},
        "vpc": None,
        "rdma_vpc": None,
    }


def _public_part(store: Store, holder: Linode) -> Json:
    owned = store.owned(holder.id, public=True)
    return {
        "ipv4": {
            "addresses": [{"address": str(one.address), "primary": one == owned[0]} for one in owned],
            "shared": [
                {"address": str(shared), "linode_id": store.addresses[shared].linode_id}
                for shared in store.shares.get(holder.id, ())
            ],
        },
        "ipv6": {"slaac": [{"address": str(holder.slaac), "prefix": 64}], "ranges": [], "shared": []},
    }


def interface_settings(holder: Linode) -> Json:
    """Network Helper and the default routes of a Linode with Linode interfaces."""
    eligible = [one.id for one in holder.interfaces if one.purpose is Purpose.PUBLIC]
    return {
        "network_helper": holder.network_helper,
        "default_route": {
            "ipv4_interface_id": holder.default_route_v4,
            "ipv4_eligible_interface_ids": eligible,
            "ipv6_interface_id": holder.default_route_v6,
            "ipv6_eligible_interface_ids": eligible,
        },
    }


def event(one: Event) -> Json:
    """A line of the account's history."""
    return {
        "id": one.id,
        "action": one.action,
        "created": when(one.created),
        "details": None,
        "duration": one.duration,
        "entity": entity(one.entity) if one.entity else None,
        "secondary_entity": entity(one.secondary) if one.secondary else None,
        "message": one.message,
        "percent_complete": one.percent,
        "rate": None,
        "read": one.seen,
        "seen": one.seen,
        "status": one.status,
        "time_remaining": None,
        "username": "natpair",
    }


def maintenance(store: Store, one: Maintenance) -> Json:
    """An entry of the account's maintenance list."""
    return {
        "entity": entity(entity_of(store.linodes[one.linode_id])),
        "type": one.type,
        "status": one.status,
        "when": when(one.when),
        "not_before": _when_or_none(one.not_before),
        "start_time": _when_or_none(one.start_time),
        "complete_time": _when_or_none(one.complete_time),
        "maintenance_policy_set": one.policy,
        "description": one.description,
        "source": one.source,
        "reason": one.reason,
    }
