"""Faults of whole machines: power, boot, stalls, upgrades."""

from __future__ import annotations

from natpair_lab.chaos.boots import Tell, boots, untold
from natpair_lab.chaos.cgroups import Group, pids
from natpair_lab.chaos.eyes import owners
from natpair_lab.chaos.fault import Fault, Limits
from natpair_lab.chaos.processes import NO_OUTAGE_MS
from natpair_lab.chaos.scene import LEGS, Scene

_BOOTS = 3
_OUTBOUND_FIRST = ("echo", "idle")
"""Flows whose client speaks first: without any entry only these can be picked up again."""
_SERVICES = ("conntrackd", "speaker", "keepalived", "agent")


def power_cut(scene: Scene) -> None:
    """The active node loses power: cables first, then everything on it."""
    scene.power_cut(scene.active)


def last_node_doubts(scene: Scene) -> None:
    """The standby is without power, and then the active node's gateway no longer answers ARP, but still forwards."""
    scene.power_cut(scene.standby)
    scene.pass_time(2)
    node = scene.lab.gateway.node_named(scene.active)
    scene.drop("public", f"oifname {scene.port(scene.active, 'public')} ether type arp arp operation reply")
    scene.pass_time(6)
    scene.require("keeps the VIP", owners(scene.lab) == (node.name,), "the last node gave the VIP up")


def boots_fault(times: int, seed: int, tell: Tell = untold) -> Fault:
    """Fault 56 with so many boots: exactly one node takes the VIP in each, and keeps it. `tell` hears of each."""
    return Fault(
        56,
        "both nodes boot at once, with random skew",
        boots(times, seed, tell),
        15_000,
        limits=Limits(transitions=times, path_ms=5000, flow_kinds=_OUTBOUND_FIRST, broken_ratio=1),
        scale=f"{times} times in place of 50",
    )


def flapping(scene: Scene) -> None:
    """The active node's public cable goes up and down once a second."""
    for _ in range(12):
        scene.link(scene.active, "public", "down")
        scene.pass_time(0.5)
        scene.link(scene.active, "public", "up")
        scene.pass_time(0.5)


def rolling_restart(scene: Scene) -> None:
    """Every daemon is restarted as an upgrade does: on the standby, then, roles changed, on the other."""
    for last in (False, True):
        for word in _SERVICES:
            scene.lab.service(scene.standby, scene.service(scene.standby, word), "restart")
            scene.pass_time(0.5)
        scene.wait_ready()
        if not last:
            scene.hand_over()


def reboots(scene: Scene) -> None:
    """Each node is rebooted while it is the standby, with a switchover in between."""
    for last in (False, True):
        scene.power_cut(scene.standby)
        scene.boot(scene.standby)
        scene.wait_ready()
        if not last:
            scene.hand_over()


def there_and_back(scene: Scene) -> None:
    """The active node loses power and returns, and as soon as the pair is whole the other loses power."""
    first = scene.active
    scene.power_cut(first)
    scene.pass_time(1.5)
    scene.boot(first)
    scene.wait_ready()
    scene.power_cut(scene.active)


def stalled(scene: Scene) -> None:
    """The hypervisor stops the active node, its cables go nowhere meanwhile, and it wakes as if nothing had been."""
    for seconds in (1, 3, 10):
        node = scene.active
        group = Group("freezer", f"{scene.lab.name}-{node}")
        scene.undo.append(group.close)
        group.add(pids(scene.lab, node))
        for leg in LEGS:
            scene.link(node, leg, "dead")
        group.set("freezer.state", "FROZEN")
        scene.pass_time(seconds)
        group.set("freezer.state", "THAWED")
        for leg in LEGS:
            scene.link(node, leg, "up")
        scene.pass_time(1)
        scene.undo.pop()()
        scene.wait_ready()


def both_cut_one_returns(scene: Scene) -> None:
    """Both nodes lose power; only one comes back, and must serve alone."""
    for node in scene.lab.nodes:
        scene.power_cut(node)
    scene.pass_time(1)
    scene.boot(scene.active)
    bound = (scene.lab.gateway.timing.bgp_hold_seconds + 2) * 1000
    alone = scene.wait(lambda: scene.lab.best_path() == (scene.active,) == owners(scene.lab), 30)
    scene.check("serves alone", alone, bound, "counted from the end of the boot")


FAULTS = (
    Fault(55, "standby without power, then the active node's gateway mute", last_node_doubts, NO_OUTAGE_MS),
    boots_fault(_BOOTS, 56),
    Fault(
        57,
        "public cable of the active node flaps at 1 Hz",
        flapping,
        1500,
        limits=Limits(transitions=2),
        scale="12 s in place of 60 s",
    ),
    Fault(
        58,
        "rolling upgrade: every daemon restarted on each node, a switchover between",
        rolling_restart,
        NO_OUTAGE_MS,
        scale="the same version on both sides: there is no earlier release yet",
        agents=True,
    ),
    Fault(59, "each node rebooted in turn, a switchover between", reboots, NO_OUTAGE_MS, agents=True),
    Fault(65, "power cut, return, power cut of the other", there_and_back, 900, limits=Limits(transitions=2)),
    Fault(
        66,
        "hypervisor stalls the active node for 1, 3 and 10 s",
        stalled,
        1500,
        limits=Limits(transitions=3),
        scale="without the 60 s",
    ),
    Fault(68, "power cut of the active node", power_cut, 900),
    Fault(
        69,
        "power cut of both, one returns",
        both_cut_one_returns,
        15_000,
        limits=Limits(path_ms=8000, flow_kinds=_OUTBOUND_FIRST),
        scale="serves within hold time + 2 s of its boot, as design has it, in place of 3 s",
    ),
)
