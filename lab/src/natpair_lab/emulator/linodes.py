"""Operations on Linodes: create, change, rebuild, delete, boot and shut down."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from natpair_lab.emulator import addresses, configs, firewalls, interfaces, lifecycle, placement
from natpair_lab.emulator.account import when
from natpair_lab.emulator.body import Body, FirewallId, Json, Label64, Many, Nothing, Tags, read
from natpair_lab.emulator.interfaces import Wanted
from natpair_lab.emulator.model import DeviceType, Firewall, Generation, Linode, PlacementGroup, Status
from natpair_lab.emulator.platform import IMAGES, PLANS, REGIONS, Plan, known_region
from natpair_lab.emulator.refused import Refused, invalid
from natpair_lab.emulator.routing import LINODES_READ, LINODES_WRITE, Call, delete, done, get, listing, post, put
from natpair_lab.emulator.state import Store, entity_of, host_uuid_of, mac_of, slaac_of
from natpair_lab.emulator.world import Created, Deleted, ShutDown

_Policy = Literal["linode/migrate", "linode/power_off_on"]


def _decodable(text: str) -> str:
    try:
        base64.b64decode(text, validate=True)
    except ValueError:
        raise ValueError("must be valid Base64") from None
    return text


class _Metadata(Body):
    user_data: Annotated[str, AfterValidator(_decodable)] = ""


class _Group(Body):
    id: int


class _Disk(Body):
    """What goes onto new disks, when a Linode is created or rebuilt."""

    authorized_keys: Many[str] = ()
    authorized_users: Many[str] = ()
    booted: bool = True
    disk_encryption: Literal["enabled", "disabled"] = "enabled"
    maintenance_policy: _Policy = "linode/migrate"
    metadata: _Metadata = _Metadata()
    root_pass: Annotated[str, Field(min_length=7, max_length=128)] | None = None

    def check(self, store: Store, image: str) -> None:
        """Answer 400 for an unknown image, a disk that nobody could log in to, or too much user data."""
        if image not in IMAGES:
            raise invalid("image is not valid", "image")
        if not (self.root_pass or self.authorized_keys or self.authorized_users):
            raise invalid("Must provide valid root_pass, authorized_keys, or authorized_users")
        self.user_data(store)

    def user_data(self, store: Store) -> bytes:
        """The user data that cloud-init reads."""
        decoded, limit = base64.b64decode(self.metadata.user_data), store.policy.user_data_bytes
        if len(decoded) > limit:
            raise invalid(f"user_data must be no longer than {limit} bytes when decoded", "metadata.user_data")
        return decoded


class _New(_Disk):
    region: str
    type: str
    image: str | None = None
    label: Label64 | None = None
    tags: Tags = ()
    group: str = ""
    interface_generation: Literal["legacy_config", "linode"] | None = None
    interfaces: Many[Json] = ()
    ipv4: Many[str] = ()
    kernel: Annotated[str, Field(min_length=1, max_length=100)] = "linode/grub2"
    network_helper: bool | None = None
    private_ip: bool = False
    firewall_id: FirewallId | None = None
    placement_group: _Group | None = None


class _Rebuild(_Disk):
    image: str
    root_pass: Annotated[str, Field(min_length=7, max_length=128)]


class _Change(Body):
    label: Label64 | None = None
    tags: Tags | None = None
    group: str | None = None
    watchdog_enabled: bool | None = None
    maintenance_policy: _Policy | None = None


class _Boot(Body):
    config_id: int | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """A checked request to create a Linode. Carrying it out can only fail if no address is left."""

    asked: _New
    generation: Generation
    interfaces: tuple[Wanted, ...]
    firewall: Firewall | None
    group: PlacementGroup | None
    user_data: bytes
    network_helper: bool


def read_order(store: Store, body: Json) -> Order:
    """Check a request to create a Linode."""
    asked = read(_New, body)
    region = known_region(asked.region).id
    if asked.type not in PLANS:
        raise invalid("type is not valid", "type")
    if asked.image is not None:
        asked.check(store, asked.image)
    _check_label(store, asked.label)
    generation = _generation(store, asked)
    if generation is Generation.LINODE:
        given: tuple[Json, ...] = asked.interfaces or ({"public": {}},)
        wanted = tuple(interfaces.wanted(store, one, f"interfaces[{index}]") for index, one in enumerate(given))
        interfaces.check_together(store, wanted, region, generation)
        firewall = None
        if asked.private_ip:
            raise invalid("private_ip is not available on Linodes with Linode interfaces", "private_ip")
    else:
        wanted = configs.all_wanted(store, asked.interfaces, region)
        firewall = firewalls.wanted(store, asked.firewall_id, "firewall_id")
    group = None
    if asked.placement_group is not None:
        group = placement.named(store, asked.placement_group.id, "placement_group.id")
        placement.check_room(group, region, 1)
    helper = store.network_helper if asked.network_helper is None else asked.network_helper
    return Order(asked, generation, wanted, firewall, group, asked.user_data(store), helper)


def _generation(store: Store, asked: _New) -> Generation:
    setting = store.interfaces_for_new_linodes
    default = Generation.LINODE if setting.startswith("linode") else Generation.LEGACY
    generation = Generation(asked.interface_generation) if asked.interface_generation else default
    if setting.endswith("_only") and generation is not default:
        reason = "interface_generation is not allowed by the settings of this account"
        raise invalid(reason, "interface_generation")
    if generation is Generation.LINODE and "Linode Interfaces" not in REGIONS[asked.region].capabilities:
        reason = f"interface_generation linode is not available in the region {asked.region}"
        raise invalid(reason, "interface_generation")
    return generation


def _check_label(store: Store, label: str | None, *, but: int | None = None) -> None:
    if label is not None and any(one.label == label and one.id != but for one in store.linodes.values()):
        raise invalid("Label must be unique among your Linodes.", "label")


def create(store: Store, order: Order) -> Linode:
    """Carry out an order; the Linode is provisioning when this returns."""
    asked, number = order.asked, store.next_id()
    linode = Linode(
        id=number,
        label=asked.label or f"linode{number}",
        region=asked.region,
        type=asked.type,
        status=Status.PROVISIONING,
        generation=order.generation,
        created=store.now,
        updated=store.now,
        slaac=slaac_of(store.policy.slaac_net, list(REGIONS).index(asked.region), mac_of(number)),
        mac=mac_of(number),
        host_uuid=host_uuid_of(placement.host_for(store, order.group.id if order.group else None)),
        image=asked.image,
        tags=tuple(dict.fromkeys(asked.tags)),
        group=asked.group,
        maintenance_policy=asked.maintenance_policy,
        user_data=order.user_data,
        network_helper=order.network_helper,
    )
    with _all_or_nothing(store, number):
        _plug_in(store, linode, order)
    interfaces.note_vlans(store, asked.region)
    if order.group is not None:
        placement.add(store, order.group, [number])
    linode = store.linodes[number]
    store.notices.append(Created(store.view(linode)))
    lifecycle.provision(store, linode, boot=asked.image is not None and asked.booted)
    return linode


@contextmanager
def _all_or_nothing(store: Store, linode_id: int) -> Iterator[None]:
    """Undo a half-made Linode if there is no free address."""
    before = (dict(store.addresses), dict(store.devices))
    try:
        yield
    except Refused:
        store.addresses, store.devices = before
        store.linodes.pop(linode_id, None)
        raise


def _plug_in(store: Store, linode: Linode, order: Order) -> None:
    store.linodes[linode.id] = linode
    legacy = order.generation is Generation.LEGACY
    if legacy:
        addresses.give(store, linode, order.asked.ipv4 or ("auto",))
        if order.asked.private_ip:
            addresses.new_address(store, linode.region, public=False, linode=linode)
        if order.firewall:
            firewalls.attach(store, order.firewall, DeviceType.LINODE, linode.id, linode)
    else:
        interfaces.plug_in(store, linode, order.interfaces, order.asked.ipv4)
    if order.asked.image is not None:
        configs.add(store, linode, order.interfaces if legacy else (), order.network_helper)


def _update(call: Call) -> Json:
    store, linode, change = call.store, call.own_linode(), call.read(_Change)
    _check_label(store, change.label, but=linode.id)
    values = change.model_dump(exclude_none=True)
    if change.tags is not None:
        values["tags"] = tuple(dict.fromkeys(change.tags))
    changed = replace(linode, **values, updated=store.now)
    store.linodes[linode.id] = changed
    store.add_event("linode_update", entity_of(changed))
    return _view(store, changed)


def _rebuild(call: Call) -> Json:
    """Make new disks from an image, with a new profile; addresses and Linode interfaces stay.

    The content of the old profile is lost: interfaces of the legacy generation, and its Network Helper setting.
    """
    store, linode = call.store, call.own_linode()
    lifecycle.require_settled(linode)
    asked = call.read(_Rebuild)
    asked.check(store, asked.image)
    lifecycle.go_stale(store, linode)
    if linode.status is Status.RUNNING:
        store.notices.append(ShutDown(linode.id))
    store.configs = {key: one for key, one in store.configs.items() if one.linode_id != linode.id}
    user_data = asked.user_data(store)
    changed = replace(linode, image=asked.image, user_data=user_data, status=Status.REBUILDING, updated=store.now)
    store.linodes[linode.id] = changed
    configs.add(store, changed)
    interfaces.note_vlans(store, linode.region)
    store.notices.append(Created(store.view(changed)))
    lifecycle.provision(store, changed, boot=asked.booted, action="linode_rebuild")
    return _view(store, changed)


def _delete(call: Call) -> None:
    """Delete a settled Linode. Its addresses are freed unless they are reserved; shares of them end, too."""
    store, linode = call.store, call.own_linode()
    lifecycle.require_settled(linode)
    store.add_event("linode_delete", entity_of(linode))
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


def _boot(call: Call) -> None:
    linode = call.own_linode()
    _check_config(call, linode)
    lifecycle.boot(call.store, linode)


def _reboot(call: Call) -> None:
    linode = call.own_linode()
    _check_config(call, linode)
    lifecycle.reboot(call.store, linode)


def _check_config(call: Call, linode: Linode) -> None:
    wanted = call.read(_Boot).config_id
    if wanted is not None and wanted not in {one.id for one in call.store.configs_of(linode.id)}:
        raise invalid("config_id is not valid", "config_id")


def _shut_down(call: Call) -> None:
    call.read(Nothing)
    lifecycle.shutdown(call.store, call.own_linode())


def _view(store: Store, one: Linode) -> Json:
    size = PLANS[one.type]
    owned = store.owned(one.id, public=True) + store.owned(one.id, public=False)
    return {
        "id": one.id,
        "label": one.label,
        "group": one.group,
        "status": store.shown_status(one).value,
        "created": when(one.created),
        "updated": when(one.updated),
        "type": one.type,
        "ipv4": [str(address.address) for address in owned],
        "ipv6": f"{one.slaac}/128" if any(address.public for address in owned) else None,
        "image": one.image,
        "region": one.region,
        "site_type": REGIONS[one.region].site_type,
        "specs": {
            "disk": size.disk,
            "memory": size.memory,
            "vcpus": size.vcpus,
            "gpus": 0,
            "transfer": size.transfer,
            "accelerated_devices": 0,
        },
        "alerts": _alerts(size),
        "backups": {
            "enabled": False,
            "available": False,
            "schedule": {"day": None, "window": None},
            "last_successful": None,
        },
        "hypervisor": "kvm",
        "watchdog_enabled": one.watchdog_enabled,
        "tags": list(one.tags),
        "host_uuid": one.host_uuid,
        "has_user_data": bool(one.user_data),
        "placement_group": _view_group(placement.group_of(store, one.id)),
        "disk_encryption": "enabled",
        "lke_cluster_id": None,
        "capabilities": ["SMTP Enabled", "Maintenance Policy"],
        "interface_generation": one.generation.value,
        "maintenance_policy": one.maintenance_policy,
        "locks": [],
    }


def _alerts(size: Plan) -> Json:
    limits = {"cpu": 90 * size.vcpus, "network_in": 10, "network_out": 10, "transfer_quota": 80, "io": 10000}
    return limits | {"system_alerts": [], "user_alerts": []}


def _view_group(group: PlacementGroup | None) -> Json | None:
    if group is None:
        return None
    return {
        "id": group.id,
        "label": group.label,
        "placement_group_type": group.type,
        "placement_group_policy": group.policy,
        "migrating_to": None,
    }


_ALL = "/linode/instances"
_ONE = f"{_ALL}/{{linodeId}}"

ROUTES = (
    listing(
        _ALL,
        LINODES_READ,
        lambda call: [_view(call.store, one) for one in call.store.linodes.values()],
        "group id image interface_generation ipv4 label placement_group.label placement_group.placement_group_type "
        "region tags",
    ),
    post(_ALL, LINODES_WRITE, lambda call: _view(call.store, create(call.store, read_order(call.store, call.body)))),
    get(_ONE, LINODES_READ, lambda call: _view(call.store, call.linode())),
    put(_ONE, LINODES_WRITE, _update),
    delete(_ONE, LINODES_WRITE, _delete),
    post(f"{_ONE}/rebuild", LINODES_WRITE, _rebuild),
    post(f"{_ONE}/boot", LINODES_WRITE, done(_boot)),
    post(f"{_ONE}/reboot", LINODES_WRITE, done(_reboot)),
    post(f"{_ONE}/shutdown", LINODES_WRITE, done(_shut_down)),
)
