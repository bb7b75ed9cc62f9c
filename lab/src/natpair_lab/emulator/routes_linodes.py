"""Operations on Linodes: create, read, change, delete, power, and the addresses of one Linode."""

from __future__ import annotations

from dataclasses import replace

from natpair_lab.emulator import addresses, firewalls, lifecycle, linodes, views, views_firewall
from natpair_lab.emulator.fields import Fields
from natpair_lab.emulator.model import Linode
from natpair_lab.emulator.refused import Complaint, Refused
from natpair_lab.emulator.routing import LINODES_READ, LINODES_WRITE, Call, delete, get, listing, post, put
from natpair_lab.emulator.views import Json


def readable(call: Call) -> Linode:
    """The Linode that the path names."""
    return call.store.linode(call.number("linodeId"))


def writable(call: Call) -> Linode:
    """The Linode that the path names, if the user may change it."""
    linode = readable(call)
    if linode.id in call.read_only:
        raise Refused(403, Complaint("Unauthorized"))
    return linode


def _items(call: Call) -> list[Json]:
    return [views.linode(call.store, one) for one in call.store.linodes.values()]


def _create(call: Call) -> Json:
    order = linodes.read_order(call.store, call.body)
    return views.linode(call.store, linodes.create(call.store, order))


def _update(call: Call) -> Json:
    return views.linode(call.store, linodes.update(call.store, writable(call), call.body))


def _delete(call: Call) -> Json:
    linodes.delete(call.store, writable(call))
    return {}


def _rebuild(call: Call) -> Json:
    return views.linode(call.store, linodes.rebuild(call.store, writable(call), call.body))


def _boot(call: Call) -> Json:
    _config_id(call)
    lifecycle.boot(call.store, writable(call))
    return {}


def _reboot(call: Call) -> Json:
    _config_id(call)
    lifecycle.reboot(call.store, writable(call))
    return {}


def _config_id(call: Call) -> None:
    wanted = call.body.integer("config_id")
    if wanted is not None and wanted not in {one.id for one in call.store.configs_of(readable(call).id)}:
        raise call.body.wrong("config_id", "is not valid")


def _shutdown(call: Call) -> Json:
    lifecycle.shutdown(call.store, writable(call))
    return {}


def _ips(call: Call) -> Json:
    return views.ips(call.store, readable(call))


def _add_ip(call: Call) -> Json:
    linode, body = writable(call), call.body
    check_ipv4(body)
    public = body.flag("public")
    if public is None:
        raise body.missing("public")
    reserved = body.text("address")
    if reserved is not None:
        return views.address(call.store, addresses.attach_reserved(call.store, linode, reserved))
    return views.address(call.store, addresses.allocate(call.store, linode, public=public))


def check_ipv4(body: Fields) -> None:
    """The field `type` must say ipv4: no other addresses are handed out one by one."""
    if body.required_text("type") != "ipv4":
        raise body.wrong("type", "must be ipv4")


def _ip(call: Call) -> Json:
    linode, text = readable(call), call.params["address"]
    if text == str(linode.slaac) and call.store.owned(linode.id, public=True):
        return views.ipv6(linode, linode.slaac, public=True)
    return views.address(call.store, addresses.of_linode(call.store, linode, text))


def _update_ip(call: Call) -> Json:
    linode = writable(call)
    address = addresses.of_linode(call.store, linode, call.params["address"])
    changed = replace(address, rdns=call.body.text("rdns"))
    call.store.addresses[address.address] = changed
    return views.address(call.store, changed)


def _delete_ip(call: Call) -> Json:
    addresses.release(call.store, writable(call), call.params["address"])
    return {}


def _firewalls(call: Call) -> list[Json]:
    found = firewalls.of_linode(call.store, readable(call).id)
    return [views_firewall.firewall(call.store, one) for one in found]


def _disks(call: Call) -> list[Json]:
    readable(call)
    return []


def _transfer(call: Call) -> Json:
    linode = readable(call)
    return {"billable": 0, "quota": views.linode(call.store, linode)["specs"]["transfer"], "used": 0}


_ONE = "/linode/instances/{linodeId}"

ROUTES = (
    listing(
        "/linode/instances",
        LINODES_READ,
        _items,
        "group id image interface_generation ipv4 label placement_group.label placement_group.placement_group_type "
        "region tags",
    ),
    post("/linode/instances", LINODES_WRITE, _create),
    get(_ONE, LINODES_READ, lambda call: views.linode(call.store, readable(call))),
    put(_ONE, LINODES_WRITE, _update),
    delete(_ONE, LINODES_WRITE, _delete),
    post(f"{_ONE}/rebuild", LINODES_WRITE, _rebuild),
    post(f"{_ONE}/boot", LINODES_WRITE, _boot),
    post(f"{_ONE}/reboot", LINODES_WRITE, _reboot),
    post(f"{_ONE}/shutdown", LINODES_WRITE, _shutdown),
    get(f"{_ONE}/ips", LINODES_READ, _ips),
    post(f"{_ONE}/ips", LINODES_WRITE, _add_ip),
    get(f"{_ONE}/ips/{{address}}", LINODES_READ, _ip),
    put(f"{_ONE}/ips/{{address}}", LINODES_WRITE, _update_ip),
    delete(f"{_ONE}/ips/{{address}}", LINODES_WRITE, _delete_ip),
    listing(f"{_ONE}/firewalls", LINODES_READ, _firewalls, "created id label tags updated"),
    listing(f"{_ONE}/disks", LINODES_READ, _disks, "label size"),
    listing(f"{_ONE}/volumes", LINODES_READ, _disks, "label tags"),
    get(f"{_ONE}/transfer", LINODES_READ, _transfer),
)
