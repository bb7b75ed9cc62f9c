"""Operations on addresses, IP Sharing and VLANs across the whole account."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

from natpair_lab.emulator import addresses, interfaces, views
from natpair_lab.emulator.fields import Fields
from natpair_lab.emulator.model import Address
from natpair_lab.emulator.refused import Complaint, Refused, invalid, not_found
from natpair_lab.emulator.routes_linodes import check_ipv4
from natpair_lab.emulator.routing import (
    IPS_READ,
    IPS_WRITE,
    LINODES_READ,
    LINODES_WRITE,
    Call,
    delete,
    get,
    listing,
    post,
    put,
)
from natpair_lab.emulator.views import Json


def _address(call: Call) -> Address:
    try:
        return addresses.find(call.store, call.params["address"], "address")
    except Refused:
        raise not_found() from None


def _items(call: Call) -> list[Json]:
    store = call.store
    slaac = [
        views.ipv6(one, one.slaac, public=True) for one in store.linodes.values() if store.owned(one.id, public=True)
    ]
    return [views.address(store, one) for one in store.addresses.values()] + slaac


def _allocate(call: Call) -> Json:
    store, body = call.store, call.body
    check_ipv4(body)
    public, reserved = body.flag("public"), body.flag("reserved") or False
    linode_id, region = body.integer("linode_id"), body.text("region")
    if public is None:
        raise body.missing("public")
    if reserved and not public:
        raise body.wrong("public", "must be true for a reserved address")
    if linode_id is None:
        if not reserved:
            raise body.missing("linode_id")
        return views.address(store, addresses.reserve(store, body.required_text("region")))
    linode = store.linode_named(linode_id, "linode_id")
    _check_grant(call, linode_id)
    if region is not None and region != linode.region:
        raise body.wrong("region", "must be the region of the Linode")
    return views.address(store, addresses.allocate(store, linode, public=public, reserved=reserved))


def _check_grant(call: Call, linode_id: int) -> None:
    if linode_id in call.read_only:
        raise Refused(403, Complaint("Unauthorized"))


def _update(call: Call) -> Json:
    address, body = _address(call), call.body
    reserved = body.flag("reserved")
    changed = replace(address, rdns=body.text("rdns") if body.has("rdns") else address.rdns)
    if reserved is True:
        changed = replace(changed, reserved=True)
    call.store.addresses[address.address] = changed
    if reserved is False and address.reserved:
        addresses.unreserve(call.store, changed)
    return views.address(call.store, call.store.addresses.get(address.address, replace(changed, reserved=False)))


def _share(call: Call) -> Json:
    body = call.body
    receiver = call.store.linode_named(body.required_integer("linode_id"), "linode_id")
    _check_grant(call, receiver.id)
    texts = body.texts("ips")
    if texts is None:
        raise body.missing("ips")
    addresses.share(call.store, receiver, addresses.shareable(call.store, receiver, texts))
    return {}


def _assign(call: Call) -> Json:
    body = call.body
    region = addresses.known_region(body.required_text("region"))
    items = body.children("assignments")
    if items is None:
        raise body.missing("assignments")
    moves: dict[IPv4Address, int] = {}
    for item in items:
        address = addresses.find(call.store, _plain(item), "assignments.address").address
        if address in moves:
            raise invalid(f"{address} is assigned twice.", "assignments.address")
        moves[address] = item.required_integer("linode_id")
        call.store.linode_named(moves[address], "assignments")
        _check_grant(call, moves[address])
    addresses.assign(call.store, region, moves)
    return {}


def _plain(item: Fields) -> str:
    text = item.required_text("address")
    if ":" in text:
        raise invalid("IPv6 ranges are not available here: this is natpair's emulator.", "assignments.address")
    return text


def _reserved_items(call: Call) -> list[Json]:
    return [views.address(call.store, one) for one in call.store.addresses.values() if one.reserved]


def _reserved(call: Call) -> Address:
    address = _address(call)
    if not address.reserved:
        raise not_found()
    return address


def _reserve(call: Call) -> Json:
    tags = call.body.texts("tags") or ()
    return views.address(call.store, addresses.reserve(call.store, call.body.required_text("region"), tags))


def _tag(call: Call) -> Json:
    address = _reserved(call)
    changed = replace(address, tags=call.body.texts("tags") or ())
    call.store.addresses[address.address] = changed
    return views.address(call.store, changed)


def _unreserve(call: Call) -> Json:
    addresses.unreserve(call.store, _reserved(call))
    return {}


def _vlans(call: Call) -> list[Json]:
    regions = dict.fromkeys(region for region, _ in call.store.vlans)
    members = {region: interfaces.vlan_members(call.store, region) for region in regions}
    return [
        {
            "region": region,
            "label": label,
            "linodes": members[region].get(label, []),
            "created": views.when(since),
        }
        for (region, label), since in call.store.vlans.items()
    ]


def _delete_vlan(call: Call) -> Json:
    key = (call.params["regionId"], call.params["label"])
    if key not in call.store.vlans:
        raise not_found()
    if interfaces.vlan_members(call.store, key[0]).get(key[1]):
        raise invalid("The VLAN still has Linodes attached to it.")
    del call.store.vlans[key]
    return {}


_FILTERS = "address interface_id linode_id public rdns region reserved type"

ROUTES = (
    listing("/networking/ips", IPS_READ, _items, _FILTERS),
    post("/networking/ips", IPS_WRITE, _allocate),
    post("/networking/ips/share", IPS_WRITE, _share),
    post("/networking/ipv4/share", IPS_WRITE, _share),
    post("/networking/ips/assign", IPS_WRITE, _assign),
    post("/networking/ipv4/assign", IPS_WRITE, _assign),
    get("/networking/ips/{address}", IPS_READ, lambda call: views.address(call.store, _address(call))),
    put("/networking/ips/{address}", IPS_WRITE, _update),
    # None are emulated, but whoever shares addresses asks whether there are any.
    listing("/networking/ipv6/ranges", IPS_READ, lambda _: []),
    listing("/networking/reserved/ips", IPS_READ, _reserved_items, _FILTERS + " tags"),
    post("/networking/reserved/ips", IPS_WRITE, _reserve),
    get("/networking/reserved/ips/{address}", IPS_READ, lambda call: views.address(call.store, _reserved(call))),
    put("/networking/reserved/ips/{address}", IPS_WRITE, _tag),
    delete("/networking/reserved/ips/{address}", IPS_WRITE, _unreserve),
    listing("/networking/vlans", LINODES_READ, _vlans, "label region"),
    delete("/networking/vlans/{regionId}/{label}", LINODES_WRITE, _delete_vlan),
)
