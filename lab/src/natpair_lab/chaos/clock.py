"""The fault of a wall clock that jumps: a node's own, as a preloaded library shows it to every program there."""

from __future__ import annotations

import base64
import subprocess
import tempfile
import time
from pathlib import Path

from natpair.errors import LabError
from natpair_lab.chaos.fault import Fault, Limits
from natpair_lab.chaos.lifecycle import rolling_restart
from natpair_lab.chaos.scene import Scene

_SOURCE = Path(__file__).with_name("clock.c")
_LIBRARY, _PRELOAD, _STEP = "/etc/clock-shim.so", "/etc/ld.so.preload", "/etc/clock-step"
_COMPILE_SECONDS = 60
_HOUR = 3600
_YEAR_2038 = 2**31
"""Seconds since 1970 at which 32 bits with a sign are full."""
_BEFORE_2038_SECONDS = 3


def clock_jumps(scene: Scene) -> None:
    """Both clocks an hour back, two forward, each second another way, over the end of 32 bits; then a power cut."""
    library = _compiled()
    for node in scene.lab.nodes:
        scene.undo.append(lambda node=node: scene.run(node, "rm", "-f", _PRELOAD, _LIBRARY, _STEP, check=False))  # type: ignore[misc]
        scene.run(node, "sh", "-c", f"base64 -d > {_LIBRARY} && echo 0 > {_STEP}", stdin=library)
        scene.run(node, "sh", "-c", f"chmod 755 {_LIBRARY} && echo {_LIBRARY} > {_PRELOAD}")
    rolling_restart(scene)
    for step in (-_HOUR, _HOUR):
        _set(scene, step)
        scene.pass_time(4)
        wrong = _date(scene) - time.time() - step
        scene.require(f"the clock is {step} s off", abs(wrong) < _HOUR / 2, f"it is {wrong:.0f} s from that")
    for number in range(6):
        _set(scene, (-1) ** number * 10 * number)
        scene.pass_time(1)
    _set(scene, round(_YEAR_2038 - _BEFORE_2038_SECONDS - time.time()))
    scene.pass_time(2 * _BEFORE_2038_SECONDS)
    scene.require("2038 has come", _date(scene) > _YEAR_2038)
    scene.may_be_felt()
    scene.power_cut(scene.active)


def _compiled() -> str:
    """The library, in base64."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "clock.so"
        argv = ["gcc", "-shared", "-fPIC", "-O2", "-o", str(made), str(_SOURCE), "-ldl"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_COMPILE_SECONDS, check=False)
        if done.returncode:
            raise LabError(f"gcc refuses {_SOURCE.name}: {done.stderr.strip()}", cure="apt-get install gcc libc6-dev")
        return base64.b64encode(made.read_bytes()).decode()


def _set(scene: Scene, step: int) -> None:
    for node in scene.lab.nodes:
        # In place by rename: nobody reads half a number.
        scene.run(node, "sh", "-c", f"echo {step} > {_STEP}.new && mv {_STEP}.new {_STEP}")


def _date(scene: Scene) -> float:
    return float(scene.run(scene.active, "date", "+%s"))


FAULTS = (
    Fault(
        50,
        "clock jumps by an hour, steps every second, year 2038, then power cut of the active node",
        clock_jumps,
        900,
        limits=Limits(transitions=2, heal_seconds=90),
        scale="the clock that the programs of a node see, by a preloaded library; its kernel's is the machine's",
        agents=True,
        needs="gcc",
    ),
)
