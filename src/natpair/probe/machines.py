"""The two machines of a probe: their price, their creation and their removal.

The platform determines the order: create them switched off, read their addresses, allocate the FIP, rebuild with user
data, boot. Every label and tag contains the probe's stamp; anything without it is left alone.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface

from natpair.cloud.network import Seed, Uplink, network_files
from natpair.cloud.platform import Offer as Lists
from natpair.cloud.platform import only_generation, reserved_prices, settings_of
from natpair.cloud.userdata import NETWORK_SCRIPT, cloud_config, network_script
from natpair.config.load import parse
from natpair.core.model import Gateway, Node
from natpair.core.regions import DCIDS
from natpair.errors import ApiError, NotReady, Unsupported
from natpair.linode import power
from natpair.linode.bodies import Generation, NewInstance, Rebuild, VlanAttachment
from natpair.linode.client import LinodeClient
from natpair.linode.creating import allocate_address, create_instance
from natpair.linode.failures import no_more_addresses
from natpair.linode.models import Address, Instance, InstanceAddresses
from natpair.linode.ports import plug_in
from natpair.probe.record import TAG, Record

PROBE_TOML = "/etc/natpair/probe.toml"
NODES = ("probe-a", "probe-b")
PRIVATE = (IPv4Interface("192.168.1.3/24"), IPv4Interface("192.168.1.4/24"))
IMAGE = "linode/debian12"
_VIP = "192.168.1.1/24"
_NO_FIP = "192.0.2.1"
"""Placeholder in probe.toml if the account may not have another address. It is never announced."""
_NEEDED = ("Linodes", "Vlans", "Metadata")
_LOOK_SECONDS = 0.5
_SETTLE_SECONDS = 300.0
_PATIENCE = power.Patience(_LOOK_SECONDS, _SETTLE_SECONDS)
_LATE_CREATE_SECONDS = 10.0

INSTALL = f"""\
#!/bin/sh
# What a probe needs: its own static address, because DHCP may assign the shared one; BIRD, whose own unit must not run;
# and tcpdump for debugging.
sh {NETWORK_SCRIPT} || exit 1
systemctl mask bird.service
export DEBIAN_FRONTEND=noninteractive
for _ in 1 2 3 4 5 6 7 8 9 10; do
    apt-get -q update &&
        apt-get -q -y --no-install-recommends -o DPkg::Lock::Timeout=300 install tcpdump bird2 && exit 0
    sleep 6
done
exit 1
"""
_INSTALLER = "/etc/natpair/install.sh"

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Offer:
    """What will be created and what it costs, in US dollars before tax; a price is None if the API gives none."""

    region: str
    plan: str
    hourly: float | None
    address_hourly: float | None
    generation: Generation = Generation.LINODE
    resolvers: tuple[IPv4Address | IPv6Address, ...] = ()

    def words(self) -> tuple[str, ...]:
        """The offer as lines of text."""
        each = f"${self.hourly:g} per hour each" if self.hourly is not None else "no price in the API"
        extra = f"${self.address_hourly:g} per hour" if self.address_hourly is not None else "no price in the API"
        return (
            f"two Linodes {self.plan} in {self.region}, {each}; a started hour counts as a full hour",
            f"one additional IPv4 address, {extra}, if the account may have one",
            "a VLAN, which is free",
            "everything is removed at the end, also after Ctrl-C or a failure",
        )


async def offer(client: LinodeClient, region: str, plan: str | None) -> Offer:
    """What a probe in `region` creates; the default plan is the cheapest. Raise Unsupported if something is missing."""
    regions = {one.id: one for one in await client.regions()}
    if region not in regions:
        raise Unsupported(f"{region} is not a region of Linode", fix="one of: " + ", ".join(sorted(regions)))
    if region not in DCIDS:
        fix = "one of: " + ", ".join(sorted(DCIDS.keys() & regions.keys()))
        raise Unsupported(f"the route servers of {region} are not published", fix=fix)
    missing = [word for word in _NEEDED if word not in regions[region].capabilities]
    if missing:
        raise Unsupported(f"{region} has no {', '.join(missing)}", fix="choose another region")
    types = {one.id: one for one in await client.types()}
    priced = [one for one in types.values() if one.price_in(region).hourly]
    chosen = (
        min(priced, key=lambda one: (one.price_in(region).hourly or 0, one.id)) if plan is None else types.get(plan)
    )
    if chosen is None:
        raise Unsupported(f"{plan} is not a type of Linode", fix="one of: " + ", ".join(sorted(types)))
    addresses, settings = await reserved_prices(client), await settings_of(client)
    price = addresses[0].price.hourly if addresses else None
    new = Generation.LINODE if "Linode Interfaces" in regions[region].capabilities else Generation.LEGACY
    resolvers = Lists(tuple(regions.values()), (), ()).resolvers(region)
    generation = only_generation(settings) or new
    return Offer(region, chosen.id, chosen.price_in(region).hourly, price, generation, resolvers)


@dataclass(frozen=True, slots=True)
class Made:
    """The machines of a probe: `linodes` in the order of the nodes. `no_fip` says why there is no further address."""

    gateway: Gateway
    linodes: tuple[int, int]
    no_fip: str = ""


async def make(
    client: LinodeClient, record: Record, offered: Offer, image: str, public_key: str, progress: Progress
) -> Made:
    """Create both machines and boot them. Each is recorded before its creation by tag, and afterwards by number."""
    keys = (public_key,) if public_key else ()
    linodes: list[Instance] = []
    for index, name in enumerate(NODES):
        progress(f"creating {name}")
        new = NewInstance(
            label=f"{TAG}-{record.stamp}-{name[-1]}",
            region=record.region,
            type=offered.plan,
            image=image,
            vlan=_vlan(record, index),
            generation=offered.generation,
            tags=(TAG, record.tag),
            authorized_keys=keys,
            root_password=secrets.token_urlsafe(32),
            booted=False,
        )
        record.creating = new.label
        record.write()
        linodes.append(await _create(client, new))
        record.linodes.append(linodes[-1].id)
        record.creating = ""
        record.write()
    for linode in linodes:
        await power.settled(client, linode.id, _PATIENCE)
    fip, no_fip = await _allocate(client, record, linodes[0], progress)
    found = [await client.addresses(linode.id) for linode in linodes]
    text = probe_toml(record.region, fip, found, fip)
    gateway = parse(text, source="probe.toml")
    for index, (linode, node, addresses) in enumerate(zip(linodes, gateway.node, found, strict=True)):
        progress(f"rebuilding {node.name} with its user data and booting it")
        data = user_data(text, node, Uplink(_router(_own(addresses, fip)), offered.resolvers))
        rebuilt = await power.rebuild(
            client, linode.id, Rebuild(image, secrets.token_urlsafe(32), keys, data, booted=False), _PATIENCE
        )
        # A rebuild creates a new configuration profile (older generation), without the VLAN.
        await plug_in(client, rebuilt, _vlan(record, index))
        await power.boot(client, linode.id, _PATIENCE)
    return Made(gateway, (linodes[0].id, linodes[1].id), no_fip)


def _vlan(record: Record, index: int) -> VlanAttachment:
    return VlanAttachment(f"probe-{record.stamp}", PRIVATE[index])


async def _create(client: LinodeClient, new: NewInstance) -> Instance:
    """Create a machine. If the account refuses this generation, use the other: the token may not read the settings."""
    try:
        return await create_instance(client, new)
    except ApiError as error:
        if error.status != 400 or "interface_generation" not in error.message:
            raise
    other = Generation.LEGACY if new.generation is Generation.LINODE else Generation.LINODE
    return await create_instance(client, replace(new, generation=other))


async def _allocate(
    client: LinodeClient, record: Record, linode: Instance, progress: Progress
) -> tuple[IPv4Address, str]:
    """An additional address of the first machine, or the reason why there is none. Any other error ends the probe."""
    try:
        record.fip = str(await allocate_address(client, linode))
    except ApiError as error:
        if not no_more_addresses(error):
            raise
        progress(f"no additional address: {error.message}")
        return IPv4Address(_NO_FIP), f"the account may not have another IPv4 address: {error.message}"
    record.write()
    return IPv4Address(record.fip), ""


def probe_toml(region: str, fip: IPv4Address, found: list[InstanceAddresses], not_own: IPv4Address) -> str:
    """The text of probe.toml, in the format of gateway.toml."""
    parts = [f'[pair]\nname = "probe"\nvip = "{_VIP}"\nfips = ["{fip}"]\n']
    for name, private, addresses in zip(NODES, PRIVATE, found, strict=True):
        public, six = _public(addresses, not_own)
        parts.append(
            f'[[node]]\nname = "{name}"\nprivate_address = "{private}"\n'
            f'public_address = "{public}"\npublic_address6 = "{six}"\n'
        )
    return "\n".join([*parts, f'[bgp]\nregion = "{region}"\n'])


def _own(addresses: InstanceAddresses, not_own: IPv4Address) -> Address:
    own = next((one for one in addresses.ipv4.public if one.address != not_own), None)
    if own is None:
        raise _incomplete("IPv4 address")
    return own


def _router(own: Address) -> IPv4Address:
    if own.gateway is None:
        raise _incomplete("gateway")
    return own.gateway


def _public(addresses: InstanceAddresses, not_own: IPv4Address) -> tuple[IPv4Interface, IPv6Interface]:
    own = _own(addresses, not_own)
    slaac = addresses.ipv6.slaac if addresses.ipv6 else None
    if slaac is None:
        raise _incomplete("SLAAC address")
    return IPv4Interface(f"{own.address}/{own.prefix or 24}"), IPv6Interface(f"{slaac.address}/{slaac.prefix}")


def _incomplete(what: str) -> NotReady:
    return NotReady(f"a new Linode has no public {what}", fix="run natpair cloud probe --clean-up, then try again")


def user_data(text: str, node: Node, uplink: Uplink) -> bytes:
    """A machine's user data: probe.toml, its network and its packages. It does not become a node of a pair."""
    seeds: Sequence[Seed] = (
        Seed(PROBE_TOML, text),
        Seed(NETWORK_SCRIPT, network_script()),
        Seed(_INSTALLER, INSTALL),
        *network_files(node, uplink),
    )
    return cloud_config(node.name, seeds, [["sh", _INSTALLER]])


async def remains(client: LinodeClient, record: Record) -> tuple[Instance, ...]:
    """The Linodes of this probe that the account still has, found by tag."""
    return tuple(one for one in await client.instances() if record.tag in one.tags)


async def remove(client: LinodeClient, record: Record, progress: Progress) -> tuple[str, ...]:
    """Delete all Linodes of this probe, and with them address and VLAN. Return what is left after retries, as text."""
    begin, problem = time.monotonic(), ""
    # An interrupted create may take effect after the first look.
    earliest = begin + (_LATE_CREATE_SECONDS if record.creating else 0)
    end = begin + _SETTLE_SECONDS
    while True:
        try:
            left = await remains(client, record)
            for linode in left:
                progress(f"deleting {linode.label}")
                await client.delete_instance(linode.id)
            problem = ""
        except ApiError as error:
            if not error.retryable:
                raise
            left, problem = (), error.message
            progress(f"{problem}; trying again")
        if not left and not problem and time.monotonic() >= earliest:
            return ()
        if time.monotonic() > end:
            return tuple(f"{one.label} ({problem})" for one in left) or (f"Linodes tagged {record.tag} ({problem})",)
        await asyncio.sleep(_LOOK_SECONDS)


def summary(record: Record) -> str:
    """The record as one line of text."""
    return json.dumps(
        {"stamp": record.stamp, "region": record.region, "began": record.began, "linodes": record.linodes}
    )
