"""IPv4 addresses: allocation, reservation, and IP Sharing.

A share is stated per receiver: one call replaces everything that is shared with that Linode. The owner keeps its
address and need not run. Only the owner and the receivers may announce an address by BGP.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, ip_address
from itertools import chain, islice
from typing import NoReturn

from natpair_lab.emulator.body import Body, Json, Many
from natpair_lab.emulator.model import Address, Generation, Linode, Purpose
from natpair_lab.emulator.platform import known_region
from natpair_lab.emulator.refused import Refused, invalid, not_found
from natpair_lab.emulator.routing import (
    IPS_READ,
    IPS_WRITE,
    LINODES_READ,
    LINODES_WRITE,
    Call,
    delete,
    done,
    get,
    listing,
    post,
)
from natpair_lab.emulator.state import Store, entity_of

_FULL_MASK = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"


class _Allocate(Body):
    type: str
    public: bool
    address: str | None = None
    linode_id: int | None = None
    region: str | None = None
    reserved: bool = False


class _Reserve(Body):
    region: str
    tags: Many[str] = ()


class _Share(Body):
    linode_id: int
    ips: list[str]


def _allocate(call: Call) -> Json:
    store, asked = call.store, call.read(_Allocate)
    _check_type(asked)
    if asked.reserved and not asked.public:
        raise invalid("Cannot reserve a private address.", "public")
    if asked.linode_id is None:
        if not asked.reserved:
            raise invalid("Linode is a required argument when not reserving an IP address.", "linode_id")
        if asked.region is None:
            raise invalid("A datacenter or a Linode must be provided when reserving an address.")
        return view(store, reserve(store, asked.region))
    if asked.linode_id not in store.linodes:
        raise invalid("Linode is not active", "linode_id")
    linode = store.linodes[asked.linode_id]
    call.may_change(linode.id)
    if asked.region not in (None, linode.region):
        raise invalid("Region passed in must match Linode's region.", "region")
    return view(store, _for_linode(store, linode, public=asked.public, reserved=asked.reserved))


def _check_type(asked: _Allocate) -> None:
    if asked.type != "ipv4":
        raise invalid("Only addresses of type ipv4 are currently supported.")


def _allocate_on(call: Call) -> Json:
    linode, asked = call.own_linode(), call.read(_Allocate)
    _check_type(asked)
    if asked.address is None:
        return view(call.store, _for_linode(call.store, linode, public=asked.public))
    if not asked.public:
        raise invalid("Cannot reserve a private address.", "address")
    return view(call.store, attach_reserved(call.store, linode, asked.address))


def _for_linode(store: Store, linode: Linode, *, public: bool, reserved: bool = False) -> Address:
    """Add an address to a Linode. A Linode of the newer generation gets it through its interface instead."""
    if linode.generation is Generation.LINODE:
        raise invalid("IP addresses of a Linode with Linode interfaces are allocated through its interfaces.")
    _check_room(store, linode, public=public)
    address = new_address(store, linode.region, public=public, linode=linode, reserved=reserved)
    store.add_event("linode_addip", entity_of(linode), message=str(address.address))
    return address


def _check_room(store: Store, linode: Linode, *, public: bool) -> None:
    if public and len(store.owned(linode.id, public=True)) >= store.policy.public_ipv4_per_linode:
        _refuse_more()
    if not public and store.owned(linode.id, public=False):
        raise invalid("This Linode already has a private IPv4 address.", "public")


def _refuse_more() -> NoReturn:
    # Recorded for reserved addresses, with the word "Reserved" in it.
    reason = "Additional IPv4 addresses require technical justification.  Please contact support"
    raise invalid(f"{reason} describing your requirement.")


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
    # Start after the last allocated address: if a freed one went to another Linode at once, mistakes would stay hidden.
    later = (host for pool in pools if last is not None and last in pool for host in _hosts(pool) if host > last)
    anywhere = (host for pool in pools for host in _hosts(pool))
    for host in chain(later, anywhere):
        if host not in store.addresses:
            store.last_address[public] = host
            return host
    raise invalid("No IPv4 addresses are available in this region.")


def _hosts(pool: IPv4Network) -> Iterator[IPv4Address]:
    """The addresses of a pool: its /24s without their gateways, which are the first hosts."""
    for network in pool.subnets(new_prefix=max(24, pool.prefixlen)):
        yield from islice(network.hosts(), 1, None)


def _public_interface(linode: Linode) -> int | None:
    return next((one.id for one in linode.interfaces if one.purpose is Purpose.PUBLIC), None)


def give(store: Store, linode: Linode, stated: Sequence[str]) -> None:
    """Public addresses for a new Linode or interface: `auto` for one from the pool, or a reserved one by name."""
    for text in stated:
        if text == "auto":
            new_address(store, linode.region, public=True, linode=linode)
        else:
            attach_reserved(store, linode, text, "ipv4")


def restate(store: Store, linode: Linode, stated: Sequence[str], field: str) -> None:
    """Make `stated` the public addresses of a Linode's public interface: `auto` is a new one, all others are its own.

    Addresses that are not stated return to the pool.
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


def reserve(store: Store, region: str, tags: Sequence[str] = ()) -> Address:
    """Reserve an address without a Linode."""
    address = replace(new_address(store, known_region(region).id, public=True, reserved=True), tags=tuple(tags))
    store.addresses[address.address] = address
    return address


def _reserve(call: Call) -> Json:
    asked = call.read(_Reserve)
    return view(call.store, reserve(call.store, asked.region, asked.tags))


def _unreserve(call: Call) -> None:
    """End a reservation: an assigned address becomes an ordinary one, an unassigned one is released."""
    address = _address(call)
    if not address.reserved:
        raise not_found()
    if address.linode_id is None:
        _forget(call.store, address.address)
    else:
        call.store.addresses[address.address] = replace(address, reserved=False)


def attach_reserved(store: Store, linode: Linode, text: str, field: str = "address") -> Address:
    """Give a reserved, unassigned address of the same region to a Linode."""
    try:
        address = store.addresses.get(IPv4Address(text))
    except AddressValueError:
        raise invalid("Must provide a valid reserved address", field) from None
    if address is None or not address.reserved or address.linode_id is not None:
        raise invalid("Address must be reserved and must be currently unassigned.", field)
    if address.region != linode.region:
        raise invalid("Address must belong to same region as linode.", field)
    _check_room(store, linode, public=True)
    changed = replace(address, linode_id=linode.id, interface_id=_public_interface(linode))
    store.addresses[address.address] = changed
    return changed


def drop(store: Store, address: Address) -> None:
    """Take an address and all its shares from its owner; a reserved address stays on the account."""
    if not address.reserved:
        _forget(store, address.address)
        return
    store.addresses[address.address] = replace(address, linode_id=None, interface_id=None)
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


def _share(call: Call) -> None:
    asked = call.read(_Share)
    receiver = call.store.linode_named(asked.linode_id, "linode_id")
    call.may_change(receiver.id)
    share(call.store, receiver, _shareable_all(call.store, receiver, asked.ips))


def _shareable_all(store: Store, receiver: Linode, texts: Sequence[str]) -> list[IPv4Address]:
    """Check every address that is to be shared with the receiver; each one that cannot be is a separate complaint."""
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
    address = store.addresses.get(parsed)
    if address is None:
        raise invalid(f"{text} does not belong to this account.", field)
    if address.linode_id is None:
        raise invalid(f"{text} is not assigned to a Linode.", field)
    if address.linode_id == receiver.id:
        raise invalid(f"{text} is already assigned to Linode {receiver.id}.", field)
    if address.region != receiver.region:
        raise invalid(f"{text} is not in the region of Linode {receiver.id}.", field)
    return parsed


def share(store: Store, receiver: Linode, addresses: Sequence[IPv4Address]) -> None:
    """Share exactly these addresses with the receiver."""
    wanted = tuple(dict.fromkeys(addresses))
    if wanted == store.shares.get(receiver.id, ()):
        return
    store.shares.pop(receiver.id, None)
    if wanted:
        store.shares[receiver.id] = wanted
    store.tell_shares()


def view(store: Store, one: Address) -> Json:
    """An IPv4 address, as its owner and its receivers see it."""
    interface = store.network_of(one)
    owner = store.linodes.get(one.linode_id) if one.linode_id else None
    return {
        "address": str(one.address),
        "gateway": str(interface.network[1]) if one.public else None,
        "subnet_mask": str(interface.network.netmask),
        "prefix": interface.network.prefixlen,
        "type": "ipv4",
        "public": one.public,
        "rdns": one.rdns,
        "linode_id": one.linode_id,
        "interface_id": one.interface_id,
        "region": one.region,
        "vpc_nat_1_1": None,
        "reserved": one.reserved,
        "assigned_entity": asdict(entity_of(owner)) if owner else None,
        "tags": list(one.tags),
    }


def _of_linode(call: Call) -> Json:
    """All addresses of a Linode by kind; `shared` lists those that it receives from others."""
    store, linode = call.store, call.linode()
    owned = store.owned(linode.id)
    public = [given for given in owned if given.public]
    return {
        "ipv4": {
            "public": [view(store, given) for given in public if not given.reserved],
            "private": [view(store, given) for given in owned if not given.public],
            "shared": [view(store, store.addresses[given]) for given in store.shares.get(linode.id, ())],
            "reserved": [view(store, given) for given in public if given.reserved],
            "vpc": [],
        },
        "ipv6": {
            "slaac": _ipv6(linode, linode.slaac, public=True) if public else None,
            "link_local": _ipv6(linode, _link_local(linode), public=False),
            "global": [],
            "vpc": [],
        },
    }


def _ipv6(one: Linode, given: IPv6Address, *, public: bool) -> Json:
    return {
        "address": str(given),
        "gateway": "fe80::1",
        "subnet_mask": _FULL_MASK,
        "prefix": 64,
        "type": "ipv6",
        "rdns": None,
        "linode_id": one.id,
        "region": one.region,
        "public": public,
        "interface_id": None,
        "reserved": False,
        "tags": [],
    }


def _link_local(one: Linode) -> IPv6Address:
    return IPv6Address((0xFE80 << 112) | (int(one.slaac) & ((1 << 64) - 1)))


def _all(call: Call) -> list[Json]:
    store = call.store
    slaac = [_ipv6(one, one.slaac, public=True) for one in store.linodes.values() if store.owned(one.id, public=True)]
    return [view(store, one) for one in store.addresses.values()] + slaac


def _address(call: Call) -> Address:
    try:
        address = call.store.addresses.get(IPv4Address(call.params["address"]))
    except AddressValueError:
        address = None
    if address is None:
        raise not_found()
    return address


def _no_range(_: Call) -> Json:
    raise not_found()


_FILTERS = "address interface_id linode_id public rdns region reserved type"
_ONE = "/linode/instances/{linodeId}/ips"

ROUTES = (
    get(_ONE, LINODES_READ, _of_linode),
    post(_ONE, LINODES_WRITE, _allocate_on),
    listing("/networking/ips", IPS_READ, _all, _FILTERS),
    post("/networking/ips", IPS_WRITE, _allocate),
    post("/networking/ips/share", IPS_WRITE, done(_share)),
    get("/networking/ips/{address}", IPS_READ, lambda call: view(call.store, _address(call))),
    # None are emulated, but a client that shares addresses asks for them.
    listing("/networking/ipv6/ranges", IPS_READ, lambda _: []),
    get("/networking/ipv6/ranges/{range}", IPS_READ, _no_range),
    listing(
        "/networking/reserved/ips",
        IPS_READ,
        lambda call: [view(call.store, one) for one in call.store.addresses.values() if one.reserved],
        _FILTERS + " tags",
    ),
    post("/networking/reserved/ips", IPS_WRITE, _reserve),
    delete("/networking/reserved/ips/{address}", IPS_WRITE, _unreserve),
)
