"""The platform's regions, types, images and prices, read from its API and checked before anything is created."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from ipaddress import IPv4Address, IPv6Address, ip_address

from natpair.cloud.desired import Wanted
from natpair.cloud.observed import Found
from natpair.errors import ApiError, ConfigError, Problem
from natpair.linode.bodies import Generation
from natpair.linode.client import LinodeClient
from natpair.linode.models import AccountSettings, AddressType, Image, LinodeType, Region

_CLOUD_INIT = "cloud-init"
_NO_RIGHT = frozenset({401, 403})


@dataclass(frozen=True, slots=True)
class Offer:
    """The platform's lists and the account's settings. `settings` None or `reserved` empty: it could not be read."""

    regions: tuple[Region, ...]
    types: tuple[LinodeType, ...]
    images: tuple[Image, ...]
    reserved: tuple[AddressType, ...] = ()
    settings: AccountSettings | None = None

    def resolvers(self, region: str) -> tuple[IPv4Address | IPv6Address, ...]:
        """The name servers of a region; empty if the platform lists none."""
        found = next((one.resolvers for one in self.regions if one.id == region), None)
        words = f"{found.ipv4},{found.ipv6}".split(",") if found else []
        return tuple(ip_address(word.strip()) for word in words if word.strip())[:3]


@dataclass(frozen=True, slots=True)
class PriceLine:
    """The price of one item: dollars per month for all of them; None if the API gives no price."""

    what: str
    count: int
    monthly: float | None
    note: str = ""


async def read_offer(client: LinodeClient) -> Offer:
    """Read the four lists, which are public, and the account's settings if the token may read them."""
    return Offer(
        await client.regions(),
        await client.types(),
        await client.images(),
        await reserved_prices(client),
        await settings_of(client),
    )


async def reserved_prices(client: LinodeClient) -> tuple[AddressType, ...]:
    """The prices of reserved addresses; empty if they cannot be read, because a missing price is no error."""
    try:
        return await client.reserved_address_types()
    except ApiError:
        return ()


async def settings_of(client: LinodeClient) -> AccountSettings | None:
    """The account's settings; None if the token may not read them (`account:read_only`)."""
    try:
        return await client.account_settings()
    except ApiError as error:
        if error.status in _NO_RIGHT:
            return None
        raise


def check_offer(wanted: Wanted, offer: Offer) -> None:
    """ConfigError with everything that the platform does not have."""
    problems = [*_region_problems(wanted, offer)]
    if wanted.made:
        problems += [*_type_problems(wanted, offer.types), *_image_problems(wanted, offer.images)]
        problems += _generation_problems(wanted, offer.settings)
    if problems:
        raise ConfigError("gateway.toml", problems)


def _region_problems(wanted: Wanted, offer: Offer) -> Iterator[Problem]:
    region = next((one for one in offer.regions if one.id == wanted.region), None)
    if region is None:
        yield _unknown("bgp.region", wanted.region, [one.id for one in offer.regions], "region")
        return
    needed = [("Vlans", "a VLAN")]
    if wanted.made:
        needed += [("Metadata", "user data"), *_needed_for_new(wanted)]
    for capability, what in needed:
        if capability not in region.capabilities:
            accepted = f"a region with the capability {capability}"
            yield Problem("bgp.region", wanted.region, f"has no {capability}, which is needed for {what}", accepted)


def _needed_for_new(wanted: Wanted) -> Iterator[tuple[str, str]]:
    if len(wanted.made) == len(wanted.nodes):
        yield "Placement Group", "nodes on different hosts"
    if wanted.rules is not None:
        yield "Cloud Firewall", "a firewall (cloud.firewall)"
    if wanted.generation is Generation.LINODE:
        yield "Linode Interfaces", 'a Linode with cloud.generation = "linode"'


def only_generation(settings: AccountSettings | None) -> Generation | None:
    """The only generation allowed for new Linodes of the account; None if both are allowed or it is unknown."""
    setting = settings.interfaces_for_new_linodes if settings else None
    return next((one for one in Generation if setting == f"{one.value}_only"), None)


def _generation_problems(wanted: Wanted, settings: AccountSettings | None) -> Iterator[Problem]:
    only = only_generation(settings)
    if only not in (None, wanted.generation):
        message = f"is not allowed: the account's settings allow only {only} for new Linodes"
        accepted = f'"{only}", or change "Interfaces for new Linodes" in the account settings of Cloud Manager'
        yield Problem("cloud.generation", wanted.generation.value, message, accepted)


def _type_problems(wanted: Wanted, types: Sequence[LinodeType]) -> Iterator[Problem]:
    if wanted.cloud.type not in {one.id for one in types}:
        yield _unknown("cloud.type", wanted.cloud.type, [one.id for one in types], "type")


def _image_problems(wanted: Wanted, images: Sequence[Image]) -> Iterator[Problem]:
    name = wanted.cloud.image
    image = next((one for one in images if one.id == name), None)
    usable = [one.id for one in images if _CLOUD_INIT in one.capabilities and not one.deprecated]
    if image is None:
        yield _unknown("cloud.image", name, usable, "image")
    elif _CLOUD_INIT not in image.capabilities:
        message = "does not read user data: according to the platform it has no cloud-init"
        yield Problem("cloud.image", name, message, f"one of {', '.join(usable)}")


def _unknown(key: str, value: str, known: Sequence[str], what: str) -> Problem:
    close = get_close_matches(value, known, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return Problem(key, value, f"the platform has no such {what}", f"{hint}one of {', '.join(sorted(known))}")


def prices(wanted: Wanted, found: Found, offer: Offer) -> tuple[PriceLine, ...]:
    """The monthly price of what natpair creates for the pair, including what exists already."""
    lines = []
    size = next((one for one in offer.types if one.id == wanted.cloud.type), None)
    if wanted.made:
        one = size.price_in(wanted.region).monthly if size else None
        monthly = None if one is None else round(one * len(wanted.made), 2)
        lines.append(PriceLine(f"Linode {wanted.cloud.type} in {wanted.region}", len(wanted.made), monthly))
    ours = {there.instance.id for node in wanted.made if (there := found.nodes[node.index])}
    extra = sum(fip is None or _owner(found, fip) in ours for fip in wanted.fips)
    if extra:
        lines.append(PriceLine("additional public IPv4 address", extra, None, _about_addresses(wanted, offer)))
    lines.append(
        PriceLine("VLAN, placement group, Cloud Firewall", 1, 0.0, "free, according to Linode's documentation")
    )
    return tuple(lines)


def _owner(found: Found, fip: IPv4Address) -> int | None:
    return found.owners[fip].linode_id if fip in found.owners else None


def _about_addresses(wanted: Wanted, offer: Offer) -> str:
    for one in offer.reserved:
        local = next((price for price in one.region_prices if price.id == wanted.region), one.price)
        if local.monthly is not None:
            return f"a reserved address costs ${local.monthly:.2f} per month"
    return ""
