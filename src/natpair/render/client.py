"""The network configuration of a private instance: files for three network managers, commands, and a check script.

A private instance needs no part of natpair, only an address in the VIP's subnet and the VIP as its default gateway.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Interface

from natpair.core.model import Gateway
from natpair.render.base import RenderedFile, page

MTU = 1500
"""The MTU of Linode's VLANs. The pair adds no header, so no smaller value is needed."""
_SECRET_ENOUGH = 0o600  # netplan warns about files that other users can read
_PUBLIC = 0o644


class Manager(StrEnum):
    """What configures the network on a private instance. `commands`: plain commands, which last until the next boot."""

    NETPLAN = "netplan"
    NETWORKD = "networkd"
    IFUPDOWN = "ifupdown"
    COMMANDS = "commands"


_PLACES: dict[Manager, tuple[str, str, int, str]] = {
    Manager.NETPLAN: ("client-netplan.j2", "/etc/netplan/60-natpair.yaml", _SECRET_ENOUGH, "netplan try"),
    Manager.NETWORKD: ("client-networkd.j2", "/etc/systemd/network/10-natpair.network", _PUBLIC, "networkctl reload"),
    Manager.IFUPDOWN: ("client-ifupdown.j2", "/etc/network/interfaces.d/natpair", _PUBLIC, "ifup {interface}"),
    Manager.COMMANDS: ("client-commands.j2", "", _PUBLIC, ""),
}


@dataclass(frozen=True, slots=True)
class Client:
    """A private instance: its address with the subnet's prefix length, its interface on the VLAN, its name servers."""

    address: IPv4Interface
    interface: str
    resolvers: tuple[IPv4Address, ...] = ()


def free_address(gateway: Gateway) -> IPv4Interface:
    """An example address: the first in the subnet that is neither a node's nor the VIP."""
    network = gateway.private_network
    taken = {gateway.pair.vip.ip, *(node.private_address.ip for node in gateway.node)}
    found = next((host for host in network.hosts() if host not in taken), network.network_address)
    return IPv4Interface(f"{found}/{network.prefixlen}")


def unusable(gateway: Gateway, address: IPv4Interface) -> str:
    """Why a private instance cannot have `address`, as text; empty if it can."""
    network = gateway.private_network
    if address.network != network:
        return f"is not in the VIP's subnet {network}"
    if address.ip in {network.network_address, network.broadcast_address}:
        return f"is the network or broadcast address of {network}"
    if address.ip == gateway.pair.vip.ip:
        return "is the VIP"
    owner = next((node.name for node in gateway.node if node.private_address.ip == address.ip), "")
    return f"is the address of {owner}" if owner else ""


def client_file(gateway: Gateway, client: Client, manager: Manager) -> RenderedFile:
    """The file for one network manager; its path is empty for `commands`, which need no file."""
    template, path, mode, _ = _PLACES[manager]
    return RenderedFile(path, page(template, **_context(gateway, client)), mode)


def makes_it_so(client: Client, manager: Manager) -> str:
    """The command to run after the file is installed; empty if there is none."""
    return _PLACES[manager][3].format(interface=client.interface)


def check_script(gateway: Gateway, client: Client) -> str:
    """A script that checks the network configuration on the private instance."""
    return page("client-check.sh.j2", **_context(gateway, client))


def remarks(gateway: Gateway, client: Client) -> Iterator[str]:
    """Remarks for the user, one sentence each."""
    fips = ", ".join(map(str, gateway.pair.fips))
    yield f"The internet sees this instance as {'one of ' if len(gateway.pair.fips) > 1 else ''}{fips}."
    yield "Turn off Network Helper for this Linode. Otherwise it overwrites this configuration at the next boot."
    if not client.resolvers:
        yield "The pair forwards DNS queries but is no name server: give name servers with --dns."
    yield f"The MTU is {MTU}, because the pair adds no header. The pair does not forward IPv6."


def _context(gateway: Gateway, client: Client) -> dict[str, object]:
    return {
        "address": client.address,
        "interface": client.interface,
        "resolvers": client.resolvers,
        "vip": gateway.pair.vip.ip,
        "fips": gateway.pair.fips,
        "mtu": MTU,
        "name": gateway.pair.name,
    }
