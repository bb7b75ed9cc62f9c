"""The records of the emulated account: frozen values that the operations replace as a whole.

Times are seconds since the epoch. Nothing here knows JSON or HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address


class Status(StrEnum):
    """The states of a Linode that the emulator passes through."""

    PROVISIONING = "provisioning"
    BOOTING = "booting"
    RUNNING = "running"
    REBOOTING = "rebooting"
    REBUILDING = "rebuilding"
    SHUTTING_DOWN = "shutting_down"
    OFFLINE = "offline"

    @property
    def settled(self) -> bool:
        """Whether the Linode accepts orders; in any other state it is busy."""
        return self in (Status.RUNNING, Status.OFFLINE)


class Generation(StrEnum):
    """Where a Linode's interfaces are stored: in its configuration profile, or on the Linode itself."""

    LEGACY = "legacy_config"
    LINODE = "linode"


class Purpose(StrEnum):
    """What an interface is connected to. VPCs are not emulated."""

    PUBLIC = "public"
    VLAN = "vlan"


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """An interface of either generation. Its place in the list is its number: ethN."""

    id: int
    purpose: Purpose
    vlan_label: str = ""
    ipam_address: str = ""
    primary: bool = False
    mac: str = ""
    created: float = 0.0
    updated: float = 0.0
    version: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A configuration profile. Its interfaces matter for the legacy generation only."""

    id: int
    linode_id: int
    label: str
    created: float
    updated: float
    interfaces: tuple[Interface, ...] = ()
    network_helper: bool = True
    kernel: str = "linode/grub2"
    comments: str = ""
    root_device: str = "/dev/sda"
    run_level: str = "default"
    virt_mode: str = "paravirt"
    memory_limit: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Linode:
    """One compute instance."""

    id: int
    label: str
    region: str
    type: str
    status: Status
    generation: Generation
    created: float
    updated: float
    slaac: IPv6Address
    mac: str
    host_uuid: str
    image: str | None = None
    tags: tuple[str, ...] = ()
    group: str = ""
    watchdog_enabled: bool = True
    maintenance_policy: str = "linode/migrate"
    user_data: bytes = b""
    network_helper: bool = True
    interfaces: tuple[Interface, ...] = ()
    default_route_v4: int | None = None
    default_route_v6: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """An IPv4 address of the account. `linode_id` is its owner, None if it is only reserved."""

    address: IPv4Address
    region: str
    public: bool
    linode_id: int | None
    interface_id: int | None = None
    reserved: bool = False
    rdns: str | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacementGroup:
    """Linodes that must run on different hosts."""

    id: int
    label: str
    region: str
    type: str
    policy: str
    members: tuple[int, ...] = ()

    @property
    def strict(self) -> bool:
        """Whether a member that has no host of its own is refused."""
        return self.policy == "strict"


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of a Cloud Firewall."""

    protocol: str
    action: str
    ports: str | None = None
    label: str | None = None
    description: str | None = None
    ipv4: tuple[str, ...] = ()
    ipv6: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rules:
    """All rules of a Cloud Firewall, and the policies for all other traffic."""

    inbound: tuple[Rule, ...] = ()
    outbound: tuple[Rule, ...] = ()
    inbound_policy: str = "ACCEPT"
    outbound_policy: str = "ACCEPT"
    version: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Firewall:
    """A Cloud Firewall."""

    id: int
    label: str
    created: float
    updated: float
    rules: Rules
    status: str = "enabled"
    tags: tuple[str, ...] = ()


class DeviceType(StrEnum):
    """What a firewall can protect."""

    LINODE = "linode"
    INTERFACE = "linode_interface"


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A Linode, or one interface of it, behind a firewall."""

    id: int
    firewall_id: int
    type: DeviceType
    entity_id: int
    linode_id: int
    created: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """What an event or a maintenance is about."""

    id: int
    type: str
    label: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event of the account. `status` is scheduled, started, finished, failed or notification."""

    id: int
    action: str
    created: float
    status: str
    entity: Entity | None = None
    secondary: Entity | None = None
    message: str | None = None
    duration: float | None = None

    @property
    def percent(self) -> int:
        """Progress as Linode reports it: complete, or not started."""
        return 100 if self.status in ("finished", "failed", "notification") else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintenance:
    """One entry of the account's maintenance list, added through the control endpoint."""

    linode_id: int
    type: str = "reboot"
    status: str = "scheduled"
    when: float = 0.0
    not_before: float | None = None
    start_time: float | None = None
    complete_time: float | None = None
    policy: str = "linode/power_off_on"
    description: str = "scheduled"
    source: str = "platform"
    reason: str = "The host needs maintenance."
