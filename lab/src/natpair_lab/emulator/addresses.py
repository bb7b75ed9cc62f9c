"""IPv4 addresses: allocating, reserving, releasing, moving, and IP Sharing.

A share is stated per receiver: one call replaces everything that is shared to that Linode. The owner keeps its
address and need not run. Who may announce an address by BGP is exactly its owner and its receivers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, ip_address
from itertools import chain, islice
from typing import NoReturn

from natpair_lab.emulator.catalogue import REGIONS
from natpair_lab.emulator.model import Address, Generation, Linode, Purpose
from natpair_lab.emulator.refused import Refused, invalid, not_found
from natpair_lab.emulator.state import Store, entity_of


def known_region(name: str, field: str = "region") -> str:
    """The region, or 400."""
    if name not in REGIONS:
        raise invalid("region is not valid", field)
    return name


def allocate(store: Store, linode: Linode, *, public: bool, reserved: bool = False) -> Address:
    """A further address for a Linode; one of the newer generation gets it through its interface instead."""
    if linode.generation is Generation.LINODE:
        raise invalid("IP addresses of a Linode with Linode interfaces are allocated through its interfaces.")
    _check_room(store, linode, public=public)
    address = new_address(store, linode.region, public=public, linode=linode, reserved=reserved)
    store.add_event("linode_addip", entity_of(linode), message=str(address.address))
    return address


def _check_room(store: Store, linode: Linode, *, public: bool) -> None:
    if public:
        if len(store.owned(linode.id, public=True)) >= store.policy.public_ipv4_per_linode:
            _refuse_more()
        return
    if store.owned(linode.id, public=False):
        raise invalid("This Linode already has a private IPv4 address.", "public")


def new_address(
    store: Store, region: str, *, public: bool, linode: Linode | None = None, reserved: bool = False
) -> Address:
    """Take the next free address of the pool; 400 when the pool is empty."""
    found = _next_free(store, public=public)
    address = Address(
        address=found,
        region=region,
        public=public,
        linode_id=linode.id if linode else None,
        interface_id=_public_interface(linode) if linode and public else None,
        reserved=reserved,
        rdns=str(found).replace(".", "-") + ".ip.linodeusercontent.com" if public else None,
    )
    store.addresses[found] = address
    return address


def _next_free(store: Store, *, public: bool) -> IPv4Address:
    pools = store.policy.public_pools if public else (store.policy.private_pool,)
    last = store.last_address.get(public)
    # Not the one given back last: an address that is somebody else's a moment later hides mistakes.
    later = (host for pool in pools if last is not None and last in pool for host in _hosts(pool) if host > last)
    anywhere = (host for pool in pools for host in _hosts(pool))
    for host in chain(later, anywhere):
        if host not in store.addresses:
            store.last_address[public] = host
            return host
    raise invalid("No IPv4 addresses are available in this region.")


def _hosts(pool: IPv4Network) -> Iterator[IPv4Address]:
    """What a pool has to give: its /24s without their gateways, which are the first hosts."""
    for network in pool.subnets(new_prefix=max(24, pool.prefixlen)):
        yield from islice(network.hosts(), 1, None)


def _public_interface(linode: Linode) -> int | None:
    if linode.generation is Generation.LEGACY:
        return None
    return next((one.id for one in linode.interfaces if one.purpose is Purpose.PUBLIC), None)


def allocate_through(store: Store, linode: Linode, stated: Sequence[str], field: str) -> None:
    """Make `stated` the public addresses of a Linode's public interface: `auto` is a new one, all others are its own.

    Addresses that are not stated are given back.
    """
    owned = {str(one.address): one for one in store.owned(linode.id, public=True)}
    named = [text for text in stated if text != "auto"]
    strangers = [text for text in named if text not in owned and not _attachable(store, text)]
    if strangers or len(set(named)) < len(named):
        raise invalid(f"{', '.join(strangers) or 'an address'} is not valid for this interface.", field)
    if len(stated) > store.policy.public_ipv4_per_linode:
        _refuse_more()
    new = [new_address(store, linode.region, public=True, linode=linode) for text in stated if text == "auto"]
    for address in new:
        store.add_event("linode_addip", entity_of(linode), message=str(address.address))
    for text in named:
        if text not in owned:
            attach_reserved(store, linode, text, field)
    for text, address in owned.items():
        if text not in named:
            drop(store, address)


def _attachable(store: Store, text: str) -> bool:
    return any(str(one.address) == text and one.reserved and one.linode_id is None for one in store.addresses.values())


def _refuse_more() -> NoReturn:
    reason = "Additional IPv4 addresses require technical justification.  Please contact support"
    raise invalid(f"{reason} describing your requirement.")


def reserve(store: Store, region: str, tags: Sequence[str] = ()) -> Address:
    """A reserved address without a Linode."""
    address = replace(new_address(store, known_region(region), public=True, reserved=True), tags=tuple(tags))
    store.addresses[address.address] = address
    return address


def unreserve(store: Store, address: Address) -> None:
    """End a reservation: an assigned address becomes an ordinary one, an unassigned one is gone."""
    if not address.reserved:
        raise not_found()
    if address.linode_id is None:
        _forget(store, address.address)
    else:
        store.addresses[address.address] = replace(address, reserved=False)


def attach_reserved(store: Store, linode: Linode, text: str, field: str = "address") -> Address:
    """Give a reserved, unassigned address of the same region to a Linode."""
    address = find(store, text, field)
    if not address.reserved or address.linode_id is not None:
        raise invalid(f"{text} is not a reserved address that can be assigned.", field)
    if address.region != linode.region:
        raise invalid(f"{text} is not in the region of this Linode.", field)
    _check_room(store, linode, public=True)
    changed = replace(address, linode_id=linode.id, interface_id=_public_interface(linode))
    store.addresses[address.address] = changed
    return changed


def find(store: Store, text: str, field: str) -> Address:
    """The account's address that a request names, or 400 about that field."""
    try:
        parsed = IPv4Address(text)
    except AddressValueError:
        raise invalid(f"{text} is not a valid IPv4 address.", field) from None
    if parsed not in store.addresses:
        raise invalid(f"{text} does not belong to this account.", field)
    return store.addresses[parsed]


def of_linode(store: Store, linode: Linode, text: str) -> Address:
    """An address that a Linode owns or receives by sharing, or 404."""
    try:
        parsed = IPv4Address(text)
    except AddressValueError:
        raise not_found() from None
    address = store.addresses.get(parsed)
    if address is None or (address.linode_id != linode.id and parsed not in store.shares.get(linode.id, ())):
        raise not_found()
    return address


def release(store: Store, linode: Linode, text: str) -> None:
    """Take an address from a Linode: from a receiver the share, from the owner the address itself."""
    address = of_linode(store, linode, text)
    if address.linode_id != linode.id:
        share(store, linode, [one for one in store.shares[linode.id] if one != address.address])
        return
    if address.public and len(store.owned(linode.id, public=True)) < 2:
        raise invalid("Linodes must have at least one public IPv4 address.", "address")
    drop(store, address)
    store.add_event("linode_deleteip", entity_of(linode), message=text)


def drop(store: Store, address: Address) -> None:
    """Take an address from its owner, with all its shares; a reserved one stays on the account."""
    if address.reserved:
        store.addresses[address.address] = replace(address, linode_id=None, interface_id=None)
    else:
        _forget(store, address.address)
        return
    _unshare(store, address.address)


def _forget(store: Store, address: IPv4Address) -> None:
    _unshare(store, address)
    del store.addresses[address]


def _unshare(store: Store, address: IPv4Address) -> None:
    before = store.shares
    store.shares = {
        receiver: kept
        for receiver, addresses in before.items()
        if (kept := tuple(one for one in addresses if one != address))
    }
    if store.shares != before:
        store.tell_shares()


def shareable(store: Store, receiver: Linode, texts: Sequence[str]) -> list[IPv4Address]:
    """Check every address that shall be shared to the receiver; each that cannot be is its own complaint."""
    refusals: list[Refused] = []
    checked: list[IPv4Address] = []
    for index, text in enumerate(texts):
        try:
            checked.append(_shareable(store, receiver, text, f"ips[{index}]"))
        except Refused as refused:
            refusals.append(refused)
    if refusals:
        raise Refused(400, *(complaint for refused in refusals for complaint in refused.complaints))
    return checked


def _shareable(store: Store, receiver: Linode, text: str, field: str) -> IPv4Address:
    try:
        parsed = ip_address(text)
    except ValueError:
        hint = " Omit the prefix length." if "/" in text else ""
        raise invalid(f"{text} is not a valid IP address.{hint}", field) from None
    if isinstance(parsed, IPv6Address):
        raise invalid(f"{text} is not an IPv6 range of this account.", field)
    address = find(store, text, field)
    if address.linode_id is None:
        raise invalid(f"{text} is not assigned to a Linode.", field)
    if address.linode_id == receiver.id:
        raise invalid(f"{text} is already assigned to Linode {receiver.id}.", field)
    if address.region != receiver.region:
        raise invalid(f"{text} is not in the region of Linode {receiver.id}.", field)
    return parsed


def share(store: Store, receiver: Linode, addresses: Sequence[IPv4Address]) -> None:
    """Make exactly these addresses the ones that are shared to the receiver."""
    wanted = tuple(dict.fromkeys(addresses))
    if wanted == store.shares.get(receiver.id, ()):
        return
    store.shares.pop(receiver.id, None)
    if wanted:
        store.shares[receiver.id] = wanted
    store.tell_shares()


def assign(store: Store, region: str, moves: Mapping[IPv4Address, int]) -> None:
    """Move addresses between Linodes of one region, all or none."""
    owners = {address: one.linode_id for address, one in store.addresses.items()} | dict(moves)
    involved = {owner for address in moves for owner in (store.addresses[address].linode_id, owners[address]) if owner}
    for address in moves:
        if store.addresses[address].region != region:
            raise invalid(f"{address} is not in the region {region}.", "assignments")
        if store.receivers(address):
            raise invalid(f"{address} is shared and cannot be transferred.", "assignments")
    for linode_id in sorted(involved):
        held = [store.addresses[address] for address, owner in owners.items() if owner == linode_id]
        if store.linode_named(linode_id, "assignments").region != region:
            raise invalid(f"Linode {linode_id} is not in the region {region}.", "assignments")
        if not any(one.public for one in held):
            raise invalid(f"Linode {linode_id} must keep at least one public IPv4 address.", "assignments")
        if sum(not one.public for one in held) > 1:
            raise invalid(f"Linode {linode_id} can have no more than one private IPv4 address.", "assignments")
    for address, linode_id in moves.items():
        linode = store.linodes[linode_id]
        changed = replace(store.addresses[address], linode_id=linode_id, interface_id=_public_interface(linode))
        store.addresses[address] = changed
        store.add_event("linode_addip", entity_of(linode), message=str(address))
