"""An emulated account with one of everything, spoken to without a network."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any

from emulator.served import quick_api
from natpair_lab.emulator.api import Api, Request
from natpair_lab.emulator.control import Control

LINODE = {"region": "us-east", "type": "g6-nanode-1"}
IMAGE = {"image": "linode/debian12", "root_pass": "correct horse battery"}
VLAN = {"purpose": "vlan", "label": "nat-lan", "ipam_address": "192.168.1.2/24"}
PUBLIC = {"purpose": "public"}
OPEN = {"public": {}, "firewall_id": -1}
POLICIES = {"inbound_policy": "ACCEPT", "outbound_policy": "ACCEPT"}
ANYWHERE = {"ipv4": ["0.0.0.0/0"], "ipv6": ["::/0"]}
RULE = {"protocol": "TCP", "ports": "22", "action": "ACCEPT", "label": "ssh", "addresses": ANYWHERE}


@dataclass
class Account:
    """The API with a clock that stands still unless told otherwise."""

    api: Api = field(default_factory=quick_api)
    now: float = 1_800_000_000.0

    def ask(
        self, method: str, path: str, body: Any = None, *, x_filter: Any = None, word: str | None = "any", **query: str
    ) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {word}"} if word else {}
        if x_filter is not None:
            headers["X-Filter"] = x_filter if isinstance(x_filter, str) else json.dumps(x_filter)
        raw = b"" if body is None else json.dumps(body).encode()
        reply = self.api.answer(Request(method, path, query, headers, raw), self.now)
        self.headers = dict(reply.headers)
        return reply.status, json.loads(reply.body)

    def do(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """A request that must succeed."""
        status, document = self.ask(method, path, body, **more)
        assert status == 200, (method, path, body, document)
        return document

    def reasons(self, method: str, path: str, body: Any = None, **more: Any) -> list[tuple[int, str, str]]:
        """A request that must fail: (status, field, reason) of each complaint."""
        status, document = self.ask(method, path, body, **more)
        assert status >= 400, document
        assert set(document) == {"errors"}
        assert document["errors"]
        return [(status, one.get("field", ""), one["reason"]) for one in document["errors"]]

    def later(self, seconds: float = 10.0) -> None:
        """Let time pass, with a World that does everything at once."""
        for _ in range(4):
            self.now += seconds
            self.api.store.notices.clear()
            self.api.advance(self.now)

    def create(self, **more: Any) -> Any:
        """A settled Linode."""
        linode = self.do("POST", "/linode/instances", LINODE | more)
        self.later()
        return self.do("GET", f"/linode/instances/{linode['id']}")

    def further_address(self, linode_id: int) -> str:
        """One more address for a Linode with Linode interfaces, which is off."""
        path = f"/linode/instances/{linode_id}/interfaces"
        public = next(one for one in self.do("GET", path)["interfaces"] if one["public"])
        stated = [*public["public"]["ipv4"]["addresses"], {"address": "auto", "primary": False}]
        changed = self.do("PUT", f"{path}/{public['id']}", {"public": {"ipv4": {"addresses": stated}}})
        return str(changed["public"]["ipv4"]["addresses"][-1]["address"])

    def status(self, linode: Any) -> str:
        return str(self.do("GET", f"/linode/instances/{linode['id']}")["status"])

    def shared(self, linode: Any) -> list[str]:
        shared = self.do("GET", f"/linode/instances/{linode['id']}/ips")["ipv4"]["shared"]
        return [one["address"] for one in shared]


@dataclass
class Full(Account):
    """One of everything; `names` fills the parameters of any path."""

    names: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rules = POLICIES | {"inbound": [RULE], "outbound": [RULE]}
        firewall = self.do("POST", "/networking/firewalls", {"label": "wall", "rules": rules})
        group = {"label": "apart", "region": "us-east", "placement_group_policy": "strict"}
        group = self.do("POST", "/placement/groups", group | {"placement_group_type": "anti_affinity:local"})
        data = base64.b64encode(b"#cloud-config").decode()
        legacy = self.create(
            **IMAGE,
            label="nat-a",
            tags=["natpair"],
            private_ip=True,
            interfaces=[PUBLIC, VLAN],
            firewall_id=firewall["id"],
            placement_group={"id": group["id"]},
            metadata={"user_data": data},
        )
        modern = self.create(
            **IMAGE,
            label="nat-b",
            booted=False,
            interface_generation="linode",
            interfaces=[
                {"public": {}, "firewall_id": firewall["id"]},
                {"vlan": {"vlan_label": "nat-lan", "ipam_address": "192.168.1.3/24"}},
            ],
        )
        reserved = self.do("POST", "/networking/reserved/ips", {"region": "us-east", "tags": ["fip"]})["address"]
        self.do("POST", f"/linode/instances/{legacy['id']}/ips", {"type": "ipv4", "public": True, "address": reserved})
        extra = self.do("POST", "/networking/ips", {"type": "ipv4", "public": True, "linode_id": legacy["id"]})
        self.do("POST", "/networking/ips/share", {"linode_id": modern["id"], "ips": [extra["address"], reserved]})
        back = self.further_address(modern["id"])
        self.do("POST", "/networking/ips/share", {"linode_id": legacy["id"], "ips": [back]})
        third = self.create(interface_generation="linode", interfaces=[OPEN])
        Control(self.api).add_maintenance({"linode_id": legacy["id"], "when": 600, "not_before": 300})
        config = self.do("GET", f"/linode/instances/{legacy['id']}/configs")["data"][0]
        devices = self.do("GET", f"/networking/firewalls/{firewall['id']}/devices")["data"]
        self.legacy, self.modern = str(legacy["id"]), str(modern["id"])
        interfaces = self.do("GET", f"/linode/instances/{self.modern}/interfaces")["interfaces"]
        self.unguarded_interface = self.do("GET", f"/linode/instances/{third['id']}/interfaces")["interfaces"][0]["id"]
        self.modern_interface, self.legacy_interface = str(interfaces[0]["id"]), str(config["interfaces"][1]["id"])
        self.names = {
            "regionId": "us-east",
            "typeId": "g6-nanode-1",
            "eventId": str(self.do("GET", "/account/events")["data"][0]["id"]),
            "configId": str(config["id"]),
            "address": reserved,
            "groupId": str(group["id"]),
            "firewallId": str(firewall["id"]),
            "deviceId": str(devices[1]["id"]),
            "label": "nat-lan",
        }

    def path(self, template: str) -> str:
        """A path of the API with this account's names in it."""
        modern = "/interfaces" in template and "/configs" not in template
        names = self.names | {
            "linodeId": self.modern if modern else self.legacy,
            "interfaceId": self.modern_interface if modern else self.legacy_interface,
        }
        return template.format_map(names)
