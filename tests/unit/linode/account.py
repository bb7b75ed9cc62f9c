"""An account in memory behind the fake API: addresses, shares and labels, as Linode keeps them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from unit.linode import fakeapi
from unit.linode.fakeapi import FakeApi, Seen, address, instance

A, B, OTHER = 101, 102, 103
FIP, FIP2, FOREIGN = "192.0.2.221", "192.0.2.222", "198.51.100.77"
RANGE, UNSHARED_RANGE = "2001:db8:3c4d:15::", "2001:db8:3c4d:16::"


@dataclass
class Account:
    """`owners`: address → Linode; `shares`: receiver → the whole list as the last call set it."""

    owners: dict[str, int] = field(default_factory=lambda: {FIP: A, FIP2: A, FOREIGN: OTHER})
    shares: dict[int, list[str]] = field(default_factory=lambda: {A: [], B: [FOREIGN, RANGE]})
    instances: list[dict[str, Any]] = field(default_factory=list)

    def serve(self, api: FakeApi) -> None:
        for linode in (A, B):
            api.on("GET", f"/linode/instances/{linode}/ips", fakeapi.calling(self._addresses))
            api.on(
                "POST", f"/linode/instances/{linode}/ips", fakeapi.calling(lambda seen: self.allocate(_linode(seen)))
            )
        for one in self.owners:
            api.on("GET", f"/networking/ips/{one}", fakeapi.calling(self._address))
        listed = [{"range": one, "prefix": 64, "region": "us-ord"} for one in (RANGE, UNSHARED_RANGE)]
        api.on("GET", "/networking/ipv6/ranges", fakeapi.page(listed))
        for one in listed:
            api.on("GET", f"/networking/ipv6/ranges/{one['range']}", fakeapi.calling(self._range))
        api.on("POST", "/networking/ips/share", fakeapi.calling(self.share))
        api.on("GET", "/linode/instances", fakeapi.calling(self._instances))

    def share(self, seen: Seen) -> object:
        self.shares[seen.body["linode_id"]] = list(seen.body["ips"])
        return {}

    def allocate(self, linode: int) -> dict[str, Any]:
        new = f"203.0.113.{len(self.owners) + 1}"
        self.owners[new] = linode
        return address(new, linode)

    def create(self, label: str) -> dict[str, Any]:
        self.instances.append(instance(200 + len(self.instances), label))
        return self.instances[-1]

    def _addresses(self, seen: Seen) -> object:
        linode = _linode(seen)
        own = [address(one, linode) for one, owner in self.owners.items() if owner == linode]
        shared = [address(one, self.owners[one]) for one in self.shares[linode] if one in self.owners]
        ipv4 = {"public": own, "private": [], "shared": shared, "reserved": []}
        return {"ipv4": ipv4, "ipv6": {"slaac": {"address": "2001:db8::1", "prefix": 64}, "global": []}}

    def _address(self, seen: Seen) -> object:
        one = seen.path.rpartition("/")[2]
        return address(one, self.owners[one])

    def _range(self, seen: Seen) -> object:
        one = seen.path.rpartition("/")[2]
        to = [linode for linode, shared in self.shares.items() if one in shared]
        # A range that is only routed lists the Linode it is routed to, and is not "bgp".
        return {"range": one, "prefix": 64, "region": "us-ord", "is_bgp": bool(to), "linodes": to or [B]}

    def _instances(self, _: Seen) -> object:
        return {"data": self.instances, "page": 1, "pages": 1, "results": len(self.instances)}


def _linode(seen: Seen) -> int:
    return int(seen.path.split("/")[3])
