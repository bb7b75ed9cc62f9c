"""linode_api4, Linode's Python SDK, against the emulator."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from linode_api4 import ApiError, Instance, LinodeClient
from linode_api4.objects import Event, Firewall, PlacementGroup, PlacementGroupPolicy, PlacementGroupType, Region, Type

from emulator.accounts import IMAGE, PUBLIC, RULE, VLAN
from emulator.served import Served


@pytest.fixture
def client(api: Served) -> LinodeClient:
    return LinodeClient("any", base_url=f"{api.url}/v4", retry=False)


def create(client: LinodeClient, label: str, **more: object) -> Instance:
    made = client.linode.instance_create(
        "g6-nanode-1", "us-east", label=label, image=IMAGE["image"], root_pass=IMAGE["root_pass"], **more
    )
    return made[0] if isinstance(made, tuple) else made


def settle(client: LinodeClient, *linodes: Instance) -> None:
    for linode in linodes:
        client.polling.wait_for_entity_free("linode", linode.id, timeout=10, interval=0.05)
        linode.invalidate()


def test_a_pair_from_nothing_to_nothing(client: LinodeClient) -> None:
    assert "Vlans" in client.load(Region, "us-east").capabilities
    assert client.load(Type, "g6-standard-2").price.monthly == 24
    first, second = (create(client, label, interfaces=[PUBLIC, VLAN]) for label in ("nat-a", "nat-b"))
    assert first.status == "provisioning"
    settle(client, first, second)
    assert first.status == "running"
    assert first.configs[0].interfaces[1].ipam_address == "192.168.1.2/24"
    (lan,) = client.networking.vlans()
    assert lan.linodes == [first.id, second.id]

    fip = client.networking.ip_allocate(first)
    client.networking.ip_addresses_share([fip.address], second)
    assert [one.address for one in second.ips.ipv4.shared] == [fip.address]
    assert second.ips.ipv4.shared[0].linode_id == first.id
    client.networking.ip_addresses_share([], second)
    second.invalidate()
    assert second.ips.ipv4.shared == []

    group = client.placement.group_create(
        "apart", "us-east", PlacementGroupType.anti_affinity_local, PlacementGroupPolicy.flexible
    )
    group.assign([first, second])
    group = client.load(PlacementGroup, group.id)
    assert [member.linode_id for member in group.members] == [first.id, second.id]
    group.unassign([first, second])
    assert group.delete()

    for linode in (first, second):
        assert linode.delete()
    assert len(client.linode.instances()) == 0
    assert len(client.networking.vlans()) == 0


def test_filters_and_pages(client: LinodeClient) -> None:
    for number in range(30):
        client.linode.instance_create("g6-nanode-1", "us-east" if number % 3 else "us-ord", label=f"nat-{number:02}")
    found = client.linode.instances(Instance.label.contains("NAT-1"), Instance.region == "us-ord")
    assert sorted(one.label for one in found) == ["nat-12", "nat-15", "nat-18"]
    client.page_size = 25
    assert [one.label for one in client.linode.instances()] == [f"nat-{number:02}" for number in range(30)]


def test_power_is_followed_by_events(client: LinodeClient) -> None:
    linode = create(client, "nat-a")
    settle(client, linode)
    poller = client.polling.event_poller_create("linode", "linode_reboot", entity_id=linode.id)
    assert linode.reboot()
    event: Event = poller.wait_for_next_event_finished(timeout=10, interval=0.05)
    assert event.status == "finished"
    linode.shutdown()
    settle(client, linode)
    assert linode.status == "offline"


def test_linode_interfaces(client: LinodeClient) -> None:
    interfaces = [
        {"public": {}, "firewall_id": -1},
        {"vlan": {"vlan_label": "nat-lan", "ipam_address": "192.168.1.2/24"}},
    ]
    linode = create(
        client, "nat-a", interfaces=interfaces, interface_generation="linode", network_helper=False, booted=False
    )
    settle(client, linode)
    public, vlan = linode.linode_interfaces
    assert public.default_route.ipv4 is True
    assert vlan.vlan.vlan_label == "nat-lan"
    assert linode.interfaces_settings.network_helper is False
    assert vlan.delete()
    added = linode.interface_create(vlan={"vlan_label": "other-lan"})
    assert added.vlan.vlan_label == "other-lan"


def test_firewall_and_maintenance(client: LinodeClient, api: Served) -> None:
    linode = create(client, "nat-a")
    rules = {"inbound": [RULE], "inbound_policy": "DROP", "outbound": [], "outbound_policy": "ACCEPT"}
    wall: Firewall = client.networking.firewall_create("wall", rules)
    device = wall.device_create(linode.id)
    assert device.entity.id == linode.id
    assert [one.id for one in linode.firewalls()] == [wall.id]
    assert list(client.account.maintenance()) == []
    api.ask("POST", "/_emulator/maintenance", {"linode_id": linode.id, "when": 3600})
    (entry,) = client.account.maintenance()
    assert entry.entity.id == linode.id


def test_refusals(client: LinodeClient, api: Served, wait_until: Callable[..., None]) -> None:
    linode = create(client, "nat-a")
    with pytest.raises(ApiError) as twice:
        create(client, "nat-a")
    assert twice.value.status == 400
    assert "unique" in str(twice.value)
    api.fault(kind="rate-limit", retry_after="-3")
    with pytest.raises(ApiError) as limited:
        client.account.settings()
    assert limited.value.status == 429
    wait_until(lambda: client.load(Instance, linode.id).status == "running")
    with pytest.raises(ApiError, match="already booted"):
        linode.boot()
