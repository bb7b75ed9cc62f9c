"""Faults of the kernel's state: rules, addresses, routes, settings and flow entries changed by somebody else."""

from __future__ import annotations

from natpair.chaos.fault import Fault, Limits
from natpair.chaos.scene import Scene

_REPAIR_MS = 1000.0
_LOCAL = "natpair traffic=local"


def ruleset_flushed(scene: Scene) -> None:
    """Another tool throws the whole ruleset of the active node away."""
    scene.run(scene.active, "nft", "flush", "ruleset")
    if scene.eyes.agents_speak:
        scene.check("repaired", scene.wait(lambda: _in_place(scene), 10), _REPAIR_MS)


def _in_place(scene: Scene) -> bool:
    return _LOCAL in scene.run(scene.active, "nft", "list", "table", "ip", "natpair", check=False)


FAULTS = (Fault(34, "nft flush ruleset on the active node", ruleset_flushed, _REPAIR_MS, limits=Limits(transitions=0)),)
