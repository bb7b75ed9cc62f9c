"""Faults that leave links, sessions and rulesets alone and hurt all the same: both nodes have to say so."""

from __future__ import annotations

import signal

from natpair_lab.chaos.fault import UNTOUCHED, Fault, Limits
from natpair_lab.chaos.processes import NO_OUTAGE_MS
from natpair_lab.chaos.scene import Scene
from natpair_lab.testbed.topology import CLIENTS, FABRIC, FABRIC_PUBLIC

_TOLD_MS = 8000
"""Three seconds from the cause, and what a busy machine and the asking add."""
_OVER_MS = 8000
_OTHER_KEY = "another key, which is as long as a key has to be"


def told_by_both(scene: Scene, code: str) -> None:
    """Note how long it takes until both agents tell a condition."""

    def all_say() -> bool:
        return all(code in scene.conditions(node) for node in scene.lab.nodes)

    scene.check(f"{code} on both", scene.wait(all_say, _TOLD_MS / 1000), _TOLD_MS)


def over_on_both(scene: Scene, code: str) -> None:
    """Note how long it takes until no agent tells a condition any more."""

    def none_says() -> bool:
        return not any(code in scene.conditions(node) for node in scene.lab.nodes)

    scene.check(f"{code} over", scene.wait(none_says, _OVER_MS / 1000), _OVER_MS)


def keys_differ(scene: Scene) -> None:
    """Somebody makes a new key on the standby alone, and its agent starts anew."""
    path = scene.lab.gateway.heartbeat.key_file
    key = scene.run(scene.standby, "cat", path)

    def put(text: str) -> None:
        scene.run(scene.standby, "sh", "-c", f"cat > {path}", stdin=text)
        scene.kill(scene.standby, "agent", signal.SIGTERM)

    scene.undo.append(lambda: put(key))
    put(_OTHER_KEY)
    told_by_both(scene, "keys-differ")
    said = scene.conditions(scene.standby)
    scene.require("the standby does not say that nobody serves", "nobody-active" not in said, f"it says {sorted(said)}")
    scene.undo.pop()()
    over_on_both(scene, "keys-differ")


def share_revoked_everywhere(scene: Scene) -> None:
    """The FIP is shared to neither node any more."""
    fip = scene.lab.gateway.pair.fips[0]
    scene.undo.append(lambda: scene.lab.share(fip, scene.lab.nodes))
    scene.lab.share(fip, [])
    told_by_both(scene, "no-replies")
    scene.undo.pop()()
    over_on_both(scene, "no-replies")


def ports_exhausted(scene: Scene) -> None:
    """Clients open more flows to one destination than a FIP has ports of their kind."""
    client = CLIENTS[1]
    network = scene.lab.gateway.private_network
    addresses = [f"{network[-2 - n]}" for n in range(4)]
    for address in addresses:
        argv = ("ip", "address", "%s", f"{address}/{network.prefixlen}", "dev", "eth0")
        scene.undo.append(lambda argv=argv: scene.run(client, *(word.replace("%s", "del") for word in argv)))  # type: ignore[misc]
        scene.run(client, *(word.replace("%s", "add") for word in argv))
    scene.start(client, "ports", scene.lab.topology.internet[0].ip, 10, *addresses)
    told_by_both(scene, "ports-exhausted")
    scene.pass_time(8)
    over_on_both(scene, "ports-exhausted")


def line_cut_for_active(scene: Scene) -> None:
    """Behind the gateway nothing comes from or goes to the active node; the gateway and the standby's way are fine."""
    mac = scene.run(scene.active, "cat", f"/sys/class/net/{_public(scene)}/address").strip()
    internet = scene.lab.topology.internet_gateway.network

    def undo() -> None:
        for table in ("ip cut", "netdev cut"):
            scene.run(FABRIC, "nft", f"add table {table}; delete table {table}")

    scene.undo.append(undo)
    there = "add chain ip cut way { type filter hook forward priority 0 ; }"
    back = f"add chain netdev cut way {{ type filter hook egress device {FABRIC_PUBLIC} priority 0 ; }}"
    scene.run(FABRIC, "nft", f"add table ip cut; {there}; add rule ip cut way ether saddr {mac} drop")
    rule = f"add rule netdev cut way ether daddr {mac} ip saddr {internet} drop"
    scene.run(FABRIC, "nft", f"add table netdev cut; {back}; {rule}")
    scene.pass_time(12)
    role = (scene.lab.status(scene.standby) or {}).get("role")
    scene.require("the standby serves", role == "active", f"it is {role}")


def _public(scene: Scene) -> str:
    return scene.lab.gateway.node_named(scene.active).public_interface


_OUT = Limits(transitions=2, path_ms=30_000, new_ms=30_000)

FAULTS = (
    Fault(
        76,
        "the nodes have different keys",
        keys_differ,
        NO_OUTAGE_MS,
        invariants=UNTOUCHED,
        limits=Limits(transitions=0),
        agents=True,
    ),
    Fault(77, "FIP shared to neither node", share_revoked_everywhere, 20_000, limits=_OUT, agents=True),
    Fault(78, "a FIP without free ports", ports_exhausted, NO_OUTAGE_MS, limits=Limits(transitions=0), agents=True),
    Fault(80, "line behind the gateway cut for the active node", line_cut_for_active, 10_000, limits=_OUT, agents=True),
)
