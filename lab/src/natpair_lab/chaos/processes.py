"""Faults of one process: killed, frozen, starved of memory or of children."""

from __future__ import annotations

import resource
import signal
from contextlib import suppress
from pathlib import Path

from natpair_lab.chaos.cgroups import Group, pids
from natpair_lab.chaos.fault import UNTOUCHED, Fault, Limits
from natpair_lab.chaos.scene import Scene

NO_OUTAGE_MS = 250.0
"""The stream's silence that still counts as none: the worst undisturbed gap on two busy cores, and some more."""
_ALARM_MS = 5000.0
_NFT_KILLS = 20
_STARVED_BYTES = 128 * 1024
_HOGS = 30


def keepalived_terminated(scene: Scene) -> None:
    """SIGTERM: it says goodbye with priority 0."""
    scene.kill(scene.active, "keepalived", signal.SIGTERM)


def keepalived_killed(scene: Scene) -> None:
    """SIGKILL: it leaves the VIP behind."""
    scene.kill(scene.active, "keepalived", signal.SIGKILL)


def keepalived_frozen(scene: Scene) -> None:
    """It stands still with the VIP in the kernel, and wakes up later as the master it was."""
    scene.freeze(scene.active, "keepalived", 10)
    scene.pass_time(2)


def keepalived_hung_for_good(scene: Scene) -> None:
    """Nobody wakes it up again: first the standby's, then the active node's. The agents have to end it."""
    for node in (scene.standby, scene.active):
        starts = _starts(scene, node, "keepalived")
        scene.kill(node, "keepalived", signal.SIGSTOP)
        if node == scene.active:
            scene.pass_time(7)
            done, said = scene.command(node, "/v1/switchover")
            scene.require("switchover refused with the reason", not done and "Keepalived" in said, said)
        restarted = scene.wait(lambda node=node, starts=starts: _starts(scene, node, "keepalived") > starts, 30)  # type: ignore[misc]
        scene.check(f"Keepalived of {node} ended and started again", restarted, 30_000, "nobody ended it")
        scene.wait_ready(30)


def agent_killed_and_frozen(scene: Scene) -> None:
    """First killed, then, back again, frozen."""
    scene.kill(scene.active, "agent", signal.SIGKILL)
    scene.wait_ready(20)
    scene.freeze(scene.active, "agent", 8)


def speaker_killed(scene: Scene) -> None:
    """The BGP speaker of the active node dies."""
    scene.kill(scene.active, "speaker", signal.SIGKILL)


def speaker_frozen(scene: Scene) -> None:
    """The BGP speaker of the active node stands still; its sessions time out."""
    scene.freeze(scene.active, "speaker", 12)


def sync_killed_and_frozen(scene: Scene) -> None:
    """conntrackd of the active node: killed, then frozen. Somebody must say so, and no switchover may begin."""
    scene.kill(scene.active, "conntrackd", signal.SIGKILL)
    scene.pass_time(1)
    scene.wait_ready(20)
    scene.kill(scene.active, "conntrackd", signal.SIGSTOP)
    scene.undo.append(lambda: scene.kill(scene.active, "conntrackd", signal.SIGCONT))
    told = scene.alarm(("conntrackd-mute", "no-usable-standby", "sync-stalled"), _ALARM_MS / 1000)
    scene.check("alarm", told, _ALARM_MS, "no agent tells that replication stands still")
    done, said = scene.command(scene.active, "/v1/switchover")
    scene.require("switchover refused", not done, said or "it was carried out")


def sync_killed_then_power_cut(scene: Scene) -> None:
    """The standby's conntrackd has just died when the active loses power."""
    scene.kill(scene.standby, "conntrackd", signal.SIGKILL)
    scene.power_cut(scene.active)


def nft_killed_midway(scene: Scene) -> None:
    """Rulesets are being loaded, and nft is killed at some moment in it, again and again."""
    # timeout(1) of coreutils kills it after so many milliseconds; some are quicker, and that is as it should be.
    for number in range(_NFT_KILLS):
        limit = f"{0.001 + number * 0.0005:.4f}"
        for node, file in ((scene.active, "traffic-local"), (scene.standby, "traffic-relay")):
            scene.run(
                node, "timeout", "-s", "KILL", limit, "nft", "-f", f"/etc/natpair/generated/{file}.nft", check=False
            )


def no_more_forks(scene: Scene) -> None:
    """On the standby no process can be started any more, and the active node loses power."""
    group = Group("pids", f"{scene.lab.name}-{scene.standby}")
    scene.undo.append(group.close)
    group.add(pids(scene.lab, scene.standby))
    group.set("pids.max", group.read("pids.current"))
    scene.power_cut(scene.active)


def out_of_memory(scene: Scene) -> None:
    """The kernel kills the active node's agent for want of memory; the standby's Keepalived ends the same way."""
    starts = _starts(scene, scene.active, "agent")
    group = Group("memory", f"{scene.lab.name}-agent")
    scene.undo.append(group.close)
    group.set("memory.limit_in_bytes", _STARVED_BYTES)
    group.add(pids(scene.lab, scene.active, "natpair agent"))
    killed = scene.wait(lambda: _starts(scene, scene.active, "agent") > starts, 10)
    scene.check("agent started again", killed, 10_000, "the kernel did not kill it, or nobody started it again")
    # It locks its memory at its start and wants no more: only the kernel's signal can be given, not its reason.
    scene.kill(scene.standby, "keepalived", signal.SIGKILL)
    scene.wait_ready(30)


def _starts(scene: Scene, node: str, word: str) -> int:
    name = scene.service(node, word)
    return next(int(s["starts"]) for s in scene.lab.services(node)["services"] if s["name"] == name)


def busy(scene: Scene) -> None:
    """Many more processes want the CPU than there are cores, on both nodes."""
    hogs = [scene.lab.popen(n, ["sh", "-c", "while :; do :; done"]) for n in scene.lab.nodes for _ in range(_HOGS)]
    try:
        scene.pass_time(8)
    finally:
        for hog in hogs:
            hog.kill()
        for hog in hogs:
            hog.wait()


def no_more_files(scene: Scene) -> None:
    """The active node's agent cannot open one more file or socket for a while."""
    for pid in pids(scene.lab, scene.active, "natpair agent"):
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        used = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (used, hard))
        scene.undo.append(lambda pid=pid, hard=hard: _lift(pid, hard))  # type: ignore[misc]
    scene.pass_time(6)


def _lift(pid: int, hard: int) -> None:
    with suppress(ProcessLookupError):
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))


FAULTS = (
    Fault(1, "Keepalived terminated on the active node", keepalived_terminated, 1000),
    Fault(2, "Keepalived killed on the active node", keepalived_killed, 1500),
    Fault(
        3,
        "Keepalived frozen on the active node, then thawed",
        keepalived_frozen,
        1500,
        scale="frozen for 10 s in place of 30 s",
    ),
    Fault(
        4,
        "agent of the active node killed, then frozen",
        agent_killed_and_frozen,
        NO_OUTAGE_MS,
        invariants=UNTOUCHED,
        limits=Limits(transitions=0),
        scale="frozen for 8 s in place of 10 min; its watchdog acts after 5 s",
        agents=True,
    ),
    Fault(5, "BGP speaker killed on the active node", speaker_killed, 1000),
    Fault(6, "BGP speaker frozen on the active node", speaker_frozen, 9000, limits=Limits(path_ms=9000)),
    Fault(
        7,
        "conntrackd killed, then frozen, on the active node",
        sync_killed_and_frozen,
        NO_OUTAGE_MS,
        invariants=UNTOUCHED,
        limits=Limits(transitions=0),
        agents=True,
    ),
    Fault(8, "conntrackd killed on the standby, then power cut of the active node", sync_killed_then_power_cut, 900),
    Fault(
        9,
        "nft killed in the midst of loading a ruleset, 40 times",
        nft_killed_midway,
        NO_OUTAGE_MS,
        limits=Limits(transitions=0),
        agents=True,
    ),
    Fault(10, "no process can be started on the standby, then power cut of the active node", no_more_forks, 900),
    Fault(
        47,
        "out of memory: the agent of the active node, Keepalived of the standby",
        out_of_memory,
        NO_OUTAGE_MS,
        invariants=UNTOUCHED,
        limits=Limits(transitions=0),
        scale="Keepalived by SIGKILL: it takes no memory after its start",
        agents=True,
    ),
    Fault(
        48,
        "60 processes that want the CPU, on both nodes",
        busy,
        1000,
        limits=Limits(transitions=0),
        scale="8 s in place of 10 min; a stalled disk is fault 70",
    ),
    Fault(
        49,
        "no more file descriptors for the agent of the active node",
        no_more_files,
        NO_OUTAGE_MS,
        invariants=UNTOUCHED,
        limits=Limits(transitions=0),
        agents=True,
    ),
    Fault(
        75,
        "Keepalived hung for good on the standby, then on the active node",
        keepalived_hung_for_good,
        1500,
        agents=True,
    ),
)
