"""The state of the emulated account: all its records, ids, events, and the notices for the World.

No I/O and no clock: the caller sets `now` for each request and as time passes. Operations are in the modules beside
this one (linodes, lifecycle, addresses, interfaces, placement, firewalls). They check everything before they change
anything, so a refused request changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from itertools import count

from natpair_lab.emulator.model import (
    Address,
    Config,
    Device,
    Entity,
    Event,
    Firewall,
    Generation,
    Interface,
    Linode,
    Maintenance,
    PlacementGroup,
    Purpose,
    Status,
)
from natpair_lab.emulator.refused import invalid, not_found
from natpair_lab.emulator.world import LinodeView, Notice, Port, Share, SharesChanged

_PRIVATE_POOL = IPv4Network("192.168.128.0/17")
_SLAAC_NET = IPv6Network("2001:db8::/32")
_FIRST_ID = 90_000_001  # as many digits as today's real ids


@dataclass(frozen=True, slots=True)
class Timing:
    """How long operations take, in seconds."""

    provision_seconds: float = 2.0
    boot_seconds: float = 2.0
    shutdown_seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class Policy:
    """Limits of the account, and the networks of its addresses; the first host of each is the gateway."""

    public_pools: tuple[IPv4Network, ...] = (
        IPv4Network("203.0.113.0/24"),
        IPv4Network("198.51.100.0/24"),
        IPv4Network("192.0.2.0/24"),
    )
    private_pool: IPv4Network = _PRIVATE_POOL
    slaac_net: IPv6Network = _SLAAC_NET
    public_ipv4_per_linode: int = 8  # above it Linode asks for a technical justification in a ticket
    vlans_per_region: int = 10
    interfaces_per_linode: int = 3
    stale_reads: int = 2  # recorded: the old status is shown this many times after an order to boot or rebuild
    stale_seconds: float = 30.0
    hosts_per_region: int = 8
    user_data_bytes: int = 16_384  # real attempts failed there, whatever the documents say


class Step(StrEnum):
    """The state that a Linode is changing to."""

    PROVISIONED = "provisioned"
    RUNNING = "running"
    STOPPED = "stopped"
    RESTARTED = "restarted"


@dataclass(frozen=True, slots=True)
class Pending:
    """A step that happens at `due`. If it `waits`, it also needs the World to have returned first."""

    due: float
    linode_id: int
    step: Step
    event_id: int
    waits: bool = False


@dataclass(frozen=True, slots=True)
class Stale:
    """An outdated status that is still shown, at most so many times and until `until`."""

    status: Status
    reads: int
    until: float


@dataclass(slots=True)
class Store:
    """One account. `notices` is the outbox for the World; its reader empties it."""

    now: float = 0.0
    timing: Timing = field(default_factory=Timing)
    policy: Policy = field(default_factory=Policy)
    linodes: dict[int, Linode] = field(default_factory=dict)
    configs: dict[int, Config] = field(default_factory=dict)
    addresses: dict[IPv4Address, Address] = field(default_factory=dict)
    shares: dict[int, tuple[IPv4Address, ...]] = field(default_factory=dict)
    vlans: dict[tuple[str, str], float] = field(default_factory=dict)
    groups: dict[int, PlacementGroup] = field(default_factory=dict)
    firewalls: dict[int, Firewall] = field(default_factory=dict)
    devices: dict[int, Device] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    maintenance: list[Maintenance] = field(default_factory=list)
    pending: list[Pending] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    network_helper: bool = True
    interfaces_for_new_linodes: str = "legacy_config_default_but_linode_allowed"
    default_firewall: int | None = None
    stale: dict[int, Stale] = field(default_factory=dict)
    last_address: dict[bool, IPv4Address] = field(default_factory=dict)
    _ids: Iterator[int] = field(default_factory=lambda: count(_FIRST_ID))

    def next_id(self) -> int:
        """An id that nothing on the account has had before."""
        return next(self._ids)

    def linode(self, linode_id: int) -> Linode:
        """The Linode, or 404."""
        if linode_id not in self.linodes:
            raise not_found()
        return self.linodes[linode_id]

    def linode_named(self, linode_id: int, name: str) -> Linode:
        """The Linode that a request's field names, or 400 about that field."""
        if linode_id not in self.linodes:
            raise invalid(f"{name} is not valid", name)
        return self.linodes[linode_id]

    def shown_status(self, linode: Linode) -> Status:
        """The status for the next reader: for some time after an order it is the old one."""
        stale = self.stale.pop(linode.id, None)
        if stale is None or stale.reads <= 0 or self.now > stale.until:
            return linode.status
        self.stale[linode.id] = replace(stale, reads=stale.reads - 1)
        return stale.status

    def owned(self, linode_id: int, *, public: bool | None = None) -> list[Address]:
        """The addresses that a Linode owns, in the order in which it got them."""
        return [
            address
            for address in self.addresses.values()
            if address.linode_id == linode_id and public in (None, address.public)
        ]

    def receivers(self, address: IPv4Address) -> tuple[int, ...]:
        """The Linodes an address is shared to."""
        return tuple(linode_id for linode_id, shared in self.shares.items() if address in shared)

    def configs_of(self, linode_id: int) -> list[Config]:
        """The configuration profiles of a Linode, oldest first."""
        return [config for config in self.configs.values() if config.linode_id == linode_id]

    def interfaces_of(self, linode: Linode) -> tuple[Interface, ...]:
        """The interfaces in use: the Linode's own, or those of its first profile.

        A legacy profile without interfaces gets Linode's default, one public interface.
        """
        if linode.generation is Generation.LINODE:
            return linode.interfaces
        configs = self.configs_of(linode.id)
        return (configs[0].interfaces if configs else ()) or (Interface(id=0, purpose=Purpose.PUBLIC, mac=linode.mac),)

    def add_event(
        self,
        action: str,
        entity: Entity | None,
        *,
        status: str = "finished",
        secondary: Entity | None = None,
        message: str | None = None,
    ) -> int:
        """Add an event; its id is needed to end it later."""
        event_id = self.next_id()
        self.events.append(
            Event(
                id=event_id,
                action=action,
                created=self.now,
                status=status,
                entity=entity,
                secondary=secondary,
                message=message,
                duration=0.0 if status == "finished" else None,
            )
        )
        return event_id

    def end_event(self, event_id: int, status: str = "finished", message: str | None = None) -> None:
        """Finish or fail an event that was started."""
        for index, event in enumerate(self.events):
            if event.id == event_id:
                duration = round(self.now - event.created, 3)
                self.events[index] = replace(event, status=status, duration=duration, message=message)

    def share_table(self) -> tuple[Share, ...]:
        """Every address that is shared with at least one Linode."""
        shared = dict.fromkeys(address for addresses in self.shares.values() for address in addresses)
        return tuple(
            Share(address, self.addresses[address].region, self.addresses[address].linode_id, self.receivers(address))
            for address in shared
        )

    def tell_shares(self) -> None:
        """Put the share table into the outbox."""
        self.notices.append(SharesChanged(self.share_table()))

    def network_of(self, address: Address) -> IPv4Interface:
        """An address with its prefix length: public addresses are in a /24 or smaller, private ones in their /17."""
        private = self.policy.private_pool
        lengths = (max(24, pool.prefixlen) for pool in self.policy.public_pools if address.address in pool)
        return IPv4Interface(f"{address.address}/{next(lengths, 24) if address.public else private.prefixlen}")

    def view(self, linode: Linode) -> LinodeView:
        """A Linode as the World sees it."""
        interfaces = self.interfaces_of(linode)
        owned = self.owned(linode.id)
        configs = self.configs_of(linode.id)
        legacy_helper = configs[0].network_helper if configs else linode.network_helper
        return LinodeView(
            id=linode.id,
            label=linode.label,
            region=linode.region,
            type=linode.type,
            image=linode.image,
            ports=tuple(
                Port(f"eth{number}", one.mac or linode.mac, one.vlan_label or None, one.ipam_address)
                for number, one in enumerate(interfaces)
            ),
            public_ipv4=tuple(self.network_of(one) for one in owned if one.public),
            private_ipv4=tuple(self.network_of(one) for one in owned if not one.public),
            slaac=IPv6Interface(f"{linode.slaac}/64"),
            dhcp=min((self.network_of(one) for one in owned if one.public), key=str, default=None),
            user_data=linode.user_data,
            network_helper=legacy_helper if linode.generation is Generation.LEGACY else linode.network_helper,
        )


def entity_of(linode: Linode) -> Entity:
    """How events, maintenance and addresses refer to a Linode."""
    return Entity(id=linode.id, type="linode", label=linode.label, url=f"/v4/linode/instances/{linode.id}")


def mac_of(number: int) -> str:
    """A locally administered MAC address for one id."""
    digits = f"{number & 0xFFFFFFFF:08x}"
    return "22:00:" + ":".join(digits[start : start + 2] for start in range(0, 8, 2))


def slaac_of(net: IPv6Network, region_index: int, mac: str) -> IPv6Address:
    """The address that a Linode configures itself in its region's /64 (EUI-64)."""
    octets = [int(part, 16) for part in mac.split(":")]
    eui = bytes([octets[0] ^ 2, octets[1], octets[2], 0xFF, 0xFE, *octets[3:]])
    prefix = int(net.network_address) | (0x3C00 + region_index) << 64
    return IPv6Address(prefix | int.from_bytes(eui))


def host_uuid_of(number: int) -> str:
    """The id of the host that a Linode runs on."""
    return hashlib.sha1(f"host {number}".encode(), usedforsecurity=False).hexdigest()
