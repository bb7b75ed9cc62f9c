"""Everything that a tenant can put on the VLAN at layers 2 to 4, frame by frame: it changes nothing on a node."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from checks.scratch import Scratch
from checks.test_traffic import FIP, World, built

pytestmark = pytest.mark.root

FRAMES = str(Path(__file__).with_name("frames.py"))


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with built() as there:
        yield there


def address(where: Scratch, link: str) -> str:
    (found,) = json.loads(where.run("ip", "-j", "link", "show", link).stdout)
    return str(found["address"])


def like_a_machine(world: World) -> None:
    """As the kernel would have it without natpair's sysctls: the ruleset alone has to do."""
    settings = {"disable_ipv6": 0, "accept_ra": 1, "autoconf": 1}
    world.node.run("sysctl", "-qw", *[f"net.ipv6.conf.eth1.{name}={value}" for name, value in settings.items()])
    own = "for d in eth0 eth1; do until ip -6 address show dev $d -tentative | grep -q fe80; do sleep 0.05; done; done"
    world.node.run("timeout", "10", "sh", "-c", own)


def settled(world: World) -> dict[str, str]:
    """What a tenant would like to change on the node: addresses, routes, neighbours that count, settings."""
    commands = {
        "addresses": "ip -br address", "routes": "ip route show table all", "IPv6 routes": "ip -6 route show",
        "rules": "ip rule", "peer": "ip neigh show 192.168.1.4 nud permanent", "next hop": "ip neigh show 203.0.113.1",
        "flows": "conntrack -L -p udp 2>/dev/null; conntrack -L -p tcp 2>/dev/null",
    }  # fmt: skip
    found = {name: world.node.run("sh", "-c", command, ok=(0, 1)).stdout for name, command in commands.items()}
    found["next hop"] = found["next hop"].split(" lladdr ")[-1][:17]
    return found


def test_no_frame_of_a_tenant_changes_anything_or_leaves_as_it_is(world: World) -> None:
    mac = address(world.node, "eth1")
    world.node.run("nft", "-f", "/run/g/nftables.nft")
    world.node.run("tc", "-batch", "/run/g/guard.tc")
    world.node.run("ip", "-batch", "/run/g/routes.ip")
    world.switch("traffic-local")
    like_a_machine(world)
    peer = address(world.client, "far0")
    world.node.run(
        "ip", "neigh", "replace", "192.168.1.4", "lladdr", "02:00:00:00:00:04", "dev", "eth1", "nud", "permanent"
    )
    world.node.run("ping", "-c1", "-W1", "203.0.113.1")
    before = settled(world)
    with world.watch(world.server, 1.5) as seen:
        count = json.loads(world.client.run(sys.executable, FRAMES, "far0", mac).stdout)
    assert count > 290
    after = settled(world)
    # What leaves are begun flows of clients, which is what the gateway is for: one source, that of the FIP.
    assert {line.split()[0] for line in seen} <= {FIP}, set(seen)
    assert {line.rsplit(" ", 1)[1] for line in seen} <= {"17"}, "UDP of the fragment with ports"
    before.pop("flows")
    assert all(f"dst={FIP}" in line for line in after.pop("flows").splitlines())
    assert after == before
    assert peer not in after["next hop"]


def test_the_control_without_the_ruleset_a_tenant_changes_the_routes_of_the_node(world: World) -> None:
    mac = address(world.node, "eth1")
    like_a_machine(world)
    before = settled(world)
    world.node.run("nft", "flush", "ruleset")
    world.client.run(sys.executable, FRAMES, "far0", mac, "router advertisement", "advertised prefix")
    after = settled(world)
    assert "proto ra" in after["IPv6 routes"]
    assert "2001:db8:bad:" in after["addresses"]
    assert before != after
