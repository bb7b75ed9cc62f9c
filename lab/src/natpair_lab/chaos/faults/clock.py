"""The fault of a wall clock that jumps. A preloaded library gives all programs of a node a clock of their own."""

from __future__ import annotations

import base64
import subprocess
import tempfile
import time
from pathlib import Path

from natpair.errors import LabError
from natpair_lab.chaos.context import Context
from natpair_lab.chaos.fault import Fault, Limits
from natpair_lab.chaos.faults.lifecycle import rolling_restart

_SOURCE = Path(__file__).with_name("clock.c")
_LIBRARY, _PRELOAD, _STEP = "/etc/clock-shim.so", "/etc/ld.so.preload", "/etc/clock-step"
_COMPILE_SECONDS = 60
_HOUR = 3600
_YEAR_2038 = 2**31
"""Seconds since 1970 at which a signed 32-bit number overflows."""
_BEFORE_2038_SECONDS = 3


@Fault(
    50,
    "clock jumps by an hour, steps every second, year 2038, then power cut of the active node",
    bound_ms=900,
    limits=Limits(transitions=2, recover_seconds=90),
    scale="changes the clock that a node's programs see, with a preloaded library; the kernel's clock is the machine's",
    agents=True,
    needs="gcc",
    alone=True,
)
def clock_jumps(context: Context) -> None:
    """Both clocks jump 1 h back and 1 h ahead, change every second, and pass the year 2038; then a power cut."""
    for node in context.lab.nodes:
        give_own_clock(context, node)
    rolling_restart.inject(context)
    for ahead in (-_HOUR, _HOUR):
        _set(context, ahead)
        context.pass_time(4)
        wrong = _date(context) - time.time() - ahead
        context.require(f"the clock is {ahead} s off", abs(wrong) < _HOUR / 2, f"it is {wrong:.0f} s from that")
    for number in range(6):
        _set(context, (-1) ** number * 10 * number)
        context.pass_time(1)
    _set(context, round(_YEAR_2038 - _BEFORE_2038_SECONDS - time.time()))
    context.pass_time(2 * _BEFORE_2038_SECONDS)
    context.require("the clock is past 2038", _date(context) > _YEAR_2038)
    context.may_be_felt()
    context.power_cut(context.active)


def give_own_clock(context: Context, node: str) -> None:
    """Programs that start on the node from now on read a clock that `step` can set wrong."""
    context.undo.append(lambda: context.run(node, "rm", "-f", _PRELOAD, _LIBRARY, _STEP, check=False))
    context.run(node, "sh", "-c", f"base64 -d > {_LIBRARY} && echo 0 > {_STEP}", stdin=_compiled())
    context.run(node, "sh", "-c", f"chmod 755 {_LIBRARY} && echo {_LIBRARY} > {_PRELOAD}")


def _compiled() -> str:
    """The compiled library, in base64."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "clock.so"
        argv = ["gcc", "-shared", "-fPIC", "-O2", "-o", str(made), str(_SOURCE), "-ldl"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_COMPILE_SECONDS, check=False)
        if done.returncode:
            raise LabError(f"gcc refuses {_SOURCE.name}: {done.stderr.strip()}", fix="apt-get install gcc libc6-dev")
        return base64.b64encode(made.read_bytes()).decode()


def step(context: Context, node: str, seconds: int) -> None:
    """Set the node's clock this far ahead of the machine's."""
    # Replaced by rename, so that no program reads half a number.
    context.run(node, "sh", "-c", f"echo {seconds} > {_STEP}.new && mv {_STEP}.new {_STEP}")


def _set(context: Context, seconds: int) -> None:
    for node in context.lab.nodes:
        step(context, node, seconds)


def _date(context: Context) -> float:
    return float(context.run(context.active, "date", "+%s"))
