"""Operations on configuration profiles, on the interfaces in them, and on Linode interfaces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from natpair_lab.emulator import addresses, firewalls, interfaces, lifecycle, linodes, views, views_firewall
from natpair_lab.emulator.fields import Fields
from natpair_lab.emulator.interfaces import Wanted
from natpair_lab.emulator.model import Config, DeviceType, Generation, Interface, Linode, Purpose, Status
from natpair_lab.emulator.refused import invalid, not_found
from natpair_lab.emulator.routes_linodes import readable, writable
from natpair_lab.emulator.routing import LINODES_READ, LINODES_WRITE, Call, delete, get, listing, post, put
from natpair_lab.emulator.state import Store
from natpair_lab.emulator.views import Json


def _config(call: Call, linode: Linode) -> Config:
    config = call.store.configs.get(call.number("configId"))
    if config is None or config.linode_id != linode.id:
        raise not_found()
    return config


def _legacy(call: Call) -> Linode:
    linode = writable(call)
    if linode.generation is not Generation.LEGACY:
        raise invalid("This Linode uses Linode interfaces, which are not part of a configuration profile.")
    return linode


def _read_interfaces(call: Call, linode: Linode) -> list[Interface] | None:
    items = call.body.children("interfaces")
    if items is None:
        return None
    if items and linode.generation is not Generation.LEGACY:
        raise invalid(
            "This Linode uses Linode interfaces, which are not part of a configuration profile.", "interfaces"
        )
    wanted = interfaces.parse_all(items, Generation.LEGACY, call.store.policy.interfaces_per_linode)
    interfaces.check_vlans(call.store, linode.region, [one.vlan_label for one in wanted if one.vlan_label])
    return [interfaces.make(call.store, one) for one in wanted]


def _label(body: Fields) -> str:
    label = body.required_text("label")
    if not 1 <= len(label) <= 48:
        raise body.wrong("label", "must be between 1 and 48 characters")
    return label


def _helper(body: Fields) -> bool | None:
    return (body.child("helpers") or Fields()).flag("network")


def _add_config(call: Call) -> Json:
    linode = writable(call)
    label, made = _label(call.body), _read_interfaces(call, linode)
    config = linodes.add_config(call.store, linode, label, made or (), _helper(call.body))
    interfaces.note_vlans(call.store, linode.region)
    return views.config(_plain_fields(call, config))


def _plain_fields(call: Call, config: Config) -> Config:
    body = call.body
    memory = body.integer("memory_limit")
    changed = replace(
        config,
        kernel=body.text("kernel") or config.kernel,
        comments=body.text("comments") or config.comments,
        root_device=body.text("root_device") or config.root_device,
        run_level=body.text("run_level") or config.run_level,
        virt_mode=body.text("virt_mode") or config.virt_mode,
        memory_limit=config.memory_limit if memory is None else memory,
        updated=call.store.now,
    )
    call.store.configs[config.id] = changed
    return changed


def _update_config(call: Call) -> Json:
    linode = writable(call)
    config = _config(call, linode)
    label = _label(call.body) if call.body.text("label") is not None else config.label
    helper, made = _helper(call.body), _read_interfaces(call, linode)
    config = replace(
        config,
        label=label,
        network_helper=config.network_helper if helper is None else helper,
        interfaces=config.interfaces if made is None else tuple(made),
    )
    changed = _plain_fields(call, config)
    interfaces.note_vlans(call.store, linode.region)
    return views.config(changed)


def _delete_config(call: Call) -> Json:
    linode = writable(call)
    del call.store.configs[_config(call, linode).id]
    interfaces.note_vlans(call.store, linode.region)
    return {}


def _config_interfaces(call: Call) -> list[Json]:
    # Not a page: the specification has a bare array here, and its clients expect one.
    return [views.legacy_interface(one) for one in _config(call, readable(call)).interfaces]


def _config_interface(call: Call, config: Config) -> Interface:
    number = call.number("interfaceId")
    for one in config.interfaces:
        if one.id == number:
            return one
    raise not_found()


def _set_interfaces(call: Call, linode: Linode, config: Config, made: Sequence[Interface]) -> None:
    interfaces.check_together(made, Generation.LEGACY)
    if len(made) > call.store.policy.interfaces_per_linode:
        raise invalid(f"A Linode can have no more than {call.store.policy.interfaces_per_linode} interfaces.")
    call.store.configs[config.id] = replace(config, interfaces=tuple(made), updated=call.store.now)
    interfaces.note_vlans(call.store, linode.region)


def _add_config_interface(call: Call) -> Json:
    linode = _legacy(call)
    config = _config(call, linode)
    wanted = interfaces.parse_legacy(call.body)
    interfaces.check_vlans(call.store, linode.region, [wanted.vlan_label] if wanted.vlan_label else [])
    made = interfaces.make(call.store, wanted)
    _set_interfaces(call, linode, config, (*config.interfaces, made))
    return views.legacy_interface(made)


def _update_config_interface(call: Call) -> Json:
    linode = _legacy(call)
    config = _config(call, linode)
    one = _config_interface(call, config)
    ipam = call.body.text("ipam_address")
    stated = {
        "purpose": one.purpose.value,
        "label": call.body.text("label") or one.vlan_label or None,
        "ipam_address": one.ipam_address if ipam is None else ipam,
        "primary": call.body.flag("primary"),
    }
    wanted = interfaces.parse_legacy(Fields(stated))
    interfaces.check_vlans(call.store, linode.region, [wanted.vlan_label] if wanted.vlan_label else [])
    changed = replace(one, vlan_label=wanted.vlan_label, ipam_address=wanted.ipam_address, primary=wanted.primary)
    _set_interfaces(call, linode, config, [changed if given.id == one.id else given for given in config.interfaces])
    return views.legacy_interface(changed)


def _delete_config_interface(call: Call) -> Json:
    linode = _legacy(call)
    config = _config(call, linode)
    gone = _config_interface(call, config)
    _set_interfaces(call, linode, config, [one for one in config.interfaces if one.id != gone.id])
    return {}


def _order(call: Call) -> Json:
    linode = _legacy(call)
    config = _config(call, linode)
    ids = call.body.integers("ids")
    if ids is None:
        raise call.body.missing("ids")
    by_id = {one.id: one for one in config.interfaces}
    if sorted(ids) != sorted(by_id):
        raise call.body.wrong("ids", "must name every interface of the profile once")
    _set_interfaces(call, linode, config, [by_id[number] for number in ids])
    return {}


def _modern(linode: Linode) -> Linode:
    if linode.generation is not Generation.LINODE:
        raise invalid("This Linode uses legacy configuration interfaces.")
    return linode


def _interfaces(call: Call) -> Json:
    linode = _modern(readable(call))
    return {"interfaces": [views.linode_interface(call.store, linode, one) for one in linode.interfaces]}


def _interface(call: Call, linode: Linode) -> Interface:
    number = call.number("interfaceId")
    for one in linode.interfaces:
        if one.id == number:
            return one
    raise not_found()


def _view_interface(call: Call) -> Json:
    linode = _modern(readable(call))
    return views.linode_interface(call.store, linode, _interface(call, linode))


def _require_off(linode: Linode) -> None:
    lifecycle.require_settled(linode)
    if linode.status is not Status.OFFLINE:
        raise invalid("The Linode must be powered off before its interfaces can be changed.")


def _add_interface(call: Call) -> Json:
    store, linode = call.store, _modern(writable(call))
    wanted = interfaces.parse_linode(call.body)
    _require_off(linode)
    interfaces.check_together((*linode.interfaces, wanted), Generation.LINODE)
    if len(linode.interfaces) >= store.policy.interfaces_per_linode:
        raise invalid(f"A Linode can have no more than {store.policy.interfaces_per_linode} interfaces.")
    interfaces.check_vlans(store, linode.region, [wanted.vlan_label] if wanted.vlan_label else [])
    wanted = firewalls.guarded(store, wanted, "firewall_id")
    firewall = None if wanted.firewall_id is None else store.firewalls[wanted.firewall_id]
    made = interfaces.make(store, wanted)
    changed = linodes.routed(replace(linode, interfaces=(*linode.interfaces, made)), [made], [wanted])
    _give_addresses(store, changed, wanted)
    if firewall:
        firewalls.attach(store, firewall, DeviceType.INTERFACE, made.id, changed)
    interfaces.note_vlans(store, linode.region)
    return views.linode_interface(store, changed, made)


def _give_addresses(store: Store, linode: Linode, wanted: Wanted) -> None:
    before = store.linodes[linode.id]
    store.linodes[linode.id] = linode
    try:
        linodes.give_addresses(store, linode, wanted.addresses)
    except BaseException:
        store.linodes[linode.id] = before
        raise


def _update_interface(call: Call) -> Json:
    store, linode = call.store, _modern(writable(call))
    one = _interface(call, linode)
    route = call.body.child("default_route") or Fields()
    vlan = call.body.child("vlan")
    public = call.body.child("public")
    if public is not None:
        if one.purpose is not Purpose.PUBLIC:
            raise call.body.wrong("public", "cannot be given for a VLAN interface")
        _require_off(linode)
        stated = interfaces.public_addresses(public, otherwise=None)
        if stated is not None:
            addresses.allocate_through(store, linode, stated, "public.ipv4.addresses")
    changed = replace(one, version=one.version + 1, updated=store.now)
    if vlan is not None:
        wanted = interfaces.parse_linode(Fields({"vlan": dict(vlan.values)}))
        changed = replace(changed, vlan_label=wanted.vlan_label, ipam_address=wanted.ipam_address)
        if one.purpose is not Purpose.VLAN:
            raise call.body.wrong("vlan", "cannot be given for a public interface")
        interfaces.check_vlans(store, linode.region, [wanted.vlan_label])
    others = [changed if given.id == one.id else given for given in linode.interfaces]
    interfaces.check_together(others, Generation.LINODE)
    updated = replace(linode, interfaces=tuple(others), updated=store.now)
    updated = _default_routes(updated, one, route)
    store.linodes[linode.id] = updated
    interfaces.note_vlans(store, linode.region)
    return views.linode_interface(store, updated, changed)


def _default_routes(linode: Linode, one: Interface, route: Fields) -> Linode:
    v4, v6 = route.flag("ipv4"), route.flag("ipv6")
    if (v4 or v6) and one.purpose is Purpose.VLAN:
        raise invalid("A VLAN interface cannot be a default route.", "default_route")
    if v4:
        linode = replace(linode, default_route_v4=one.id)
    return replace(linode, default_route_v6=one.id) if v6 else linode


def _delete_interface(call: Call) -> Json:
    store, linode = call.store, _modern(writable(call))
    one = _interface(call, linode)
    _require_off(linode)
    left = tuple(given for given in linode.interfaces if given.id != one.id)
    v4 = None if linode.default_route_v4 == one.id else linode.default_route_v4
    v6 = None if linode.default_route_v6 == one.id else linode.default_route_v6
    store.linodes[linode.id] = replace(linode, interfaces=left, default_route_v4=v4, default_route_v6=v6)
    if one.purpose is Purpose.PUBLIC:
        for address in store.owned(linode.id, public=True):
            addresses.drop(store, address)
    store.devices = {
        key: device
        for key, device in store.devices.items()
        if (device.type, device.entity_id) != (DeviceType.INTERFACE, one.id)
    }
    interfaces.note_vlans(store, linode.region)
    return {}


def _interface_firewalls(call: Call) -> list[Json]:
    one = _interface(call, _modern(readable(call)))
    numbers = [
        device.firewall_id
        for device in call.store.devices.values()
        if (device.type, device.entity_id) == (DeviceType.INTERFACE, one.id)
    ]
    return [views_firewall.firewall(call.store, call.store.firewalls[number]) for number in numbers]


def _update_settings(call: Call) -> Json:
    linode = _modern(writable(call))
    helper = call.body.flag("network_helper")
    route = call.body.child("default_route") or Fields()
    eligible = [one.id for one in linode.interfaces if one.purpose is Purpose.PUBLIC]
    v4, v6 = route.integer("ipv4_interface_id"), route.integer("ipv6_interface_id")
    for name, value in (("ipv4_interface_id", v4), ("ipv6_interface_id", v6)):
        if value is not None and value not in eligible:
            raise route.wrong(name, "is not an eligible interface")
    changed = replace(
        linode,
        network_helper=linode.network_helper if helper is None else helper,
        default_route_v4=linode.default_route_v4 if v4 is None else v4,
        default_route_v6=linode.default_route_v6 if v6 is None else v6,
    )
    call.store.linodes[linode.id] = changed
    return views.interface_settings(changed)


_ONE = "/linode/instances/{linodeId}"
_CONFIG = f"{_ONE}/configs/{{configId}}"
_INTERFACE = f"{_ONE}/interfaces/{{interfaceId}}"

ROUTES = (
    listing(
        f"{_ONE}/configs",
        LINODES_READ,
        lambda call: [views.config(one) for one in call.store.configs_of(readable(call).id)],
        "interfaces.label label",
    ),
    post(f"{_ONE}/configs", LINODES_WRITE, _add_config),
    get(_CONFIG, LINODES_READ, lambda call: views.config(_config(call, readable(call)))),
    put(_CONFIG, LINODES_WRITE, _update_config),
    delete(_CONFIG, LINODES_WRITE, _delete_config),
    get(f"{_CONFIG}/interfaces", LINODES_READ, _config_interfaces),
    post(f"{_CONFIG}/interfaces", LINODES_WRITE, _add_config_interface),
    post(f"{_CONFIG}/interfaces/order", LINODES_WRITE, _order),
    get(
        f"{_CONFIG}/interfaces/{{interfaceId}}",
        LINODES_READ,
        lambda call: views.legacy_interface(_config_interface(call, _config(call, readable(call)))),
    ),
    put(f"{_CONFIG}/interfaces/{{interfaceId}}", LINODES_WRITE, _update_config_interface),
    delete(f"{_CONFIG}/interfaces/{{interfaceId}}", LINODES_WRITE, _delete_config_interface),
    get(f"{_ONE}/interfaces", LINODES_READ, _interfaces),
    post(f"{_ONE}/interfaces", LINODES_WRITE, _add_interface),
    get(
        f"{_ONE}/interfaces/settings",
        LINODES_READ,
        lambda call: views.interface_settings(_modern(readable(call))),
    ),
    put(f"{_ONE}/interfaces/settings", LINODES_WRITE, _update_settings),
    get(_INTERFACE, LINODES_READ, _view_interface),
    put(_INTERFACE, LINODES_WRITE, _update_interface),
    delete(_INTERFACE, LINODES_WRITE, _delete_interface),
    listing(f"{_INTERFACE}/firewalls", LINODES_READ, _interface_firewalls, "created id label tags updated"),
)
