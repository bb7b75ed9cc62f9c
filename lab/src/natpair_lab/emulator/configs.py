"""Configuration profiles and the legacy interfaces in them. Each change states all interfaces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field

from natpair_lab.emulator import interfaces
from natpair_lab.emulator.account import when
from natpair_lab.emulator.body import Body, Json, read
from natpair_lab.emulator.interfaces import NO_VPC, Ipam, Wanted
from natpair_lab.emulator.model import Config, Generation, Interface, Linode, Purpose
from natpair_lab.emulator.refused import invalid, not_found
from natpair_lab.emulator.routing import LINODES_READ, LINODES_WRITE, Call, listing, put
from natpair_lab.emulator.state import Store


class _Interface(Body):
    purpose: Literal["public", "vlan", "vpc"]
    label: Annotated[str, Field(max_length=64, pattern=r"^(?!.*--)[a-zA-Z0-9-]*\Z")] = ""
    ipam_address: Ipam = ""
    primary: bool = False


class _Helpers(Body):
    network: bool | None = None


class _Change(Body):
    label: Annotated[str, Field(min_length=1, max_length=48)] | None = None
    comments: str | None = None
    kernel: str | None = None
    memory_limit: int | None = None
    root_device: str | None = None
    run_level: Literal["default", "single", "binbash"] | None = None
    virt_mode: Literal["paravirt", "fullvirt"] | None = None
    interfaces: list[Json] | None = None
    helpers: _Helpers = _Helpers()


def wanted(given: Json, place: str) -> Wanted:
    """Parse one interface of a profile."""
    stated = read(_Interface, given, place)
    if stated.purpose == "vpc":
        raise invalid(f"purpose is not supported. {NO_VPC}", f"{place}.purpose")
    if stated.purpose == "public":
        for name, text in (("label", stated.label), ("ipam_address", stated.ipam_address)):
            if text:
                raise invalid(f"{name} must be empty for a public interface", f"{place}.{name}")
        return Wanted(Purpose.PUBLIC, primary=stated.primary)
    if stated.primary:
        raise invalid("primary must be false for a VLAN interface", f"{place}.primary")
    if not stated.label:
        raise invalid("label is required", f"{place}.label")
    return Wanted(Purpose.VLAN, stated.label, stated.ipam_address)


def all_wanted(store: Store, given: Sequence[Json], region: str) -> tuple[Wanted, ...]:
    """Parse all interfaces of a profile."""
    asked = tuple(wanted(one, f"interfaces[{index}]") for index, one in enumerate(given))
    interfaces.check_together(store, asked, region, Generation.LEGACY)
    return asked


def add(store: Store, linode: Linode, asked: Sequence[Wanted] = (), network_helper: bool | None = None) -> Config:
    """Add the profile that is made together with new disks."""
    config = Config(
        id=store.next_id(),
        linode_id=linode.id,
        label=f"My {(linode.image or '').partition('/')[2]} Disk Profile",
        created=store.now,
        updated=store.now,
        interfaces=tuple(interfaces.make(store, one) for one in asked),
        network_helper=store.network_helper if network_helper is None else network_helper,
    )
    store.configs[config.id] = config
    return config


def _update(call: Call) -> Json:
    store, linode = call.store, call.own_linode()
    config = store.configs.get(call.number("configId"))
    if config is None or config.linode_id != linode.id:
        raise not_found()
    change = call.read(_Change)
    if change.interfaces is not None:
        if change.interfaces and linode.generation is not Generation.LEGACY:
            reason = "This Linode uses Linode interfaces, which are not part of a configuration profile."
            raise invalid(reason, "interfaces")
        asked = all_wanted(store, change.interfaces, linode.region)
        config = replace(config, interfaces=tuple(interfaces.make(store, one) for one in asked))
    helper = change.helpers.network
    plain = change.model_dump(exclude={"interfaces", "helpers"}, exclude_none=True)
    config = replace(
        config, **plain, network_helper=config.network_helper if helper is None else helper, updated=store.now
    )
    store.configs[config.id] = config
    interfaces.note_vlans(store, linode.region)
    return _view(config)


def _view(one: Config) -> Json:
    helpers = dict.fromkeys(("updatedb_disabled", "distro", "modules_dep", "devtmpfs_automount"), True)
    return {
        "id": one.id,
        "label": one.label,
        "comments": one.comments,
        "created": when(one.created),
        "updated": when(one.updated),
        "devices": {f"sd{letter}": None for letter in "abcdefgh"},
        "helpers": helpers | {"network": one.network_helper},
        "initrd": None,
        "interfaces": [_view_interface(given) for given in one.interfaces],
        "kernel": one.kernel,
        "memory_limit": one.memory_limit,
        "root_device": one.root_device,
        "run_level": one.run_level,
        "virt_mode": one.virt_mode,
    }


def _view_interface(one: Interface) -> Json:
    return {
        "id": one.id,
        "purpose": one.purpose.value,
        "label": one.vlan_label or None,
        "ipam_address": one.ipam_address or None,
        "primary": one.primary,
        "active": True,
        "subnet_id": None,
        "vpc_id": None,
        "ipv4": None,
        "ipv6": None,
        "ip_ranges": [],
    }


_ALL = "/linode/instances/{linodeId}/configs"

ROUTES = (
    listing(
        _ALL,
        LINODES_READ,
        lambda call: [_view(one) for one in call.store.configs_of(call.linode().id)],
        "interfaces.label label",
    ),
    put(f"{_ALL}/{{configId}}", LINODES_WRITE, _update),
)
