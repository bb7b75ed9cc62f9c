"""Faults of a cable: pulled, dead, deaf in one direction, lossy, slow, too small."""

from __future__ import annotations

from natpair.chaos.fault import Fault, Limits
from natpair.chaos.processes import NO_OUTAGE_MS
from natpair.chaos.scene import Scene
from natpair.lab.world import Leg


def vlan_down(scene: Scene) -> None:
    """The active node's VLAN cable is pulled."""
    scene.link(scene.active, "vlan", "down")


def public_down(scene: Scene) -> None:
    """The active node's public cable is pulled."""
    scene.link(scene.active, "public", "down")


def dead_legs(scene: Scene) -> None:
    """The VLAN leg of the active node dies with its carrier up; then, after mending, the public leg of the active."""
    for leg in ("vlan", "public"):
        _dead(scene, leg)


def _dead(scene: Scene, leg: Leg) -> None:
    scene.link(scene.active, leg, "dead")
    scene.pass_time(4)
    scene.link(scene.active, leg, "up")
    scene.wait_ready()


def standby_deaf(scene: Scene) -> None:
    """The standby hears nothing of the active node on the VLAN; the other direction works."""
    rule = f"iifname {scene.port(scene.active, 'vlan')} oifname {scene.port(scene.standby, 'vlan')}"
    scene.drop("vlan", rule)
    scene.pass_time(6)


def active_deaf(scene: Scene) -> None:
    """The active node hears nothing of the standby on the VLAN."""
    rule = f"iifname {scene.port(scene.standby, 'vlan')} oifname {scene.port(scene.active, 'vlan')}"
    scene.drop("vlan", rule)
    scene.pass_time(6)


def adverts_lost(scene: Scene) -> None:
    """Of VRRP's adverts, one in ten is lost for a while, then three in ten."""
    for per_mille in (100, 300):
        scene.drop("vlan", f"ip protocol 112 numgen random mod 1000 < {per_mille}")
        scene.pass_time(10)


def partition(scene: Scene) -> None:
    """The VLAN is cut between the two nodes; both still reach the clients."""
    scene.lab.partition(True)
    try:
        scene.pass_time(15)
    finally:
        scene.lab.partition(False)


FAULTS = (
    Fault(11, "VLAN cable of the active node pulled", vlan_down, 1200),
    Fault(12, "public cable of the active node pulled", public_down, 1500),
    Fault(
        13,
        "a leg of the active node dead with its carrier up: VLAN, then public",
        dead_legs,
        2000,
        limits=Limits(transitions=2),
    ),
    Fault(14, "standby deaf to the active node on the VLAN", standby_deaf, 2000, limits=Limits(owners_ms=2000)),
    Fault(15, "active node deaf to the standby on the VLAN", active_deaf, NO_OUTAGE_MS, limits=Limits(transitions=0)),
    Fault(
        16,
        "VRRP adverts lost: 10 %, then 30 %",
        adverts_lost,
        NO_OUTAGE_MS,
        limits=Limits(transitions=0),
        scale="10 s each in place of an hour",
    ),
    Fault(
        17,
        "VLAN cut between the nodes (split brain), then healed",
        partition,
        3000,
        scale="15 s; natpair drill partition does 130 s",
    ),
)
