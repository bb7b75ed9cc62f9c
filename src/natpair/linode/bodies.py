"""Request bodies for the API, as typed values that produce their JSON. Pure.

Secrets in them (root password, user data) are not in their repr.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Interface
from typing import Any

from natpair.linode.models import FirewallRules, PublicAddress

MOST_USER_DATA_BYTES = 16_384
# The platform reads this as "no firewall". Without a number it uses the account's default firewall, or refuses.
NO_FIREWALL = -1


class Generation(StrEnum):
    """The two interface models of the platform. Always sent: accounts differ in their default."""

    LEGACY = "legacy_config"
    LINODE = "linode"


class PlacementPolicy(StrEnum):
    """Whether the platform refuses a Linode it cannot place apart (`strict`) or places it anyhow."""

    STRICT = "strict"
    FLEXIBLE = "flexible"


class DeviceKind(StrEnum):
    """What a firewall can stand before: a Linode of the older interface generation, or a Linode interface."""

    LINODE = "linode"
    INTERFACE = "linode_interface"


@dataclass(frozen=True, slots=True)
class VlanAttachment:
    """A VLAN by its label, and the address Network Helper would set (it is bookkeeping, with the helper off)."""

    label: str
    address: IPv4Interface | None = None


def config_interfaces(vlan: VlanAttachment | None) -> list[dict[str, Any]]:
    """Interfaces of the older generation: eth0 public, eth1 the VLAN. An update must state all of them."""
    made: list[dict[str, Any]] = [{"purpose": "public"}]
    if vlan is not None:
        entry = {"purpose": "vlan", "label": vlan.label}
        made.append(entry | ({"ipam_address": str(vlan.address)} if vlan.address else {}))
    return made


def public_interface(firewall_id: int | None) -> dict[str, Any]:
    """A public Linode interface that has the default routes."""
    address = {"address": "auto", "primary": True}
    return {
        "default_route": {"ipv4": True, "ipv6": True},
        "public": {"ipv4": {"addresses": [address]}},
        "firewall_id": _firewall(firewall_id),
    }


def _firewall(firewall_id: int | None) -> int:
    return NO_FIREWALL if firewall_id is None else firewall_id


def one_more_address(existing: Sequence[PublicAddress]) -> dict[str, Any]:
    """The change of a public Linode interface that allocates a further address: all addresses are stated anew."""
    stated = [{"address": str(one.address), "primary": one.primary} for one in existing]
    return {"public": {"ipv4": {"addresses": [*stated, {"address": "auto", "primary": False}]}}}


def vlan_interface(vlan: VlanAttachment) -> dict[str, Any]:
    """A Linode interface on a VLAN; no firewall can stand before it."""
    address = {"ipam_address": str(vlan.address)} if vlan.address else {}
    return {"vlan": {"vlan_label": vlan.label} | address}


@dataclass(frozen=True, slots=True)
class NewInstance:
    """A Linode to create. Its label is unique in the account, so a lost answer is harmless."""

    label: str
    region: str
    type: str
    image: str | None = None
    vlan: VlanAttachment | None = None
    generation: Generation = Generation.LINODE
    firewall_id: int | None = None
    placement_group_id: int | None = None
    tags: Sequence[str] = ()
    authorized_keys: Sequence[str] = ()
    root_password: str | None = field(default=None, repr=False)
    user_data: bytes | None = field(default=None, repr=False)
    booted: bool = True

    def body(self) -> dict[str, Any]:
        """The JSON of `POST /linode/instances`; ValueError when the user data is longer than the platform takes."""
        made: dict[str, Any] = {
            "label": self.label,
            "region": self.region,
            "type": self.type,
            "booted": self.booted,
            "tags": list(self.tags),
            "interface_generation": self.generation.value,
            "interfaces": self._interfaces(),
        }
        optional = {
            "image": self.image,
            "root_pass": self.root_password,
            "authorized_keys": list(self.authorized_keys) or None,
            # Linode interfaces have a firewall each; the older ones have one for the Linode.
            "firewall_id": _firewall(self.firewall_id) if self.generation is Generation.LEGACY else None,
            "network_helper": False if self.generation is Generation.LINODE else None,
            "placement_group": None if self.placement_group_id is None else {"id": self.placement_group_id},
            "metadata": None if self.user_data is None else {"user_data": _encoded(self.user_data)},
        }
        return made | {name: value for name, value in optional.items() if value is not None}

    def _interfaces(self) -> list[dict[str, Any]]:
        if self.generation is Generation.LEGACY:
            return config_interfaces(self.vlan)
        return [public_interface(self.firewall_id)] + ([vlan_interface(self.vlan)] if self.vlan else [])


@dataclass(frozen=True, slots=True)
class Rebuild:
    """New disks for an existing Linode. The API requires the root password even if keys are given."""

    image: str
    root_password: str = field(repr=False)
    authorized_keys: Sequence[str] = ()
    user_data: bytes | None = field(default=None, repr=False)
    booted: bool = True

    def body(self) -> dict[str, Any]:
        """The JSON of `POST /linode/instances/{id}/rebuild`; ValueError when the user data is too long."""
        made: dict[str, Any] = {"image": self.image, "root_pass": self.root_password, "booted": self.booted}
        keys = {"authorized_keys": list(self.authorized_keys)} if self.authorized_keys else {}
        data = {} if self.user_data is None else {"metadata": {"user_data": _encoded(self.user_data)}}
        return made | keys | data


def _encoded(user_data: bytes) -> str:
    if len(user_data) >= MOST_USER_DATA_BYTES:
        message = f"user data of {len(user_data)} bytes; the platform takes less than {MOST_USER_DATA_BYTES}"
        raise ValueError(message)
    return base64.b64encode(user_data).decode("ascii")


@dataclass(frozen=True, slots=True)
class NewPlacementGroup:
    """An anti-affinity group: its Linodes run on different machines."""

    label: str
    region: str
    policy: PlacementPolicy = PlacementPolicy.STRICT

    def body(self) -> dict[str, Any]:
        """The JSON of `POST /placement/groups`."""
        return {
            "label": self.label,
            "region": self.region,
            "placement_group_type": "anti_affinity:local",
            "placement_group_policy": self.policy.value,
        }


@dataclass(frozen=True, slots=True)
class NewFirewall:
    """A Cloud Firewall to create."""

    label: str
    rules: FirewallRules
    tags: Sequence[str] = ()

    def body(self) -> dict[str, Any]:
        """The JSON of `POST /networking/firewalls`."""
        return {"label": self.label, "rules": rules_body(self.rules), "tags": list(self.tags)}


def rules_body(rules: FirewallRules) -> dict[str, Any]:
    """The JSON of a firewall's rules, without what is not set. Linode refuses an empty list of addresses."""
    body: dict[str, Any] = rules.model_dump(mode="json", exclude_none=True)
    for rule in (*body["inbound"], *body["outbound"]):
        rule["addresses"] = {family: networks for family, networks in rule["addresses"].items() if networks}
    return body
