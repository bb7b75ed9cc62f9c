"""Guesses values of a gateway.toml from a machine: its interfaces and addresses, the subnet, the VIP."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface, IPv6Network

_UNIQUE_LOCAL = IPv6Network("fc00::/7")


@dataclass(frozen=True, slots=True)
class Interface:
    """One network interface with its global addresses."""

    name: str
    addresses: tuple[IPv4Interface, ...] = ()
    addresses6: tuple[IPv6Interface, ...] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of a machine: its interfaces without loopback, and the one of the default route."""

    interfaces: tuple[Interface, ...] = ()
    default_by: str | None = None


@dataclass(frozen=True, slots=True)
class Guess:
    """The probable values of this machine as a node; None where there is no guess."""

    public_interface: str | None = None
    public_address: IPv4Interface | None = None
    public_address6: IPv6Interface | None = None
    private_interface: str | None = None
    private_address: IPv4Interface | None = None
    vip: IPv4Interface | None = None
    peer_private_address: IPv4Interface | None = None


def guess(seen: Seen) -> Guess:
    """Public is where the default route leaves; private is another interface with a private (RFC 1918) address."""
    public = next((one for one in seen.interfaces if one.name == seen.default_by), None)
    inside = next((one for one in seen.interfaces if one is not public and _private(one) is not None), None)
    own = _private(inside) if inside is not None else None
    vip = _vip(own) if own is not None else None
    return Guess(
        public_interface=public.name if public is not None else None,
        public_address=next(iter(public.addresses), None) if public is not None else None,
        public_address6=_routable(public),
        private_interface=inside.name if inside is not None else None,
        private_address=own,
        vip=vip,
        peer_private_address=_beside(own, vip) if own is not None and vip is not None else None,
    )


def _private(interface: Interface) -> IPv4Interface | None:
    return next((address for address in interface.addresses if address.ip.is_private), None)


def _routable(interface: Interface | None) -> IPv6Interface | None:
    addresses = interface.addresses6 if interface is not None else ()
    return next((address for address in addresses if address.ip not in _UNIQUE_LOCAL), None)


def _vip(own: IPv4Interface) -> IPv4Interface | None:
    """The usual address of a gateway: the first of the subnet, or the second if this node has the first."""
    free = (address for address in own.network.hosts() if address != own.ip)
    first = next(free, None)
    return IPv4Interface(f"{first}/{own.network.prefixlen}") if first is not None else None


def _beside(own: IPv4Interface, vip: IPv4Interface) -> IPv4Interface | None:
    """The address next to ours, for the other node."""
    for address in (own.ip + 1, own.ip - 1):
        inside = address in own.network and address not in {own.network.network_address, own.network.broadcast_address}
        if inside and address != vip.ip:
            return IPv4Interface(f"{address}/{own.network.prefixlen}")
    return None
