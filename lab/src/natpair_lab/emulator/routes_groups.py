"""Operations on placement groups and Cloud Firewalls."""

from __future__ import annotations

from natpair_lab.emulator import firewalls, placement, views, views_firewall
from natpair_lab.emulator.model import Firewall, PlacementGroup
from natpair_lab.emulator.routing import (
    FIREWALL_READ,
    FIREWALL_WRITE,
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


def _group(call: Call) -> PlacementGroup:
    return placement.find(call.store, call.number("groupId"))


def _view(call: Call, group: PlacementGroup) -> Json:
    return views.group(call.store, group)


def _linodes(call: Call) -> tuple[int, ...]:
    linodes = call.body.integers("linodes")
    if linodes is None:
        raise call.body.missing("linodes")
    return linodes


def _delete_group(call: Call) -> Json:
    placement.delete(call.store, _group(call))
    return {}


def _firewall(call: Call) -> Firewall:
    return firewalls.find(call.store, call.number("firewallId"))


def _delete_firewall(call: Call) -> Json:
    firewalls.delete(call.store, _firewall(call))
    return {}


def _devices(call: Call) -> list[Json]:
    firewall = _firewall(call)
    mine = [one for one in call.store.devices.values() if one.firewall_id == firewall.id]
    return [views_firewall.device(call.store, one) for one in mine]


def _device(call: Call) -> Json:
    return views_firewall.device(call.store, firewalls.device(call.store, _firewall(call), call.number("deviceId")))


def _delete_device(call: Call) -> Json:
    gone = firewalls.device(call.store, _firewall(call), call.number("deviceId"))
    del call.store.devices[gone.id]
    return {}


def _show(call: Call, firewall: Firewall) -> Json:
    return views_firewall.firewall(call.store, firewall)


_ONE = "/placement/groups/{groupId}"
_FW = "/networking/firewalls/{firewallId}"

ROUTES = (
    listing(
        "/placement/groups",
        LINODES_READ,
        lambda call: [_view(call, one) for one in call.store.groups.values()],
        "label placement_group_type region",
    ),
    post("/placement/groups", LINODES_WRITE, lambda call: _view(call, placement.create(call.store, call.body))),
    get(_ONE, LINODES_READ, lambda call: _view(call, _group(call))),
    put(_ONE, LINODES_WRITE, lambda call: _view(call, placement.rename(call.store, _group(call), call.body))),
    delete(_ONE, LINODES_WRITE, _delete_group),
    post(
        f"{_ONE}/assign",
        LINODES_WRITE,
        lambda call: _view(call, placement.assign(call.store, _group(call), _linodes(call))),
    ),
    post(
        f"{_ONE}/unassign",
        LINODES_WRITE,
        lambda call: _view(call, placement.unassign(call.store, _group(call), _linodes(call))),
    ),
    listing(
        "/networking/firewalls",
        FIREWALL_READ,
        lambda call: [_show(call, one) for one in call.store.firewalls.values()],
        "created id label tags updated",
    ),
    post("/networking/firewalls", FIREWALL_WRITE, lambda call: _show(call, firewalls.create(call.store, call.body))),
    get(_FW, FIREWALL_READ, lambda call: _show(call, _firewall(call))),
    put(
        _FW,
        FIREWALL_WRITE,
        lambda call: _show(call, firewalls.update(call.store, _firewall(call), call.body)),
    ),
    delete(_FW, FIREWALL_WRITE, _delete_firewall),
    get(f"{_FW}/rules", FIREWALL_READ, lambda call: views_firewall.rules(_firewall(call).rules)),
    put(
        f"{_FW}/rules",
        FIREWALL_WRITE,
        lambda call: views_firewall.rules(firewalls.replace_rules(call.store, _firewall(call), call.body)),
    ),
    listing(f"{_FW}/devices", FIREWALL_READ, _devices, "created id updated"),
    post(
        f"{_FW}/devices",
        FIREWALL_WRITE,
        lambda call: views_firewall.device(call.store, firewalls.add_device(call.store, _firewall(call), call.body)),
    ),
    get(f"{_FW}/devices/{{deviceId}}", FIREWALL_READ, _device),
    delete(f"{_FW}/devices/{{deviceId}}", FIREWALL_WRITE, _delete_device),
)
