"""IP Sharing: who may announce an address besides its owner.

The API can only replace the whole list of a receiver. So every change here is: read, merge, write, read
back. Other shares to the same Linode stay, IPv6 ranges included. There is no version number, so another writer
can write in between. If our share is missing when the list is read back, the round is repeated.

The order is: allocate, share, then BGP: without a share the route servers accept no session. From the moment of the
share the address is reachable only while a node announces it. Nothing here is part of a failover.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address

from natpair.errors import ApiError, NotReady
from natpair.linode.client import LinodeClient
from natpair.linode.models import Address, InstanceAddresses

_ROUNDS = 4


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a written share may take to appear when it is read back, and how often to check."""

    settle_seconds: float = 15.0
    look_every_seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class Shares:
    """What is shared *to* one Linode; its own addresses are not in it."""

    addresses: frozenset[IPv4Address] = frozenset()
    ranges: frozenset[IPv6Address] = frozenset()

    def having(self, addresses: Iterable[IPv4Address]) -> Shares:
        """These and `addresses`."""
        return Shares(self.addresses | frozenset(addresses), self.ranges)

    def missing(self, addresses: Iterable[IPv4Address]) -> Shares:
        """These without `addresses`."""
        return Shares(self.addresses - frozenset(addresses), self.ranges)

    def listed(self) -> tuple[IPv4Address | IPv6Address, ...]:
        """All of them in a fixed order, as the API wants them: ranges without a prefix length."""
        return (*sorted(self.addresses), *sorted(self.ranges))


async def shares_of(client: LinodeClient, linode: int) -> Shares:
    """What is shared to `linode` now."""
    found = await client.addresses(linode)
    addresses = frozenset(address.address for address in found.ipv4.shared)
    ranges = [await client.ipv6_range(summary.range) for summary in await client.ipv6_ranges()]
    return Shares(addresses, frozenset(one.range for one in ranges if one.is_bgp and linode in one.linodes))


async def share(
    client: LinodeClient, receiver: int, addresses: Iterable[IPv4Address], patience: Patience | None = None
) -> Shares:
    """Let `receiver` announce `addresses` too; owners keep them, other shares stay. No write if all are there.

    What the receiver owns itself needs no share and is left out. ApiError as the API refuses; NotReady when the share
    does not show or somebody else keeps writing.
    """
    own = {address.address for address in (await client.addresses(receiver)).ipv4.public}
    wanted = frozenset(addresses) - own
    return await _bring_about(client, receiver, lambda shares: shares.having(wanted), patience or Patience())


async def unshare(
    client: LinodeClient, receiver: int, addresses: Iterable[IPv4Address], patience: Patience | None = None
) -> Shares:
    """Take back the right of `receiver` to announce `addresses`; other shares stay. No write if none is there."""
    unwanted = frozenset(addresses)
    return await _bring_about(client, receiver, lambda shares: shares.missing(unwanted), patience or Patience())


async def _bring_about(
    client: LinodeClient, receiver: int, change: Callable[[Shares], Shares], patience: Patience
) -> Shares:
    shares = await shares_of(client, receiver)
    for _ in range(_ROUNDS):
        wanted = change(shares)
        if wanted == shares:
            return shares
        try:
            await client.replace_shares(receiver, wanted.listed())
        except ApiError as error:
            if not error.uncertain:
                raise
        shares = await _read_back(client, receiver, change, patience)
    if change(shares) == shares:
        return shares
    fix = "see whether something else shares addresses to this Linode, such as Terraform or another pair"
    raise NotReady(f"the shares of Linode {receiver} do not become what was written {_ROUNDS} times", fix=fix)


async def _read_back(
    client: LinodeClient, receiver: int, change: Callable[[Shares], Shares], patience: Patience
) -> Shares:
    """The shares as soon as `change` would change nothing, or as they are when patience ends."""
    deadline = time.monotonic() + patience.settle_seconds
    while True:
        shares = await shares_of(client, receiver)
        if change(shares) == shares or time.monotonic() >= deadline:
            return shares
        await asyncio.sleep(patience.look_every_seconds)


class DriftKind(StrEnum):
    """What can be wrong with a shared address."""

    NOT_SHARED = "not-shared"  # a node neither owns it nor is shared it
    NOT_OURS = "not-ours"
    OTHER_REGION = "other-region"
    NOT_SHAREABLE = "not-shareable"


@dataclass(frozen=True, slots=True)
class Drift:
    """One difference between what the pair needs and what the account has. Only `NOT_SHARED` can be repaired here."""

    kind: DriftKind
    address: IPv4Address
    receiver: int | None = None

    @property
    def repairable(self) -> bool:
        """Whether `repair` can do something about it."""
        return self.kind is DriftKind.NOT_SHARED


def find_drift(
    fips: Iterable[IPv4Address],
    owners: Mapping[IPv4Address, Address],
    found: Mapping[int, InstanceAddresses],
    region: str,
) -> tuple[Drift, ...]:
    """Every difference, for the nodes that are the keys of `found`: each must own or be shared each FIP. Pure.

    `owners`: the account's own word on each FIP; one that is absent is not the account's (any more).
    """
    drifts: list[Drift] = []
    for fip in sorted(set(fips)):
        owner = owners.get(fip)
        if owner is None:
            drifts.append(Drift(DriftKind.NOT_OURS, fip))
        elif owner.region != region:
            drifts.append(Drift(DriftKind.OTHER_REGION, fip))
        elif owner.vpc_nat_1_1 is not None:
            drifts.append(Drift(DriftKind.NOT_SHAREABLE, fip))
        else:
            drifts += _not_shared(fip, owner, found)
    return tuple(drifts)


def _not_shared(fip: IPv4Address, owner: Address, found: Mapping[int, InstanceAddresses]) -> list[Drift]:
    missing = []
    for linode in sorted(found):
        shared = {address.address for address in found[linode].ipv4.shared}
        if owner.linode_id != linode and fip not in shared:
            missing.append(Drift(DriftKind.NOT_SHARED, fip, linode))
    return missing


async def look_for_drift(
    client: LinodeClient, fips: Iterable[IPv4Address], linodes: Iterable[int], region: str
) -> tuple[Drift, ...]:
    """Read what `find_drift` needs, and compare."""
    wanted = sorted(set(fips))
    owners = {}
    for fip in wanted:
        try:
            owners[fip] = await client.address(fip)
        except ApiError as error:
            if error.status != 404:
                raise
    found = {linode: await client.addresses(linode) for linode in sorted(set(linodes))}
    return find_drift(wanted, owners, found, region)


async def repair(client: LinodeClient, drifts: Iterable[Drift], patience: Patience | None = None) -> tuple[Drift, ...]:
    """Share again what is not shared, one write a receiver; returns what is left because it cannot be repaired."""
    left: list[Drift] = []
    missing: dict[int, set[IPv4Address]] = {}
    for drift in drifts:
        if drift.kind is DriftKind.NOT_SHARED and drift.receiver is not None:
            missing.setdefault(drift.receiver, set()).add(drift.address)
        else:
            left.append(drift)
    for receiver, addresses in missing.items():
        await share(client, receiver, addresses, patience)
    return tuple(left)
