"""Creating, changing and deleting Linodes and their configuration profiles."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from natpair_lab.emulator import addresses, firewalls, interfaces, lifecycle, placement
from natpair_lab.emulator.catalogue import PLANS, REGIONS
from natpair_lab.emulator.fields import Fields
from natpair_lab.emulator.images import IMAGES
from natpair_lab.emulator.interfaces import NO_FIREWALL, Wanted
from natpair_lab.emulator.model import Config, DeviceType, Firewall, Generation, Interface, Linode, Purpose, Status
from natpair_lab.emulator.refused import Refused, invalid
from natpair_lab.emulator.state import Store, entity_of, host_uuid_of, mac_of, slaac_of
from natpair_lab.emulator.world import Created, Deleted, ShutDown

POLICIES = ("linode/migrate", "linode/power_off_on")


@dataclass(frozen=True, slots=True)
class Order:
    """A request to create a Linode, checked: carrying it out cannot fail any more but for want of addresses."""

    label: str
    region: str
    type: str
    generation: Generation
    interfaces: tuple[Wanted, ...]
    image: str | None
    boot: bool
    tags: tuple[str, ...]
    group: str
    user_data: bytes
    network_helper: bool
    maintenance_policy: str
    private_ip: bool
    reserved: tuple[str, ...]
    firewall: Firewall | None
    group_id: int | None


def read_order(store: Store, body: Fields) -> Order:
    """Check a request to create a Linode."""
    region = addresses.known_region(body.required_text("region"))
    plan = body.required_text("type")
    if plan not in PLANS:
        raise body.wrong("type", "is not valid")
    image = _image(body)
    generation = _generation(store, body, region)
    wanted = interfaces.parse_all(body.children("interfaces") or (), generation, store.policy.interfaces_per_linode)
    interfaces.check_vlans(store, region, [one.vlan_label for one in wanted if one.vlan_label])
    if generation is Generation.LINODE and not wanted:
        wanted = (Wanted(Purpose.PUBLIC, addresses=("auto",)),)
    if generation is Generation.LINODE:
        wanted = tuple(firewalls.guarded(store, one, "interfaces.firewall_id") for one in wanted)
    helper = body.flag("network_helper")
    booted = body.flag("booted")
    return Order(
        label=check_label(store, body.text("label")),
        region=region,
        type=plan,
        generation=generation,
        interfaces=wanted,
        image=image,
        boot=image is not None and booted is not False,
        tags=check_tags(body),
        group=body.text("group") or "",
        user_data=_user_data(body, store.policy.user_data_bytes),
        network_helper=store.network_helper if helper is None else helper,
        maintenance_policy=_policy(body),
        private_ip=_private_ip(body, generation),
        reserved=body.texts("ipv4") or (),
        firewall=_firewall(store, body),
        group_id=_group(store, body, region),
    )


def _image(body: Fields) -> str | None:
    image = body.text("image")
    keys, password = body.texts("authorized_keys"), body.text("root_pass")
    if image is None:
        return None
    known = image in IMAGES if image.startswith("linode/") else re.fullmatch(r"(private|shared)/[A-Za-z0-9._-]+", image)
    if not known:
        raise body.wrong("image", "is not valid")
    if not (password or keys or body.texts("authorized_users")):
        raise body.missing("root_pass")
    if password is not None and not 7 <= len(password) <= 128:
        raise body.wrong("root_pass", "must be between 7 and 128 characters")
    return image


def _generation(store: Store, body: Fields, region: str) -> Generation:
    text = body.text("interface_generation")
    setting = store.interfaces_for_new_linodes
    default = Generation.LINODE if setting.startswith("linode") else Generation.LEGACY
    if text is not None and text not in tuple(Generation):
        raise body.wrong("interface_generation", "must be one of legacy_config, linode")
    generation = Generation(text) if text else default
    if setting.endswith("_only") and generation is not default:
        raise body.wrong("interface_generation", "is not allowed by the settings of this account")
    if generation is Generation.LINODE and "Linode Interfaces" not in REGIONS[region].capabilities:
        raise body.wrong("interface_generation", f"linode is not available in the region {region}")
    return generation


def _user_data(body: Fields, limit: int) -> bytes:
    text = (body.child("metadata") or Fields()).text("user_data")
    if text is None:
        return b""
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise invalid("user_data must be valid Base64", "metadata.user_data") from None
    if len(decoded) > limit:
        raise invalid(f"user_data must be no longer than {limit} bytes when decoded", "metadata.user_data")
    return decoded


def _policy(body: Fields) -> str:
    policy = body.text("maintenance_policy") or POLICIES[0]
    if policy not in POLICIES:
        raise body.wrong("maintenance_policy", "is not valid")
    return policy


def _private_ip(body: Fields, generation: Generation) -> bool:
    private = body.flag("private_ip") or False
    if private and generation is Generation.LINODE:
        raise body.wrong("private_ip", "is not available on Linodes with Linode interfaces")
    return private


def _firewall(store: Store, body: Fields) -> Firewall | None:
    firewall_id = body.integer("firewall_id")
    if firewall_id is None:
        firewall_id = store.default_firewall
    return None if firewall_id in (None, NO_FIREWALL) else firewalls.named(store, firewall_id, "firewall_id")


def _group(store: Store, body: Fields, region: str) -> int | None:
    wanted = body.child("placement_group")
    if wanted is None:
        return None
    group = placement.named(store, wanted.required_integer("id"), "placement_group.id")
    placement.check_room(group, region, 1)
    return group.id


def check_label(store: Store, label: str | None, *, but: int | None = None) -> str:
    """A label that no other Linode has; an empty one stands for `linode<id>`."""
    if not label:
        return ""
    if not firewalls.LABEL.fullmatch(label) or not 3 <= len(label) <= 64:
        raise invalid(
            "Label must begin with a letter and be 3 to 64 letters, digits, hyphens, underscores and periods.", "label"
        )
    if any(one.label == label and one.id != but for one in store.linodes.values()):
        raise invalid("Label must be unique among your Linodes.", "label")
    return label


def check_tags(body: Fields) -> tuple[str, ...]:
    """Tags of 3 to 50 characters."""
    tags = body.texts("tags") or ()
    if any(not 3 <= len(tag) <= 50 for tag in tags):
        raise body.wrong("tags", "must be between 3 and 50 characters each")
    return tuple(dict.fromkeys(tags))


def create(store: Store, order: Order) -> Linode:
    """Carry out an order; the Linode is provisioning when this returns."""
    number = store.next_id()
    linode = Linode(
        id=number,
        label=order.label or f"linode{number}",
        region=order.region,
        type=order.type,
        status=Status.PROVISIONING,
        generation=order.generation,
        created=store.now,
        updated=store.now,
        slaac=slaac_of(store.policy.slaac_net, list(REGIONS).index(order.region), mac_of(number)),
        mac=mac_of(number),
        host_uuid=host_uuid_of(placement.host_for(store, order.group_id)),
        image=order.image,
        tags=order.tags,
        group=order.group,
        maintenance_policy=order.maintenance_policy,
        user_data=order.user_data,
        network_helper=order.network_helper,
    )
    with _all_or_nothing(store, number):
        _plug_in(store, linode, order)
    interfaces.note_vlans(store, order.region)
    if order.group_id is not None:
        placement.add(store, store.groups[order.group_id], [number])
    linode = store.linodes[number]
    store.notices.append(Created(store.view(linode)))
    lifecycle.provision(store, linode, boot=order.boot)
    return linode


@contextmanager
def _all_or_nothing(store: Store, linode_id: int) -> Iterator[None]:
    """Take back a half made Linode when an address cannot be had."""
    before = dict(store.addresses)
    try:
        yield
    except Refused:
        store.addresses = before
        store.linodes.pop(linode_id, None)
        raise


def _plug_in(store: Store, linode: Linode, order: Order) -> None:
    made = [interfaces.make(store, one) for one in order.interfaces]
    if order.generation is Generation.LEGACY:
        store.linodes[linode.id] = linode
        give_addresses(store, linode, order.reserved or ("auto",))
        if order.private_ip:
            addresses.new_address(store, linode.region, public=False, linode=linode)
        if order.image is not None:
            add_config(store, linode, _profile_label(order.image), made, order.network_helper)
        if order.firewall:
            firewalls.attach(store, order.firewall, DeviceType.LINODE, linode.id, linode)
        return
    linode = routed(replace(linode, interfaces=tuple(made)), made, order.interfaces)
    store.linodes[linode.id] = linode
    for interface, wanted in zip(made, order.interfaces, strict=True):
        if wanted.purpose is Purpose.PUBLIC:
            give_addresses(store, linode, order.reserved or wanted.addresses)
            if wanted.firewall_id is not None:
                guard = store.firewalls[wanted.firewall_id]
                firewalls.attach(store, guard, DeviceType.INTERFACE, interface.id, linode)
    if order.image is not None:
        add_config(store, linode, _profile_label(order.image), [], order.network_helper)


def _profile_label(image: str) -> str:
    return f"My {image.partition('/')[2]} Disk Profile"


def give_addresses(store: Store, linode: Linode, wanted: Sequence[str]) -> None:
    """Public addresses for a Linode: `auto` from the pool, or a reserved one by name."""
    for text in wanted:
        if text == "auto":
            addresses.new_address(store, linode.region, public=True, linode=linode)
        else:
            addresses.attach_reserved(store, linode, text, "ipv4")


def routed(linode: Linode, made: Sequence[Interface], wanted: Sequence[Wanted]) -> Linode:
    """Point the default routes at a new public interface, unless the request says not to."""
    for interface, one in zip(made, wanted, strict=True):
        if one.purpose is Purpose.PUBLIC:
            v4 = linode.default_route_v4 if one.route_v4 is False else interface.id
            v6 = linode.default_route_v6 if one.route_v6 is False else interface.id
            linode = replace(linode, default_route_v4=v4, default_route_v6=v6)
    return linode


def add_config(
    store: Store, linode: Linode, label: str, made: Sequence[Interface], network_helper: bool | None = None
) -> Config:
    """A further configuration profile."""
    config = Config(
        id=store.next_id(),
        linode_id=linode.id,
        label=label,
        created=store.now,
        updated=store.now,
        interfaces=tuple(made),
        network_helper=store.network_helper if network_helper is None else network_helper,
    )
    store.configs[config.id] = config
    return config


def update(store: Store, linode: Linode, body: Fields) -> Linode:
    """Change what may be changed on a living Linode."""
    label = check_label(store, body.text("label"), but=linode.id) or linode.label
    watchdog, group = body.flag("watchdog_enabled"), body.text("group")
    policy = _policy(body) if body.text("maintenance_policy") else linode.maintenance_policy
    changed = replace(
        linode,
        label=label,
        tags=check_tags(body) if body.has("tags") else linode.tags,
        group=linode.group if group is None else group,
        watchdog_enabled=linode.watchdog_enabled if watchdog is None else watchdog,
        maintenance_policy=policy,
        updated=store.now,
    )
    store.linodes[linode.id] = changed
    store.add_event("linode_update", entity_of(changed))
    return changed


def rebuild(store: Store, linode: Linode, body: Fields) -> Linode:
    """New disks from an image, with a new profile; addresses and Linode interfaces stay.

    What the old profile said is lost: interfaces of the legacy generation, and Network Helper's switch there.
    """
    lifecycle.require_settled(linode)
    body.required_text("root_pass")
    image = _image(body)
    if image is None:
        raise body.missing("image")
    user_data, booted = _user_data(body, store.policy.user_data_bytes), body.flag("booted")
    lifecycle.go_stale(store, linode)
    if linode.status is Status.RUNNING:
        store.notices.append(ShutDown(linode.id))
    store.configs = {key: one for key, one in store.configs.items() if one.linode_id != linode.id}
    changed = replace(linode, image=image, user_data=user_data, status=Status.REBUILDING, updated=store.now)
    store.linodes[linode.id] = changed
    add_config(store, changed, _profile_label(image), [])
    interfaces.note_vlans(store, linode.region)
    store.notices.append(Created(store.view(changed)))
    lifecycle.provision(store, changed, boot=booted is not False, action="linode_rebuild")
    return changed


def delete(store: Store, linode: Linode) -> None:
    """Delete a settled Linode: its addresses go with it, also where they are shared, unless they are reserved."""
    lifecycle.require_settled(linode)
    store.add_event("linode_delete", entity_of(linode))
    if linode.id in store.shares:
        addresses.share(store, linode, ())
    for address in store.owned(linode.id):
        addresses.drop(store, address)
    placement.forget(store, linode.id)
    store.stale.pop(linode.id, None)
    store.devices = {key: one for key, one in store.devices.items() if one.linode_id != linode.id}
    store.configs = {key: one for key, one in store.configs.items() if one.linode_id != linode.id}
    store.maintenance = [one for one in store.maintenance if one.linode_id != linode.id]
    del store.linodes[linode.id]
    interfaces.note_vlans(store, linode.region)
    store.notices.append(Deleted(linode.id))
