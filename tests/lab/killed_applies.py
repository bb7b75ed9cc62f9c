"""Applies that are killed at random moments on a pair that serves: does the next converge, what did clients see?

Used by the lab test with a few moments and by scripts/apply-kill-figures with many.
"""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from natpair.core import paths
from natpair_lab.drill.analysis import longest_gap_ns, reply_gaps
from natpair_lab.drill.traffic import Traffic
from natpair_lab.drill.witnesses import Witnesses
from natpair_lab.testbed.node import PROGRAM
from natpair_lab.testbed.wait import wait_until
from natpair_lab.testbed.world import Lab

BASELINE_SECONDS = 3.0
_FLOWS = 20

# On the active node what no client may feel; on the standby everything, its election and its BGP sessions included.
GENTLE = (
    ("[bgp]", "[nat]\nudp_seconds = 400\nmax_flows = 131072\n[firewall]\nmanagement_tcp_ports = [22, 2222]\n[bgp]"),
)
ROUGH = (*GENTLE, ('profile = "balanced"', 'profile = "conservative"'))


@dataclass
class Figures:
    """What came of it; gaps in milliseconds."""

    kills: int = 0
    cut_off: int = 0
    """How many were still at work when they were killed, with files or daemons already touched."""
    failed: list[str] = field(default_factory=list)
    leaks: int = 0
    taps_lost: int = 0
    baseline_gap_ms: float = 0.0
    longest_gap_ms: float = 0.0
    packets: int = 0
    lost: int = 0


def variants(lab: Lab, node: str, changes: tuple[tuple[str, str], ...]) -> tuple[str, str]:
    """Two configurations on the disk of `node`: as it is, and with `changes`; their paths there."""
    folder = lab.folder / "nodes" / node / "etc"
    text = (folder / Path(paths.CONFIG).relative_to("/etc")).read_text()
    changed = text
    for old, new in changes:
        assert old in text, old
        changed = changed.replace(old, new)
    for name, content in (("before.toml", text), ("after.toml", changed)):
        (folder / name).write_text(content)
    return "/etc/before.toml", "/etc/after.toml"


def apply(lab: Lab, node: str, config: str) -> subprocess.Popen[bytes]:
    argv = [*PROGRAM, "apply", config, "--yes"]
    return lab.popen(node, argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def run_whole(lab: Lab, node: str, config: str, figures: Figures) -> None:
    """The next apply has to converge: it ends well, and nothing differs afterwards."""
    _, said = (done := apply(lab, node, config)).communicate(timeout=90)
    if done.returncode != 0:
        figures.failed.append(f"{node}: the next apply gave {done.returncode}: {said.decode().strip()}")
    differs = lab.exec(node, [*PROGRAM, "diff", "--exit-code", config], check=False)
    if differs.returncode != 0:
        figures.failed.append(f"{node}: afterwards there differs: {differs.stdout.strip()}")


def kill_one(lab: Lab, node: str, config: str, after_seconds: float, figures: Figures, *, at_work: bool) -> None:
    """Start an apply and kill it without mercy after so long; `at_work`: so long after it has begun to change files."""
    journal = lab.folder / "nodes" / node / "var-lib" / Path(paths.APPLY_JOURNAL).relative_to("/var/lib")
    running = apply(lab, node, config)
    if at_work:
        begun = lambda: journal.exists() or running.poll() is not None  # noqa: E731 - said once, here
        wait_until(begun, deadline_seconds=60, what="the beginning of an apply")
    moment = time.monotonic() + after_seconds
    wait_until(
        lambda: time.monotonic() >= moment or running.poll() is not None, deadline_seconds=60, what="the moment to kill"
    )
    running.kill()
    running.communicate(timeout=30)
    figures.kills += 1
    figures.cut_off += journal.exists()


def kill_many(
    lab: Lab, kills: int, seed: int, window_seconds: float, *, each: bool, progress: Callable[[str], None] = print
) -> Figures:
    """Kill `kills` applies at random moments of the window, in turn on both nodes, under traffic.

    With `each`, every kill is followed by a whole apply; else only the last one on each node.
    """
    dice, figures = random.Random(seed), Figures()  # noqa: S311 - no secret
    active, standby = lab.wait_ready()
    configs = {active: variants(lab, active, GENTLE), standby: variants(lab, standby, ROUGH)}
    with Witnesses(lab) as witnesses, Traffic(lab.popen, [str(a.ip) for a in lab.topology.internet], _FLOWS) as traffic:
        traffic.wait_open()
        began = time.monotonic_ns()
        calm = time.monotonic() + BASELINE_SECONDS
        wait_until(lambda: time.monotonic() >= calm, deadline_seconds=60, what="the end of the baseline")
        event = time.monotonic_ns()
        for number in range(kills):
            node = (active, standby)[number % 2]
            moment = dice.uniform(0, window_seconds)
            wanted, at_work = configs[node][1 - number // 2 % 2], number % 4 < 2
            kill_one(lab, node, wanted, moment, figures, at_work=at_work)
            if each:
                run_whole(lab, node, configs[node][dice.randrange(2)], figures)
            progress(f"{number + 1} of {kills}: {node} killed after {moment:.2f} s")
        for node in (active, standby):
            run_whole(lab, node, configs[node][0], figures)
        end = time.monotonic_ns()
        witnesses.stop()
        record, seen = traffic.finish(), witnesses.read()
    figures.baseline_gap_ms = longest_gap_ns(reply_gaps(record.udp, began, event)) / 1e6
    figures.longest_gap_ms = longest_gap_ns(reply_gaps(record.udp, event, end)) / 1e6
    figures.leaks, figures.taps_lost = len(seen.taps.leaks), seen.taps.lost
    inside = [got for sent, got in zip(record.udp.sent_ns, record.udp.received_ns, strict=True) if event < sent < end]
    figures.packets, figures.lost = len(inside), inside.count(0)
    figures.failed += [f"flow broken: {flow.error}" for flow in record.flows if flow.error]
    return figures
