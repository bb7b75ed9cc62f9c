"""A pair on an emulated account, in the order that `natpair cloud apply` keeps, by Linode's own Python SDK."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from linode_api4 import Instance, LinodeClient

from natpair.core import paths
from natpair_lab.testbed.wait import wait_until

NATPAIR = (sys.executable, "-m", "natpair")
PASSWORD = "correct horse battery"  # noqa: S105 - for an emulator
REGION, PLAN, IMAGE = "us-ord", "g6-nanode-1", "linode/debian12"
KEY = "5a" * 32 + "\n"

CONFIG = """\
[pair]
vip = "192.168.1.1/24"
fips = ["{fip}"]

[[node]]
name = "nat-a"
private_address = "192.168.1.3/24"
public_address = "{a4}/24"
public_address6 = "{a6}/64"

[[node]]
name = "nat-b"
private_address = "192.168.1.4/24"
public_address = "{b4}/24"
public_address6 = "{b6}/64"

[bgp]
region = "us-ord"
"""


@dataclass(frozen=True)
class Account:
    """An emulated account that a process of its own serves."""

    url: str

    @property
    def client(self) -> LinodeClient:
        return LinodeClient("any", base_url=f"{self.url}/v4", retry=False)

    def settle(self, *linodes: Instance) -> None:
        """Wait until these are on their way to nowhere."""
        for linode in linodes:
            wait_until(lambda one=linode: _at_rest(one), deadline_seconds=60, what=f"the rest of {linode.label}")

    def create(self, label: str, address: str, vlan: str = "nat-lan") -> Instance:
        """A Linode of the newer interface generation, off, eth0 public and eth1 on the VLAN."""
        made = self.client.linode.instance_create(
            PLAN,
            REGION,
            label=label,
            image=IMAGE,
            root_pass=PASSWORD,
            booted=False,
            interface_generation="linode",
            network_helper=False,
            interfaces=[{"public": {}, "firewall_id": -1}, {"vlan": {"vlan_label": vlan, "ipam_address": address}}],
        )
        linode = made[0] if isinstance(made, tuple) else made
        self.settle(linode)
        return linode

    def further_address(self, linode: Instance) -> str:
        """One more public address of a Linode that is off."""
        public = next(one for one in linode.linode_interfaces if one.public is not None)
        stated = [{"address": one.address, "primary": one.primary} for one in public.public.ipv4.addresses]
        public.public = {"ipv4": {"addresses": [*stated, {"address": "auto", "primary": False}]}}
        public.save()
        linode.invalidate()
        return str(linode.ipv4[-1])

    def rebuild(self, linode: Instance, user_data: bytes, *, booted: bool = True) -> None:
        """New disks with this user data, and on."""
        metadata = {"user_data": base64.b64encode(user_data).decode()}
        linode.rebuild(IMAGE, root_pass=PASSWORD, booted=booted, metadata=metadata)
        self.settle(linode)

    def why(self, linode: Instance) -> str:
        """What the newest failed event of a Linode says."""
        events = [one for one in self.client.account.events() if one.entity is not None and one.entity.id == linode.id]
        return next(str(one.message) for one in events if one.status == "failed")

    def control(self, method: str, path: str, body: object = None) -> object:
        """The emulator's own endpoint."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/_emulator{path}", data, method=method)  # noqa: S310 - loopback
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return json.loads(answer.read())


def _at_rest(linode: Instance) -> bool:
    # After an order the first two reads still show the status from before.
    seen = []
    for _ in range(3):
        linode.invalidate()
        seen.append(linode.status)
    return set(seen) <= {"running", "offline"} and len(set(seen)) == 1


def user_data(name: str, config: str, key: str = KEY, path: str = paths.CONFIG) -> bytes:
    """The least that makes a Linode a node."""
    files = [
        {"path": path, "permissions": "0600", "content": config},
        {"path": "/etc/natpair/pair.key", "permissions": "0600", "content": key},
    ]
    return b"#cloud-config\n" + json.dumps({"hostname": name, "write_files": files}).encode()


def config_of(first: Instance, second: Instance, fip: str) -> str:
    """A gateway.toml with the addresses that the platform gave."""
    return CONFIG.format(
        fip=fip,
        a4=first.ipv4[0],
        b4=second.ipv4[0],
        a6=first.ipv6.partition("/")[0],
        b6=second.ipv6.partition("/")[0],
    )


@dataclass(frozen=True)
class Pair:
    """Two Linodes that are nodes."""

    account: Account
    first: Instance
    second: Instance
    fip: str
    config: str


def provision(account: Account, path: str = paths.CONFIG) -> Pair:
    """A pair from nothing, running but perhaps not ready; its configuration lies at `path`."""
    first, second = account.create("nat-a", "192.168.1.3/24"), account.create("nat-b", "192.168.1.4/24")
    fip = account.further_address(first)
    account.client.networking.ip_addresses_share([fip], second)
    config = config_of(first, second, fip)
    for linode in (first, second):
        account.rebuild(linode, user_data(linode.label, config, path=path))
    return Pair(account, first, second, fip, config)


@contextmanager
def serving(lab: str, *, seconds: float = 0.2) -> Iterator[Account]:
    """An empty account whose Linodes become hosts of `lab`; at the end neither is left."""
    argv = [*NATPAIR, "lab", "api", "--lab", lab, "--port", "0", "--seconds", str(seconds)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip().removesuffix("/v4")
            assert url, "natpair lab api did not start"
            yield Account(url)
        finally:
            process.terminate()
            try:
                process.wait(timeout=60)
            finally:
                process.kill()
                subprocess.run([*NATPAIR, "lab", "down", "--name", lab], capture_output=True, check=True)
