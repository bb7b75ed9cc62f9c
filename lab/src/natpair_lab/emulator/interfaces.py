"""Linode interfaces, the newer generation: stored on the Linode, each exactly one of `public`, `vlan`, `vpc`.

Also the VLANs, which exist as long as an interface of either generation names them. VPCs are not emulated.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Interface
from typing import Annotated

from pydantic import AfterValidator, Field

from natpair_lab.emulator import addresses, firewalls, lifecycle
from natpair_lab.emulator.account import when
from natpair_lab.emulator.body import Body, FirewallId, Json, Many, read
from natpair_lab.emulator.model import DeviceType, Firewall, Generation, Interface, Linode, Purpose, Status
from natpair_lab.emulator.platform import REGIONS
from natpair_lab.emulator.refused import invalid, not_found
from natpair_lab.emulator.routing import LINODES_READ, LINODES_WRITE, Call, delete, get, listing, post, put
from natpair_lab.emulator.state import Store, mac_of

NO_VPC = "VPC interfaces are not available here: this is natpair's emulator, which has no VPCs."


def _address_with_length(text: str) -> str:
    if text and ("/" not in text or IPv4Interface(text).is_multicast):
        raise ValueError("must be an IPv4 address with a prefix length")
    return text


Ipam = Annotated[str, AfterValidator(_address_with_length)]


class _Address(Body):
    address: Annotated[str, Field(min_length=1)] = "auto"
    primary: bool = False


class _Ipv4(Body):
    addresses: list[_Address] | None = None


class _Ipv6(Body):
    ranges: Many[Json] = ()


class _Public(Body):
    ipv4: _Ipv4 = _Ipv4()
    ipv6: _Ipv6 = _Ipv6()

    def stated(self, place: str) -> tuple[str, ...] | None:
        """The IPv4 addresses, `auto` for new ones; None if the request has none."""
        if self.ipv6.ranges:
            raise invalid("ranges are not available here: this is natpair's emulator", f"{place}.ipv6")
        if self.ipv4.addresses is None:
            return None
        if sum(one.primary for one in self.ipv4.addresses) > 1:
            raise invalid("addresses can have only one primary address", f"{place}.ipv4.addresses")
        return tuple(one.address for one in self.ipv4.addresses)


class _Vlan(Body):
    vlan_label: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-zA-Z0-9-]+\Z")]
    ipam_address: Ipam = ""


class _Routes(Body):
    ipv4: bool | None = None
    ipv6: bool | None = None


class _Stated(Body):
    public: _Public | None = None
    vlan: _Vlan | None = None
    vpc: Json | None = None
    default_route: _Routes = _Routes()
    firewall_id: FirewallId | None = None


class _Settled(Body):
    ipv4_interface_id: int | None = None
    ipv6_interface_id: int | None = None


class _Settings(Body):
    network_helper: bool | None = None
    default_route: _Settled = _Settled()


@dataclass(frozen=True, slots=True)
class Wanted:
    """An interface that a request asks for: checked, but not yet made.

    `addresses` are the public IPv4 addresses of a Linode interface, `auto` for one from the pool.
    """

    purpose: Purpose
    vlan_label: str = ""
    ipam_address: str = ""
    primary: bool = False
    addresses: tuple[str, ...] = ()
    firewall: Firewall | None = None
    route_v4: bool | None = None
    route_v6: bool | None = None


def wanted(store: Store, given: Json, place: str = "") -> Wanted:
    """Parse one Linode interface."""
    stated, dot = read(_Stated, given, place), f"{place}." if place else ""
    if stated.vpc is not None:
        raise invalid(f"vpc is not supported. {NO_VPC}", f"{dot}vpc")
    if (stated.public is None) == (stated.vlan is None):
        raise invalid("Exactly one of public, vlan and vpc must be given.", place)
    v4, v6 = stated.default_route.ipv4, stated.default_route.ipv6
    if stated.vlan is not None:
        if stated.firewall_id is not None:
            raise invalid("firewall_id cannot be given for a VLAN interface", f"{dot}firewall_id")
        if v4 or v6:
            raise invalid("default_route cannot be a VLAN interface", f"{dot}default_route")
        return Wanted(Purpose.VLAN, stated.vlan.vlan_label, stated.vlan.ipam_address)
    named = stated.public.stated(f"{dot}public") if stated.public else None
    firewall = firewalls.wanted(store, stated.firewall_id, f"{dot}firewall_id", needed=True)
    return Wanted(
        Purpose.PUBLIC,
        addresses=("auto",) if named is None else named,
        firewall=firewall,
        route_v4=v4,
        route_v6=v6,
    )


def check_together(store: Store, all_of: Sequence[Wanted | Interface], region: str, generation: Generation) -> None:
    """Check what must hold for all interfaces of a Linode together."""
    limit = store.policy.interfaces_per_linode
    if len(all_of) > limit:
        raise invalid(f"A Linode can have no more than {limit} interfaces.", "interfaces")
    labels = [one.vlan_label for one in all_of if one.purpose is Purpose.VLAN]
    if len(labels) != len(set(labels)):
        raise invalid("A Linode can be attached to a VLAN only once.", "interfaces")
    public = [index for index, one in enumerate(all_of) if one.purpose is Purpose.PUBLIC]
    if len(public) > 1:
        raise invalid("A Linode can have only one public interface.", "interfaces")
    if generation is Generation.LEGACY and public and public[0] != 0:
        raise invalid("The public interface must be the first, eth0.", "interfaces")
    _check_vlans(store, region, labels)


def _check_vlans(store: Store, region: str, labels: Iterable[str]) -> None:
    asked = set(labels)
    if asked and "Vlans" not in REGIONS[region].capabilities:
        raise invalid(f"VLANs are not available in the region {region}.", "interfaces")
    limit = store.policy.vlans_per_region
    if len(set(vlan_members(store, region)) | asked) > limit:
        raise invalid(f"You have reached the limit of {limit} VLANs in the region {region}.", "interfaces")


def vlan_members(store: Store, region: str) -> dict[str, list[int]]:
    """The Linodes in each VLAN of a region. A VLAN exists as long as an interface names it."""
    members: dict[str, list[int]] = {}
    for linode in store.linodes.values():
        if linode.region == region:
            listed = [config.interfaces for config in store.configs_of(linode.id)] + [linode.interfaces]
            for label in sorted({one.vlan_label for some in listed for one in some if one.purpose is Purpose.VLAN}):
                members.setdefault(label, []).append(linode.id)
    return members


def note_vlans(store: Store, region: str) -> None:
    """Record since when each VLAN exists, and remove those that no interface names any more."""
    there = vlan_members(store, region)
    for label in there:
        store.vlans.setdefault((region, label), store.now)
    store.vlans = {key: since for key, since in store.vlans.items() if key[0] != region or key[1] in there}


def make(store: Store, one: Wanted) -> Interface:
    """Give a checked interface its id and MAC address."""
    number = store.next_id()
    return Interface(
        id=number,
        purpose=one.purpose,
        vlan_label=one.vlan_label,
        ipam_address=one.ipam_address,
        primary=one.primary,
        mac=mac_of(number),
        created=store.now,
        updated=store.now,
    )


def plug_in(store: Store, linode: Linode, asked: Sequence[Wanted], addresses_of: Sequence[str] = ()) -> None:
    """Add interfaces to a Linode, with their addresses and firewalls; `addresses_of` replaces their own addresses."""
    for one in asked:
        made = make(store, one)
        linode = replace(linode, interfaces=(*linode.interfaces, made), updated=store.now)
        if one.purpose is Purpose.PUBLIC:
            v4 = linode.default_route_v4 if one.route_v4 is False else made.id
            v6 = linode.default_route_v6 if one.route_v6 is False else made.id
            linode = replace(linode, default_route_v4=v4, default_route_v6=v6)
        store.linodes[linode.id] = linode
        if one.purpose is Purpose.PUBLIC:
            addresses.give(store, linode, addresses_of or one.addresses)
        if one.firewall is not None:
            firewalls.attach(store, one.firewall, DeviceType.INTERFACE, made.id, linode)
    note_vlans(store, linode.region)


def _modern(linode: Linode) -> Linode:
    if linode.generation is not Generation.LINODE:
        raise invalid("This Linode uses legacy configuration interfaces.")
    return linode


def _require_off(linode: Linode) -> None:
    lifecycle.require_settled(linode)
    if linode.status is not Status.OFFLINE:
        raise invalid("The Linode must be powered off before its interfaces can be changed.")


def _interface(call: Call, linode: Linode) -> Interface:
    number = call.number("interfaceId")
    for one in linode.interfaces:
        if one.id == number:
            return one
    raise not_found()


def _add(call: Call) -> Json:
    store, linode = call.store, _modern(call.own_linode())
    asked = wanted(store, call.body)
    _require_off(linode)
    check_together(store, (*linode.interfaces, asked), linode.region, Generation.LINODE)
    before = (linode, dict(store.addresses))
    try:
        plug_in(store, linode, [asked])
    except BaseException:
        store.linodes[linode.id], store.addresses = before
        raise
    return _view(store, store.linodes[linode.id], store.linodes[linode.id].interfaces[-1])


def _update(call: Call) -> Json:
    store, linode = call.store, _modern(call.own_linode())
    one, stated = _interface(call, linode), call.read(_Stated)
    if stated.vpc is not None or (stated.vlan if one.purpose is Purpose.PUBLIC else stated.public) is not None:
        raise invalid(f"This is a {one.purpose} interface, and stays one.")
    changed = replace(one, version=one.version + 1, updated=store.now)
    if stated.vlan is not None:
        changed = replace(changed, vlan_label=stated.vlan.vlan_label, ipam_address=stated.vlan.ipam_address)
    if (stated.default_route.ipv4 or stated.default_route.ipv6) and one.purpose is Purpose.VLAN:
        raise invalid("A VLAN interface cannot be a default route.", "default_route")
    all_of = [changed if given.id == one.id else given for given in linode.interfaces]
    check_together(store, all_of, linode.region, Generation.LINODE)
    named = stated.public.stated("public") if stated.public else None
    if stated.public is not None or stated.vlan is not None:
        _require_off(linode)
    if named is not None:
        addresses.restate(store, linode, named, "public.ipv4.addresses")
    v4 = one.id if stated.default_route.ipv4 else linode.default_route_v4
    v6 = one.id if stated.default_route.ipv6 else linode.default_route_v6
    linode = replace(linode, interfaces=tuple(all_of), default_route_v4=v4, default_route_v6=v6, updated=store.now)
    store.linodes[linode.id] = linode
    note_vlans(store, linode.region)
    return _view(store, linode, changed)


def _delete(call: Call) -> None:
    store, linode = call.store, _modern(call.own_linode())
    gone = _interface(call, linode)
    _require_off(linode)
    left = tuple(given for given in linode.interfaces if given.id != gone.id)
    v4 = None if linode.default_route_v4 == gone.id else linode.default_route_v4
    v6 = None if linode.default_route_v6 == gone.id else linode.default_route_v6
    store.linodes[linode.id] = replace(linode, interfaces=left, default_route_v4=v4, default_route_v6=v6)
    for address in store.owned(linode.id, public=True) if gone.purpose is Purpose.PUBLIC else ():
        addresses.drop(store, address)
    behind = (DeviceType.INTERFACE, gone.id)
    store.devices = {key: one for key, one in store.devices.items() if (one.type, one.entity_id) != behind}
    note_vlans(store, linode.region)


def _change_settings(call: Call) -> Json:
    linode, asked = _modern(call.own_linode()), call.read(_Settings)
    eligible = [one.id for one in linode.interfaces if one.purpose is Purpose.PUBLIC]
    v4, v6 = asked.default_route.ipv4_interface_id, asked.default_route.ipv6_interface_id
    for name, value in (("ipv4_interface_id", v4), ("ipv6_interface_id", v6)):
        if value is not None and value not in eligible:
            raise invalid(f"{name} is not an eligible interface", f"default_route.{name}")
    changed = replace(
        linode,
        network_helper=linode.network_helper if asked.network_helper is None else asked.network_helper,
        default_route_v4=linode.default_route_v4 if v4 is None else v4,
        default_route_v6=linode.default_route_v6 if v6 is None else v6,
    )
    call.store.linodes[linode.id] = changed
    return _settings(changed)


def _view(store: Store, holder: Linode, one: Interface) -> Json:
    public = one.purpose is Purpose.PUBLIC
    return {
        "id": one.id,
        "mac_address": one.mac,
        "created": when(one.created),
        "updated": when(one.updated),
        "version": one.version,
        "default_route": {
            "ipv4": holder.default_route_v4 == one.id,
            "ipv6": holder.default_route_v6 == one.id,
        },
        "public": _public_part(store, holder) if public else None,
        "vlan": None if public else {"vlan_label": one.vlan_label, "ipam_address": one.ipam_address or None},
        "vpc": None,
        "rdma_vpc": None,
    }


def _public_part(store: Store, holder: Linode) -> Json:
    owned = store.owned(holder.id, public=True)
    shared = store.shares.get(holder.id, ())
    return {
        "ipv4": {
            "addresses": [{"address": str(one.address), "primary": one == owned[0]} for one in owned],
            "shared": [{"address": str(one), "linode_id": store.addresses[one].linode_id} for one in shared],
        },
        "ipv6": {"slaac": [{"address": str(holder.slaac), "prefix": 64}], "ranges": [], "shared": []},
    }


def _settings(holder: Linode) -> Json:
    eligible = [one.id for one in holder.interfaces if one.purpose is Purpose.PUBLIC]
    return {
        "network_helper": holder.network_helper,
        "default_route": {
            "ipv4_interface_id": holder.default_route_v4,
            "ipv4_eligible_interface_ids": eligible,
            "ipv6_interface_id": holder.default_route_v6,
            "ipv6_eligible_interface_ids": eligible,
        },
    }


def _all(call: Call) -> Json:
    linode = _modern(call.linode())
    return {"interfaces": [_view(call.store, linode, one) for one in linode.interfaces]}


def _vlans(call: Call) -> list[Json]:
    regions = dict.fromkeys(region for region, _ in call.store.vlans)
    members = {region: vlan_members(call.store, region) for region in regions}
    return [
        {"region": region, "label": label, "linodes": members[region].get(label, []), "created": when(since)}
        for (region, label), since in call.store.vlans.items()
    ]


_ALL = "/linode/instances/{linodeId}/interfaces"

ROUTES = (
    get(_ALL, LINODES_READ, _all),
    post(_ALL, LINODES_WRITE, _add),
    get(f"{_ALL}/settings", LINODES_READ, lambda call: _settings(_modern(call.linode()))),
    put(f"{_ALL}/settings", LINODES_WRITE, _change_settings),
    put(f"{_ALL}/{{interfaceId}}", LINODES_WRITE, _update),
    delete(f"{_ALL}/{{interfaceId}}", LINODES_WRITE, _delete),
    listing("/networking/vlans", LINODES_READ, _vlans, "label region"),
)
