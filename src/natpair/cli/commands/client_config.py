"""`natpair client-config FILE`: the network configuration of a private instance behind the pair."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from typing import TYPE_CHECKING

import click

from natpair.cli.output import emit_json, say, talk

if TYPE_CHECKING:
    from natpair.core.model import Gateway
    from natpair.render.client import Client

_MANAGERS = (
    "netplan",
    "networkd",
    "ifupdown",
    "commands",
)  # render.client.Manager, whose import is too heavy for --help


@click.command(
    name="client-config",
    epilog="Example: natpair client-config examples/gateway.toml --os netplan --address 192.168.1.10",
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--os", "manager", type=click.Choice(_MANAGERS), help="Only the file for this network manager.")
@click.option("--address", metavar="A", help="The instance's address in the VIP's subnet [default: an example address]")
@click.option("--interface", default="eth0", show_default=True, help="The instance's interface on the VLAN.")
@click.option("--dns", multiple=True, metavar="A", help="A name server; may be repeated.")
@click.option("--check", is_flag=True, help="Only the script that checks the network configuration on the instance.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def command(
    file: Path,
    manager: str | None,
    address: str | None,
    interface: str,
    dns: tuple[str, ...],
    check: bool,
    as_json: bool,
) -> None:
    """Print the network configuration of a private instance, with a script to check it. Changes nothing.

    Without --os it prints the files for all network managers. With --os or --check it prints one file, which you can
    redirect into place.
    """
    from natpair.config.load import load
    from natpair.render.client import Manager, check_script, client_file, remarks

    gateway = load(file)
    client = _client(gateway, address, interface, dns)
    if address is None:
        talk(f"{client.address} is only an example: choose a free address and give it with --address")
    if as_json:
        emit_json(_document(gateway, client))
    elif check:
        say(check_script(gateway, client).rstrip())
    elif manager is not None:
        say(client_file(gateway, client, Manager(manager)).text.rstrip())
        for remark in remarks(gateway, client):
            talk(remark)
    else:
        _everything(gateway, client, file)


def _client(gateway: Gateway, address: str | None, interface: str, dns: tuple[str, ...]) -> Client:
    from natpair.core.model import INTERFACE_PATTERN
    from natpair.render.client import Client, free_address, unusable

    if not re.fullmatch(INTERFACE_PATTERN, interface):
        raise click.BadParameter(f"{interface!r} is not a valid interface name", param_hint="--interface")
    try:
        resolvers = tuple(map(IPv4Address, dns))
    except ValueError as error:
        raise click.BadParameter(f"{error}: expected an IPv4 address", param_hint="--dns") from None
    if address is None:
        return Client(free_address(gateway), interface, resolvers)
    try:
        whole = address if "/" in address else f"{address}/{gateway.private_network.prefixlen}"
        parsed = IPv4Interface(whole)
    except ValueError:
        raise click.BadParameter(f"{address!r} is not an IPv4 address", param_hint="--address") from None
    if reason := unusable(gateway, parsed):
        raise click.BadParameter(f"{address} {reason}", param_hint="--address")
    return Client(parsed, interface, resolvers)


def _everything(gateway: Gateway, client: Client, file: Path) -> None:
    from natpair.render.client import Manager, client_file, makes_it_so, remarks

    say(f"Private instance with address {client.address} on {client.interface}, gateway {gateway.pair.vip.ip}.")
    for remark in remarks(gateway, client):
        say(f"  {remark}")
    for manager in Manager:
        made = client_file(gateway, client, manager)
        then = makes_it_so(client, manager)
        head = f"{made.path} (mode {made.mode:04o}), then run '{then}'" if made.path else "until the next boot, as root"
        say()
        say(f"### {manager}: {head}")
        say(made.text.rstrip())
    say()
    options = f"--address {client.address.ip} --interface {client.interface} --check"
    say(f"To check it: natpair client-config {file} {options} > check.sh")
    say("Run this script on the instance: sh check.sh [an address on the internet that answers pings]")


def _document(gateway: Gateway, client: Client) -> dict[str, object]:
    from natpair.render.client import MTU, Manager, check_script, client_file, makes_it_so, remarks

    files = [(manager, client_file(gateway, client, manager)) for manager in Manager]
    return {
        "schema": "natpair/client-config/v1",
        "gateway": str(gateway.pair.vip.ip),
        "address": str(client.address),
        "interface": client.interface,
        "mtu": MTU,
        "resolvers": [str(resolver) for resolver in client.resolvers],
        "seen_as": [str(fip) for fip in gateway.pair.fips],
        "remarks": list(remarks(gateway, client)),
        "files": [
            {
                "manager": manager.value,
                "path": made.path or None,
                "mode": f"{made.mode:04o}" if made.path else None,
                "then": makes_it_so(client, manager) or None,
                "text": made.text,
            }
            for manager, made in files
        ],
        "check": check_script(gateway, client),
    }
