"""The two machines of a probe: what they cost, how they are made, and how they are taken away again.

The order is the platform's: create them switched off, learn the addresses, allocate the FIP, rebuild with user data
that holds it all, boot. Every label and tag carries the stamp of the probe; what lacks it is never touched.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Interface

from natpair.cloud.network import Seed
from natpair.cloud.userdata import cloud_config
from natpair.config.load import parse
from natpair.core.model import Gateway
from natpair.core.regions import DCIDS
from natpair.errors import ApiError, NotReady, Unsupported
from natpair.linode.bodies import NewInstance, Rebuild, VlanAttachment
from natpair.linode.client import LinodeClient
from natpair.linode.creating import allocate_address, create_instance
from natpair.linode.models import Instance, InstanceAddresses
from natpair.probe.record import TAG, Record

PROBE_TOML = "/etc/natpair/probe.toml"
NODES = ("probe-a", "probe-b")
PRIVATE = (IPv4Interface("192.168.1.3/24"), IPv4Interface("192.168.1.4/24"))
IMAGE = "linode/debian12"
_VIP = "192.168.1.1/24"
_NO_FIP = "192.0.2.1"
"""Stands in probe.toml where the account may not have a further address; it is announced to nobody."""
_NEEDED = ("Linodes", "Vlans", "Metadata")
_LOOK_SECONDS = 0.5
_SETTLE_SECONDS = 300.0
_LATE_CREATE_SECONDS = 10.0

INSTALL = """\
#!/bin/sh
# What a probe needs: BIRD, which must not run by itself, and tcpdump for a curious person.
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
    """What will be made and what it costs, in US dollars before tax; a price is None where the API tells none."""

    region: str
    plan: str
    hourly: float | None
    address_hourly: float | None

    def words(self) -> tuple[str, ...]:
        """It for people."""
        each = f"${self.hourly:g} an hour each" if self.hourly is not None else "a price that the API does not tell"
        extra = (
            f"${self.address_hourly:g} an hour"
            if self.address_hourly is not None
            else "at a price the API does not tell"
        )
        return (
            f"two Linodes {self.plan} in {self.region}, {each}; a started hour counts as one",
            f"one further IPv4 address, {extra}, if the account may have one",
            "a VLAN, which is free",
            "all of it is removed at the end, also after Ctrl-C or a failure",
        )


async def offer(client: LinodeClient, region: str, plan: str | None) -> Offer:
    """What a probe in `region` makes; the cheapest plan if none is named. Unsupported for what is not to be had."""
    regions = {one.id: one for one in await client.regions()}
    if region not in regions:
        raise Unsupported(f"{region} is not a region of Linode", cure="one of: " + ", ".join(sorted(regions)))
    if region not in DCIDS:
        cure = "one of: " + ", ".join(sorted(DCIDS.keys() & regions.keys()))
        raise Unsupported(f"the number of {region} is not published, and with it its route servers", cure=cure)
    lacking = [word for word in _NEEDED if word not in regions[region].capabilities]
    if lacking:
        raise Unsupported(f"{region} has no {', '.join(lacking)}", cure="choose another region")
    types = {one.id: one for one in await client.types()}
    priced = [one for one in types.values() if one.price_in(region).hourly]
    chosen = (
        min(priced, key=lambda one: (one.price_in(region).hourly or 0, one.id)) if plan is None else types.get(plan)
    )
    if chosen is None:
        raise Unsupported(f"{plan} is not a type of Linode", cure="one of: " + ", ".join(sorted(types)))
    addresses = await client.reserved_address_types()
    price = addresses[0].price.hourly if addresses else None
    return Offer(region, chosen.id, chosen.price_in(region).hourly, price)


@dataclass(frozen=True, slots=True)
class Made:
    """The machines of a probe: `linodes` in the order of the nodes. `no_fip` says why there is no further address."""

    gateway: Gateway
    linodes: tuple[int, int]
    no_fip: str = ""


async def make(
    client: LinodeClient, record: Record, plan: str, image: str, public_key: str, progress: Progress
) -> Made:
    """Make both machines and boot them. What is made is on record first, by its tag, and then by its number."""
    keys = (public_key,) if public_key else ()
    linodes = []
    for index, name in enumerate(NODES):
        progress(f"creating {name}")
        new = NewInstance(
            label=f"{TAG}-{record.stamp}-{name[-1]}",
            region=record.region,
            type=plan,
            image=image,
            vlan=VlanAttachment(f"probe-{record.stamp}", PRIVATE[index]),
            tags=(TAG, record.tag),
            authorized_keys=keys,
            root_password=secrets.token_urlsafe(32),
            booted=False,
        )
        record.creating = new.label
        record.write()
        linodes.append((await create_instance(client, new)).id)
        record.linodes.append(linodes[-1])
        record.creating = ""
        record.write()
    first, second = linodes
    for linode in linodes:
        await state(client, linode, "offline")
    fip, no_fip = await _allocate(client, record, first, progress)
    text = probe_toml(record.region, fip, [await client.addresses(linode) for linode in linodes], fip)
    for linode, name in zip(linodes, NODES, strict=True):
        progress(f"{name} gets its user data and boots")
        data = user_data(text, name)
        await client.rebuild(linode, Rebuild(image, secrets.token_urlsafe(32), keys, data, booted=False))
        await state(client, linode, "offline")
        await client.boot(linode)
    for linode in linodes:
        await state(client, linode, "running")
    return Made(parse(text, source="probe.toml"), (first, second), no_fip)


async def _allocate(client: LinodeClient, record: Record, linode: int, progress: Progress) -> tuple[IPv4Address, str]:
    """A further address of the first machine, or why there is none."""
    try:
        record.fip = str((await allocate_address(client, linode)).address)
    except ApiError as error:
        if error.uncertain or error.status is None or error.status >= 500:
            raise
        progress(f"no further address: {error.message}")
        return IPv4Address(_NO_FIP), f"the account may not have a further IPv4 address: {error.message}"
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


def _public(addresses: InstanceAddresses, not_own: IPv4Address) -> tuple[IPv4Interface, IPv6Interface]:
    own = next((one for one in addresses.ipv4.public if one.address != not_own), None)
    slaac = addresses.ipv6.slaac if addresses.ipv6 else None
    if own is None or slaac is None:
        raise NotReady("a new Linode has no public IPv4 or no SLAAC address", cure="see natpair cloud probe --clean-up")
    return IPv4Interface(f"{own.address}/{own.prefix or 24}"), IPv6Interface(f"{slaac.address}/{slaac.prefix}")


def user_data(text: str, name: str) -> bytes:
    """What a machine reads at its first boot: probe.toml, which makes no node of it, and the packages."""
    seeds = (Seed(PROBE_TOML, text), Seed(_INSTALLER, INSTALL))
    return cloud_config(name, seeds, [["sh", _INSTALLER]])


async def state(client: LinodeClient, linode: int, wanted: str, seconds: float = _SETTLE_SECONDS) -> None:
    """Wait for a state of a Linode; NotReady when it does not come, with what the platform says of its failure."""
    end = time.monotonic() + seconds
    while (now := (await client.instance(linode)).status) != wanted:
        if now == "offline" and (why := await _failure(client, linode)):
            raise NotReady(f"Linode {linode}: {why}")
        if time.monotonic() > end:
            raise NotReady(f"Linode {linode} is {now}, not {wanted}, after {seconds:g} s")
        await asyncio.sleep(_LOOK_SECONDS)


async def _failure(client: LinodeClient, linode: int) -> str:
    """What went wrong with the last thing that happened to a Linode; nothing if nothing did, or nobody may look."""
    try:
        events = await client.events(linode=linode)
    except ApiError:  # a token may lack this right, which is good for a better word only
        return ""
    failed = next((event for event in events[:1] if event.status == "failed"), None)
    return f"{failed.action} failed: {failed.message or 'no reason given'}" if failed else ""


async def remains(client: LinodeClient, record: Record) -> tuple[Instance, ...]:
    """The Linodes of this probe that the account has, by their tag."""
    return tuple(one for one in await client.instances() if record.tag in one.tags)


async def remove(client: LinodeClient, record: Record, progress: Progress) -> tuple[str, ...]:
    """Delete all Linodes of this probe, and with them address and VLAN; what is left after patient trying, in words."""
    begin, problem = time.monotonic(), ""
    # A create that was cut off may take effect after the first look.
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
    """The record in one line, for a person who must decide."""
    return json.dumps(
        {"stamp": record.stamp, "region": record.region, "began": record.began, "linodes": record.linodes}
    )
