"""The World: what the emulator calls when Linodes change, so that the lab can make real hosts for them.

The emulator calls a World outside its event loop, one call at a time and in order. A call may take as long as a boot.
Meanwhile the API keeps answering, and the Linode stays `booting` until the call returns.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Interface
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Port:
    """One network interface.

    `vlan` is the VLAN's label, None on the public network; `ipam` is as the API was given it.
    """

    name: str
    mac: str
    vlan: str | None
    ipam: str = ""


@dataclass(frozen=True, slots=True)
class LinodeView:
    """A Linode as the World needs it to build a machine; `user_data` is what cloud-init would read.

    `dhcp` is the only address that DHCP gives: the first public one, sorted as text. If Network Helper is off, a
    machine has no other address until it sets one itself.
    """

    id: int
    label: str
    region: str
    type: str
    image: str | None
    ports: tuple[Port, ...]
    public_ipv4: tuple[IPv4Interface, ...]
    private_ipv4: tuple[IPv4Interface, ...]
    slaac: IPv6Interface
    dhcp: IPv4Interface | None
    user_data: bytes
    network_helper: bool


@dataclass(frozen=True, slots=True)
class Share:
    """An address that only the owner and the receivers may announce. A reserved one has no owner (None)."""

    address: IPv4Address
    region: str
    owner_id: int | None
    receivers: tuple[int, ...]


class World(Protocol):
    """The callbacks. If one raises a NatpairError, the Linode's event fails and the Linode is offline."""

    def linode_created(self, linode: LinodeView) -> None:
        """A Linode exists, with new disks, and is off; called again when it is rebuilt."""

    def linode_deleted(self, linode_id: int) -> None:
        """The Linode and its disks are deleted."""

    def booted(self, linode: LinodeView) -> None:
        """Power on; returns when the machine runs."""

    def shut_down(self, linode_id: int) -> None:
        """Orderly power off."""

    def shares_changed(self, shares: tuple[Share, ...]) -> None:
        """The whole share table as it is now."""


class NoWorld:
    """The default World: makes no hosts."""

    def linode_created(self, linode: LinodeView) -> None:
        """Nothing to do."""

    def linode_deleted(self, linode_id: int) -> None:
        """Nothing to do."""

    def booted(self, linode: LinodeView) -> None:
        """Nothing to do."""

    def shut_down(self, linode_id: int) -> None:
        """Nothing to do."""

    def shares_changed(self, shares: tuple[Share, ...]) -> None:
        """Nothing to do."""


@dataclass(frozen=True, slots=True)
class Created:
    """A notice for the World: `linode_created`."""

    linode: LinodeView


@dataclass(frozen=True, slots=True)
class Deleted:
    """A notice for the World: `linode_deleted`."""

    linode_id: int


@dataclass(frozen=True, slots=True)
class Boot:
    """A notice for the World: `booted`; the Linode waits for its return."""

    linode: LinodeView


@dataclass(frozen=True, slots=True)
class ShutDown:
    """A notice for the World: `shut_down`; the Linode waits for its return."""

    linode_id: int


@dataclass(frozen=True, slots=True)
class SharesChanged:
    """A notice for the World: `shares_changed`."""

    shares: tuple[Share, ...]


Notice = Created | Deleted | Boot | ShutDown | SharesChanged


def tell(world: World, notice: Notice) -> None:
    """Make the call that belongs to this notice."""
    match notice:
        case Created(linode):
            world.linode_created(linode)
        case Deleted(linode_id):
            world.linode_deleted(linode_id)
        case Boot(linode):
            world.booted(linode)
        case ShutDown(linode_id):
            world.shut_down(linode_id)
        case SharesChanged(shares):
            world.shares_changed(shares)
