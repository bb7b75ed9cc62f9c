"""Reads a Linode's interfaces and attaches it to its VLAN, in both generations of interfaces."""

from __future__ import annotations

from dataclasses import dataclass

from natpair.errors import NotReady
from natpair.linode.bodies import Generation, VlanAttachment
from natpair.linode.client import LinodeClient
from natpair.linode.models import Instance


@dataclass(frozen=True, slots=True)
class Ports:
    """How a Linode is plugged in. `config` is its profile in the older generation; `public` its public interface in
    the newer one; `vlans` the labels of the VLANs it is attached to; `helper` whether Network Helper is on.
    """

    vlans: tuple[str, ...] = ()
    helper: bool = False
    config: int | None = None
    public: int | None = None


async def ports_of(client: LinodeClient, instance: Instance) -> Ports:
    """Read how a Linode is connected now."""
    if instance.interface_generation == Generation.LINODE.value:
        interfaces = await client.interfaces(instance.id)
        settings = await client.interface_settings(instance.id)
        public = next((one.id for one in interfaces if one.public is not None), None)
        vlans = tuple(one.vlan.vlan_label for one in interfaces if one.vlan is not None)
        return Ports(vlans, settings.network_helper, None, public)
    config = next(iter(await client.configs(instance.id)), None)
    if config is None:
        return Ports()
    vlans = tuple(one.label or "" for one in config.interfaces if one.purpose == "vlan")
    return Ports(vlans, config.helpers.network if config.helpers else True, config.id)


async def plug_in(client: LinodeClient, instance: Instance, vlan: VlanAttachment | None) -> None:
    """Attach a Linode that is off to `vlan`, if one is given, turn Network Helper off, and read both back.

    NotReady when the platform does not keep it.
    """
    number, ports = instance.id, await ports_of(client, instance)
    missing = vlan if vlan is not None and vlan.label not in ports.vlans else None
    if instance.interface_generation == Generation.LINODE.value:
        if missing is not None:
            await client.add_vlan_interface(number, missing)
        if ports.helper:
            await client.set_network_helper(number, on=False)
    elif ports.config is None:
        raise NotReady(f"Linode {number} has no configuration profile", fix="run it again later")
    elif missing is not None or ports.helper:
        await client.update_config(number, ports.config, vlan=missing, network_helper=False)
    ports = await ports_of(client, instance)
    if ports.helper or (vlan is not None and vlan.label not in ports.vlans):
        fix = "look at its interfaces in Linode's Cloud Manager, then run it again"
        raise NotReady(f"Linode {number} does not take its VLAN, or keeps Network Helper on", fix=fix)
