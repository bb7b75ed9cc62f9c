"""Linodes: what is checked before one is made, the states it passes, and what goes with it."""

from __future__ import annotations

import base64
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import pytest

from emulator.accounts import IMAGE, LINODE, OPEN, POLICIES, PUBLIC, VLAN, Account, Full
from natpair_lab.emulator import lifecycle
from natpair_lab.emulator.tokens import Token
from natpair_lab.emulator.world import Boot, Created, Deleted, ShutDown

CREATE = "/linode/instances"
MODERN = {"interface_generation": "linode"}


def states(account: Account, linode: Any, seconds: float, count: int) -> list[str]:
    """What is read one after another, once the old status is no longer shown."""
    account.api.store.stale.clear()
    seen = []
    for _ in range(count):
        seen.append(account.status(linode))
        account.api.store.notices.clear()
        account.now += seconds
    return seen


def test_a_new_linode_comes_up_by_itself(account: Account) -> None:
    linode = account.do("POST", CREATE, LINODE | IMAGE)
    assert states(account, linode, 0.05, 3) == ["provisioning", "booting", "running"]
    events = account.do("GET", "/account/events", x_filter={"entity.id": linode["id"]})["data"]
    assert {(one["action"], one["status"], one["percent_complete"]) for one in events} == {
        ("linode_create", "finished", 100),
        ("linode_boot", "finished", 100),
    }


def test_it_runs_only_once_the_world_has_returned(account: Account) -> None:
    linode = account.do("POST", CREATE, LINODE | IMAGE)
    account.now += 10
    assert account.status(linode) == "booting"
    account.now += 10
    assert account.status(linode) == "booting", "the notice is still in the outbox"
    assert [type(one) for one in account.api.store.notices] == [Created, Boot]
    account.api.store.notices.clear()
    assert account.status(linode) == "running"


def test_a_world_that_fails_leaves_it_offline(account: Account) -> None:
    linode = account.do("POST", CREATE, LINODE | IMAGE)
    account.now += 1
    account.api.advance(account.now)
    account.api.store.notices.clear()
    lifecycle.fail(account.api.store, linode["id"], "no space for a namespace")
    assert account.status(linode) == "offline"
    (event,) = account.do("GET", "/account/events", x_filter={"action": "linode_boot"})["data"]
    assert (event["status"], event["message"]) == ("failed", "no space for a namespace")


@pytest.mark.parametrize("more", [{"booted": False} | IMAGE, {}], ids=["not to be booted", "no image"])
def test_a_linode_may_stay_off(account: Account, more: dict[str, Any]) -> None:
    linode = account.create(**more)
    assert linode["status"] == "offline"
    account.do("POST", f"{CREATE}/{linode['id']}/boot")
    assert [account.status(linode) for _ in range(3)] == ["offline", "offline", "booting"], "as recorded"
    account.later()
    assert account.status(linode) == "running"
    assert "already booted" in account.reasons("POST", f"{CREATE}/{linode['id']}/boot")[0][2]


def test_reboot_and_shutdown(account: Account) -> None:
    linode = account.create(**IMAGE)
    account.do("POST", f"{CREATE}/{linode['id']}/reboot")
    assert [type(one) for one in account.api.store.notices] == [ShutDown, Boot]
    assert states(account, linode, 0.05, 2) == ["rebooting", "running"]
    account.do("POST", f"{CREATE}/{linode['id']}/shutdown")
    assert states(account, linode, 0.05, 2) == ["shutting_down", "offline"]
    account.do("POST", f"{CREATE}/{linode['id']}/shutdown")
    assert account.status(linode) == "offline"


@pytest.mark.parametrize("order", ["boot", "reboot", "shutdown", "delete"])
def test_in_a_passing_state_it_is_busy(account: Account, order: str) -> None:
    linode = account.do("POST", CREATE, LINODE | IMAGE)
    path = f"{CREATE}/{linode['id']}"
    method, path = ("DELETE", path) if order == "delete" else ("POST", f"{path}/{order}")
    assert account.reasons(method, path) == [(400, "", "Linode busy.")]


def test_deleting_takes_everything_along(account: Account) -> None:
    linode = account.create(**IMAGE, interfaces=[PUBLIC, VLAN], private_ip=True)
    account.do("DELETE", f"{CREATE}/{linode['id']}")
    store = account.api.store
    assert not any((store.linodes, store.addresses, store.configs, store.vlans, store.devices))
    assert store.notices == [Deleted(linode["id"])]
    assert account.ask("GET", f"{CREATE}/{linode['id']}") == (404, {"errors": [{"reason": "Not found"}]})


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"region": None}, "region"),
        ({"region": "atlantis"}, "region"),
        ({"type": "g6-huge"}, "type"),
        ({"type": 1}, "type"),
        ({"label": "-x"}, "label"),
        ({"label": "1-nat"}, "label"),
        ({"label": "nat-"}, "label"),
        (MODERN, "interfaces[0].firewall_id"),
        (MODERN | {"interfaces": [{"public": {}}]}, "interfaces[0].firewall_id"),
        ({"label": "nat__a"}, "label"),
        ({"label": "taken"}, "label"),
        ({"image": "linode/debian12"}, ""),
        ({"image": "debian12", "root_pass": "correct horse"}, "image"),
        (IMAGE | {"root_pass": "short"}, "root_pass"),
        ({"tags": ["x"]}, "tags[0]"),
        ({"metadata": {"user_data": "%"}}, "metadata.user_data"),
        ({"metadata": {"user_data": base64.b64encode(b"x" * 16_385).decode()}}, "metadata.user_data"),
        ({"firewall_id": 1}, "firewall_id"),
        ({"placement_group": {"id": 1}}, "placement_group.id"),
        ({"placement_group": 1}, "placement_group"),
        ({"interface_generation": "both"}, "interface_generation"),
        (MODERN | {"private_ip": True, "interfaces": [OPEN]}, "private_ip"),
        (MODERN | {"region": "us-den-1"}, "interface_generation"),
        ({"maintenance_policy": "never"}, "maintenance_policy"),
        ({"ipv4": ["203.0.113.77"]}, "ipv4"),
        ({"interfaces": [VLAN, PUBLIC]}, "interfaces"),
        ({"interfaces": [PUBLIC, PUBLIC]}, "interfaces"),
        ({"interfaces": [VLAN, VLAN]}, "interfaces"),
        ({"interfaces": [VLAN | {"label": name} for name in ("a", "b", "c", "d")]}, "interfaces"),
        ({"interfaces": [VLAN | {"label": None}]}, "interfaces[0].label"),
        ({"interfaces": [VLAN | {"label": "a b"}]}, "interfaces[0].label"),
        ({"interfaces": [VLAN | {"label": "a--b"}]}, "interfaces[0].label"),
        ({"interfaces": [VLAN | {"ipam_address": "192.168.1.2"}]}, "interfaces[0].ipam_address"),
        ({"interfaces": [{"purpose": "vpc", "subnet_id": 1}]}, "interfaces[0].purpose"),
        ({"interfaces": [{"public": {}}]}, "interfaces[0].purpose"),
        (MODERN | {"interfaces": [PUBLIC]}, "interfaces[0]"),
        (MODERN | {"interfaces": [{"public": {}, "vlan": {"vlan_label": "a"}}]}, "interfaces[0]"),
        (MODERN | {"interfaces": [{"vlan": {"vlan_label": "a"}, "firewall_id": 1}]}, "interfaces[0].firewall_id"),
    ],
)
def test_a_wrong_order_creates_nothing(account: Account, more: dict[str, Any], field: str) -> None:
    account.create(label="taken")
    before = len(account.api.store.addresses)
    ((status, named, _),) = account.reasons("POST", CREATE, LINODE | more)
    assert (status, named) == (400, field)
    assert len(account.api.store.linodes) == 1
    assert len(account.api.store.addresses) == before


def test_the_world_gets_to_know_all_it_needs(account: Account) -> None:
    data = base64.b64encode(b"#cloud-config\n").decode()
    account.do("POST", CREATE, LINODE | IMAGE | {"interfaces": [PUBLIC, VLAN], "metadata": {"user_data": data}})
    created = account.api.store.notices[0]
    assert isinstance(created, Created)
    view = created.linode
    assert [(port.name, port.vlan, port.ipam) for port in view.ports] == [
        ("eth0", None, ""),
        ("eth1", "nat-lan", "192.168.1.2/24"),
    ]
    assert view.user_data == b"#cloud-config\n"
    assert str(view.public_ipv4[0]) == "203.0.113.2/24"
    assert view.slaac.network.prefixlen == 64


def test_two_linodes_may_state_the_same_vlan_address(account: Account) -> None:
    for _ in range(2):
        account.create(**IMAGE, interfaces=[PUBLIC, VLAN])
    (lan,) = account.do("GET", "/networking/vlans")["data"]
    assert len(lan["linodes"]) == 2


def test_a_region_has_ten_vlans(account: Account) -> None:
    for start in range(0, 10, 2):
        lans = [VLAN | {"label": f"lan-{number}"} for number in (start, start + 1)]
        account.create(**IMAGE, interfaces=[PUBLIC, *lans])
    body = LINODE | IMAGE | {"interfaces": [PUBLIC, VLAN]}
    assert "limit of 10 VLANs" in account.reasons("POST", CREATE, body)[0][2]
    account.create(**IMAGE, region="us-ord", interfaces=[PUBLIC, VLAN])


def test_interfaces_change_only_while_it_is_off(account: Account) -> None:
    linode = account.create(**IMAGE, **MODERN, interfaces=[OPEN])
    path = f"{CREATE}/{linode['id']}/interfaces"
    lan = {"vlan": {"vlan_label": "nat-lan", "ipam_address": "192.168.1.2/24"}}
    assert "powered off" in account.reasons("POST", path, lan)[0][2]
    account.do("POST", f"{CREATE}/{linode['id']}/shutdown")
    account.later()
    added = account.do("POST", path, lan)
    assert "only once" in account.reasons("POST", path, lan)[0][2]
    assert account.do("GET", "/networking/vlans")["data"][0]["linodes"] == [linode["id"]]
    account.do("DELETE", f"{path}/{added['id']}")
    assert account.do("GET", "/networking/vlans")["data"] == []


def test_a_profile_is_restated_as_a_whole(account: Account) -> None:
    linode = account.create(**IMAGE, interfaces=[PUBLIC, VLAN])
    (config,) = account.do("GET", f"{CREATE}/{linode['id']}/configs")["data"]
    path = f"{CREATE}/{linode['id']}/configs/{config['id']}"
    assert config["helpers"]["network"] is True
    account.do("PUT", path, {"helpers": {"network": False}})
    changed = account.do("PUT", path, {"interfaces": [PUBLIC, VLAN | {"label": "other"}]})
    assert changed["helpers"]["network"] is False
    assert [one["label"] for one in changed["interfaces"]] == [None, "other"]
    assert account.reasons("PUT", path, {"interfaces": [VLAN, PUBLIC]})[0][2].startswith("The public")


def test_placement_groups_keep_linodes_apart(account: Account) -> None:
    kind = {"placement_group_type": "anti_affinity:local", "placement_group_policy": "strict"}
    group = account.do("POST", "/placement/groups", kind | {"label": "apart", "region": "us-east"})
    path = f"/placement/groups/{group['id']}"
    pair = [account.create(placement_group={"id": group["id"]}) for _ in range(2)]
    assert len({one["host_uuid"] for one in pair}) == 2
    assert pair[0]["placement_group"]["label"] == "apart"
    third = account.create()
    assert "compliant" in account.reasons("POST", f"{path}/assign", {"linodes": [third["id"]]})[0][2]
    assert "already" in account.reasons("POST", f"{path}/assign", {"linodes": [pair[0]["id"]]})[0][2]
    afar = account.create(region="us-ord")
    assert "us-ord" in account.reasons("POST", f"{path}/assign", {"linodes": [afar["id"]]})[0][2]
    assert "still has" in account.reasons("DELETE", path)[0][2]
    account.do("DELETE", f"{CREATE}/{pair[0]['id']}")
    assert [one["linode_id"] for one in account.do("GET", path)["members"]] == [pair[1]["id"]]
    account.do("POST", f"{path}/unassign", {"linodes": [pair[1]["id"]]})
    account.do("DELETE", path)


def test_firewall_limits(account: Account) -> None:
    rule = {"protocol": "TCP", "action": "ACCEPT", "addresses": {"ipv4": ["10.0.0.0/8"]}}

    def refused(**rules: Any) -> str:
        return account.reasons("POST", "/networking/firewalls", {"label": "wall", "rules": POLICIES | rules})[0][2]

    for addresses in ({"ipv4": [], "ipv6": ["::/0"]}, {"ipv4": ["10.0.0.0/8"], "ipv6": []}):
        assert "empty list" in refused(inbound=[rule | {"addresses": addresses}])
    assert "both" in refused(inbound=[rule | {"addresses": {}}])
    for ports in ("080", "24-22", "0", "65536", "22,", ",".join("1-2" for _ in range(8))):
        assert "ports" in refused(inbound=[rule | {"ports": ports}])
    assert "label" in refused(inbound=[rule | {"label": "ab"}])
    assert "networks" in refused(inbound=[rule | {"addresses": {"ipv4": ["10.0.0.1"]}}])
    assert "_policy" in account.reasons("POST", "/networking/firewalls", {"label": "wall", "rules": {}})[0][1]

    assert "protocol" in refused(inbound=[rule | {"protocol": "VRRP"}])
    assert "25 rules" in refused(inbound=[rule] * 13, outbound=[rule] * 13)
    assert "ports" in refused(inbound=[rule | {"ports": ",".join(map(str, range(16)))}])
    assert "255 entries" in refused(inbound=[rule | {"addresses": {"ipv4": ["10.0.0.0/8"] * 256}}])
    assert "IPv4 networks" in refused(inbound=[rule | {"addresses": {"ipv4": ["::/0"]}}])
    assert "inbound_policy" in refused(inbound_policy="REJECT")
    assert account.reasons("POST", "/networking/firewalls", {"label": "wall"})[0][1] == "rules"
    assert account.reasons("POST", "/networking/firewalls", {"label": "1-wall", "rules": POLICIES})[0][1] == "label"
    wall = account.do("POST", "/networking/firewalls", {"label": "wall", "rules": POLICIES})
    assert (wall["rules"]["inbound"], wall["rules"]["outbound"]) == (None, None), "as recorded"
    linode = account.create(**MODERN, interfaces=[OPEN])
    body = {"type": "linode", "id": linode["id"]}
    assert "interface" in account.reasons("POST", f"/networking/firewalls/{wall['id']}/devices", body)[0][2]


def test_a_rebuild_gives_new_disks_and_a_new_profile_and_keeps_the_rest(full: Full) -> None:
    before = full.do("GET", f"/linode/instances/{full.legacy}")
    data = base64.b64encode(b"#cloud-config\n{}").decode()
    body = {"image": "linode/debian12", "root_pass": "correct horse", "booted": False, "metadata": {"user_data": data}}
    full.do("PUT", f"/linode/instances/{full.legacy}/configs/{full.names['configId']}", {"helpers": {"network": False}})
    full.api.store.notices.clear()
    rebuilt = full.do("POST", f"/linode/instances/{full.legacy}/rebuild", body)
    assert rebuilt["status"] == "running", "recorded once: the answer still has the status from before"
    assert [type(one).__name__ for one in full.api.store.notices] == ["ShutDown", "Created"]
    assert full.reasons("POST", f"/linode/instances/{full.legacy}/rebuild", body)[0][2] == "Linode busy."
    full.later()
    after = full.do("GET", f"/linode/instances/{full.legacy}")
    assert after["status"] == "offline"
    same = ("id", "label", "ipv4", "ipv6", "tags", "host_uuid", "placement_group")
    assert {name: after[name] for name in same} == {name: before[name] for name in same}
    (profile,) = full.do("GET", f"/linode/instances/{full.legacy}/configs")["data"]
    assert profile["id"] != int(full.names["configId"])
    assert (profile["interfaces"], profile["helpers"]["network"]) == ([], True)
    assert full.api.store.linodes[int(full.legacy)].user_data == b"#cloud-config\n{}"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"root_pass": "correct horse"}, "image"),
        ({"image": "linode/debian12"}, "root_pass"),
        ({"image": "linode/nothing", "root_pass": "correct horse"}, "image"),
    ],
)
def test_a_rebuild_that_is_refused_changes_nothing(full: Full, body: dict[str, str], field: str) -> None:
    assert full.reasons("POST", f"/linode/instances/{full.legacy}/rebuild", body)[0][:2] == (400, field)
    assert full.do("GET", f"/linode/instances/{full.legacy}")["status"] == "running"


def test_the_default_firewall_guards_what_names_none(account: Account) -> None:
    wall = account.do("POST", "/networking/firewalls", {"label": "wall", "rules": POLICIES})
    account.api.store.default_firewall = wall["id"]
    made = [
        account.create(**MODERN, interfaces=[{"public": {}}]),
        account.create(**MODERN, interfaces=[OPEN]),
        account.create(),
        account.create(firewall_id=-1),
    ]
    guarded = {one.linode_id for one in account.api.store.devices.values()}
    assert guarded == {made[0]["id"], made[2]["id"]}


@pytest.mark.parametrize(
    ("setting", "allowed"),
    [
        ("legacy_config_only", {None: "legacy_config", "legacy_config": "legacy_config"}),
        ("linode_only", {None: "linode", "linode": "linode"}),
        (
            "linode_default_but_legacy_config_allowed",
            {None: "linode", "linode": "linode", "legacy_config": "legacy_config"},
        ),
    ],
)
def test_the_account_says_which_generation_may_be_made(
    account: Account, setting: str, allowed: dict[str | None, str]
) -> None:
    account.api.store.interfaces_for_new_linodes = setting
    for asked in (None, "linode", "legacy_config"):
        interfaces = [OPEN] if allowed.get(asked, asked) == "linode" else [PUBLIC]
        body = LINODE | {"interface_generation": asked, "interfaces": interfaces}
        if asked in allowed:
            assert account.do("POST", CREATE, body)["interface_generation"] == allowed[asked]
        else:
            assert account.reasons("POST", CREATE, body)[0][1] == "interface_generation"


def test_addresses_of_linode_interfaces_are_allocated_through_them_while_it_is_off(account: Account) -> None:
    linode = account.create(**IMAGE, **MODERN, booted=False, interfaces=[OPEN])
    body = {"type": "ipv4", "public": True}
    for path, more in ((f"{CREATE}/{linode['id']}/ips", {}), ("/networking/ips", {"linode_id": linode["id"]})):
        assert "through its interfaces" in account.reasons("POST", path, body | more)[0][2]
    second = account.further_address(linode["id"])
    assert account.do("GET", f"{CREATE}/{linode['id']}")["ipv4"][1] == second
    path = f"{CREATE}/{linode['id']}/interfaces"
    (public,) = account.do("GET", path)["interfaces"]
    only_one = {"public": {"ipv4": {"addresses": [{"address": second, "primary": True}]}}}
    account.do("PUT", f"{path}/{public['id']}", only_one)
    assert account.do("GET", f"{CREATE}/{linode['id']}")["ipv4"] == [second], "what is not stated is given back"
    account.do("POST", f"{CREATE}/{linode['id']}/boot")
    account.later()
    assert "powered off" in account.reasons("PUT", f"{path}/{public['id']}", only_one)[0][2]


def test_a_strict_group_needs_a_host_of_its_own_for_each(account: Account) -> None:
    account.api.store.policy = replace(account.api.store.policy, hosts_per_region=1)
    kind = {"placement_group_type": "anti_affinity:local", "region": "us-east"}
    strict = account.do("POST", "/placement/groups", kind | {"label": "s", "placement_group_policy": "strict"})
    account.create(placement_group={"id": strict["id"]})
    body = LINODE | {"placement_group": {"id": strict["id"]}}
    assert account.reasons("POST", CREATE, body)[0][1] == "placement_group.id"
    loose = account.do("POST", "/placement/groups", kind | {"label": "f", "placement_group_policy": "flexible"})
    for _ in range(2):
        account.create(placement_group={"id": loose["id"]})
    assert not account.do("GET", f"/placement/groups/{loose['id']}")["is_compliant"]


def test_dhcp_gives_the_first_address_as_text(account: Account) -> None:
    linode = account.create()
    for _ in range(7):
        account.do("POST", "/networking/ips", {"type": "ipv4", "public": True, "linode_id": linode["id"]})
    store = account.api.store
    store.addresses[IPv4Address("203.0.113.10")] = replace(
        store.addresses.pop(IPv4Address("203.0.113.3")), address=IPv4Address("203.0.113.10")
    )
    dhcp = account.api.store.view(account.api.store.linodes[linode["id"]]).dhcp
    assert str(dhcp) == "203.0.113.10/24", "10 sorts before 2"


def test_a_user_without_the_role_may_not(account: Account) -> None:
    account.api.tokens.set("any", Token(denied=frozenset({"POST /linode/instances"})))
    assert account.reasons("POST", CREATE, LINODE) == [(403, "", "Unauthorized")]
    assert account.do("GET", CREATE)["data"] == []
