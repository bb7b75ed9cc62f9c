"""Faults of whole machines: power, boot, stalls."""

from __future__ import annotations

from natpair.chaos.fault import Fault
from natpair.chaos.scene import Scene


def power_cut(scene: Scene) -> None:
    """The active node loses power: cables first, then everything on it."""
    scene.power_cut(scene.active)


FAULTS = (Fault(68, "power cut of the active node", power_cut, 900),)
