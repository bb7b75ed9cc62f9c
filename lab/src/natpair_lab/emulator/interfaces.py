"""Network interfaces as requests state them, in both generations, and the VLANs they bring into being.

Legacy interfaces live in a configuration profile (`purpose`, `label`, `ipam_address`) and are restated as a whole;
Linode interfaces live on the Linode, each with exactly one of `public`, `vlan`, `vpc`. VPCs are not emulated.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface
from typing import TypeVar

from natpair_lab.emulator.catalogue import REGIONS
from natpair_lab.emulator.fields import Fields
from natpair_lab.emulator.model import Generation, Interface, Linode, Purpose
from natpair_lab.emulator.refused import invalid
from natpair_lab.emulator.state import Store, mac_of

_VLAN_LABEL = re.compile(r"[A-Za-z0-9-]{1,64}")
NO_FIREWALL = -1
_NO_VPC = "VPC interfaces are not available here: this is natpair's emulator, which has no VPCs."


@dataclass(frozen=True, slots=True)
class Wanted:
    """An interface that a request asks for, checked but not yet made.

    `addresses` are the public IPv4 addresses of a Linode interface, `auto` for one from the pool.
    """

    purpose: Purpose
    vlan_label: str = ""
    ipam_address: str = ""
    primary: bool = False
    addresses: tuple[str, ...] = ()
    firewall_id: int | None = None
    route_v4: bool | None = None
    route_v6: bool | None = None


def parse_all(items: Sequence[Fields], generation: Generation, limit: int) -> tuple[Wanted, ...]:
    """Read a list of interfaces and check it as a whole: number, order, no VLAN twice."""
    if len(items) > limit:
        raise invalid(f"A Linode can have no more than {limit} interfaces.", "interfaces")
    read = parse_legacy if generation is Generation.LEGACY else parse_linode
    wanted = tuple(read(item) for item in items)
    check_together(wanted, generation)
    return wanted


def check_together(wanted: Sequence[Wanted | Interface], generation: Generation) -> None:
    """What holds for all interfaces of a Linode at once."""
    labels = [one.vlan_label for one in wanted if one.purpose is Purpose.VLAN]
    if len(labels) != len(set(labels)):
        raise invalid("A Linode can be attached to a VLAN only once.", "interfaces")
    public = [index for index, one in enumerate(wanted) if one.purpose is Purpose.PUBLIC]
    if len(public) > 1:
        raise invalid("A Linode can have only one public interface.", "interfaces")
    if generation is Generation.LEGACY and public and public[0] != 0:
        raise invalid("The public interface must be the first, eth0.", "interfaces")


def parse_legacy(item: Fields) -> Wanted:
    """`{"purpose", "label", "ipam_address", "primary"}`."""
    purpose = item.required_text("purpose")
    label, ipam = item.text("label") or "", item.text("ipam_address") or ""
    primary = item.flag("primary") or False
    if purpose == "vpc":
        raise item.wrong("purpose", f"is not supported. {_NO_VPC}")
    if purpose == Purpose.PUBLIC:
        if label or ipam:
            raise item.wrong("label" if label else "ipam_address", "must be empty for a public interface")
        return Wanted(Purpose.PUBLIC, primary=primary)
    if purpose != Purpose.VLAN:
        raise item.wrong("purpose", "must be one of public, vlan, vpc")
    if primary:
        raise item.wrong("primary", "must be false for a VLAN interface")
    label = _vlan_label(item, "label")
    if "--" in label:
        raise item.wrong("label", "must not contain two hyphens in a row")
    return Wanted(Purpose.VLAN, label, _ipam(item, ipam))


def parse_linode(item: Fields) -> Wanted:
    """`{"public": {…}}` or `{"vlan": {"vlan_label", "ipam_address"}}`, with `firewall_id` and `default_route`."""
    public, vlan, vpc = item.child("public"), item.child("vlan"), item.child("vpc")
    if vpc is not None:
        raise item.wrong("vpc", f"is not supported. {_NO_VPC}")
    if (public is None) == (vlan is None):
        raise invalid("Exactly one of public, vlan and vpc must be given.", item.prefix.rstrip("."))
    route = item.child("default_route") or Fields()
    v4, v6 = route.flag("ipv4"), route.flag("ipv6")
    firewall_id = item.integer("firewall_id")
    if vlan is not None:
        if firewall_id is not None:
            raise item.wrong("firewall_id", "cannot be given for a VLAN interface")
        if v4 or v6:
            raise item.wrong("default_route", "cannot be a VLAN interface")
        ipam = _ipam(vlan, vlan.text("ipam_address") or "")
        return Wanted(Purpose.VLAN, _vlan_label(vlan, "vlan_label"), ipam)
    addresses = public_addresses(public, otherwise=("auto",)) if public else ("auto",)
    return Wanted(Purpose.PUBLIC, addresses=addresses, firewall_id=firewall_id, route_v4=v4, route_v6=v6)


Otherwise = TypeVar("Otherwise", tuple[str, ...], None)


def public_addresses(public: Fields, *, otherwise: Otherwise) -> tuple[str, ...] | Otherwise:
    """The public IPv4 addresses that a request states, `auto` for new ones; `otherwise` if it states none."""
    ipv6 = public.child("ipv6") or Fields()
    if ipv6.children("ranges"):
        raise public.wrong("ipv6", "ranges are not available here: this is natpair's emulator")
    ipv4 = public.child("ipv4") or Fields()
    items = ipv4.children("addresses")
    if items is None:
        return otherwise
    if sum(item.flag("primary") or False for item in items) > 1:
        raise ipv4.wrong("addresses", "can have only one primary address")
    stated = tuple("auto" if (text := item.text("address")) is None else text for item in items)
    if "" in stated:
        raise ipv4.wrong("addresses", "must not be empty")
    return stated


def _vlan_label(item: Fields, name: str) -> str:
    label = item.required_text(name)
    if not _VLAN_LABEL.fullmatch(label):
        raise item.wrong(name, "must be 1 to 64 letters, digits and hyphens")
    return label


def _ipam(item: Fields, text: str) -> str:
    if text:
        try:
            IPv4Interface(text)
        except ValueError:
            raise item.wrong("ipam_address", "must be an IPv4 address with a prefix length") from None
        if "/" not in text:
            raise item.wrong("ipam_address", "must be an IPv4 address with a prefix length")
    return text


def check_vlans(store: Store, region: str, labels: Iterable[str]) -> None:
    """400 if the region has no VLANs, or not enough of them."""
    wanted = set(labels)
    if wanted and "Vlans" not in REGIONS[region].capabilities:
        raise invalid(f"VLANs are not available in the region {region}.", "interfaces")
    there = set(vlan_members(store, region))
    if len(there | wanted) > store.policy.vlans_per_region:
        limit = store.policy.vlans_per_region
        raise invalid(f"You have reached the limit of {limit} VLANs in the region {region}.", "interfaces")


def vlan_members(store: Store, region: str) -> dict[str, list[int]]:
    """Which Linodes each VLAN of a region has; a VLAN is there as long as an interface names it."""
    members: dict[str, list[int]] = {}
    for linode in store.linodes.values():
        if linode.region == region:
            for label in sorted(vlan_labels(store, linode)):
                members.setdefault(label, []).append(linode.id)
    return members


def vlan_labels(store: Store, linode: Linode) -> set[str]:
    """The VLANs that a Linode names, in any of its profiles."""
    listed = [config.interfaces for config in store.configs_of(linode.id)] + [linode.interfaces]
    return {one.vlan_label for interfaces in listed for one in interfaces if one.purpose is Purpose.VLAN}


def make(store: Store, wanted: Wanted) -> Interface:
    """Give a checked interface its identity and MAC address."""
    number = store.next_id()
    return Interface(
        id=number,
        purpose=wanted.purpose,
        vlan_label=wanted.vlan_label,
        ipam_address=wanted.ipam_address,
        primary=wanted.primary,
        mac=mac_of(number),
        created=store.now,
        updated=store.now,
    )


def note_vlans(store: Store, region: str) -> None:
    """Remember since when each VLAN is there, and forget those that nobody names any more."""
    there = vlan_members(store, region)
    for label in there:
        store.vlans.setdefault((region, label), store.now)
    store.vlans = {key: since for key, since in store.vlans.items() if key[0] != region or key[1] in there}
