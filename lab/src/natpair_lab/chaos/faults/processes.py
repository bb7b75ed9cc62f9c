"""Faults of one process: killed, frozen, without memory, files or child processes."""

from __future__ import annotations

import resource
import signal
from contextlib import suppress
from pathlib import Path

from natpair_lab.chaos.cgroups import Group, pids
from natpair_lab.chaos.context import Context
from natpair_lab.chaos.fault import NO_OUTAGE_MS, STAYS, UNTOUCHED, Fault, Limits
from natpair_lab.testbed.faults import service_named

_ALARM_MS = 5000.0
_NFT_KILLS = 20
_STARVED_BYTES = 128 * 1024
_HOGS = 30


@Fault(1, "Keepalived terminated on the active node", bound_ms=1000)
def keepalived_terminated(context: Context) -> None:
    """Ends Keepalived with SIGTERM: it sends an advert of priority 0 before it exits."""
    context.kill(context.active, "keepalived", signal.SIGTERM)


@Fault(2, "Keepalived killed on the active node", bound_ms=1500)
def keepalived_killed(context: Context) -> None:
    """Ends Keepalived with SIGKILL: it leaves the VIP in the kernel."""
    context.kill(context.active, "keepalived", signal.SIGKILL)


@Fault(3, "Keepalived frozen on the active node, then resumed", bound_ms=1500, scale="frozen for 10 s instead of 30 s")
def keepalived_frozen(context: Context) -> None:
    """Keepalived stops with the VIP in the kernel, and later resumes as master."""
    context.freeze(context.active, "keepalived", 10)
    context.pass_time(2)


@Fault(75, "Keepalived hangs permanently on the standby, then on the active node", bound_ms=1500, agents=True)
def keepalived_hung_for_good(context: Context) -> None:
    """Keepalived hangs for ever: first on the standby, then on the active node. The agents have to end it."""
    for node in (context.standby, context.active):
        starts = _starts(context, node, "keepalived")
        context.kill(node, "keepalived", signal.SIGSTOP)
        if node == context.active:
            context.pass_time(7)
            done, said = context.order(node, "switchover")
            context.require("switchover refused with the reason", not done and "Keepalived" in said, said)
        restarted = context.wait(lambda node=node, starts=starts: _starts(context, node, "keepalived") > starts, 30)  # type: ignore[misc]
        context.check(f"Keepalived of {node} ended and started again", restarted, 30_000, "no agent ended it")
        context.wait_ready(30)


@Fault(
    4,
    "agent of the active node killed, then frozen",
    bound_ms=NO_OUTAGE_MS,
    invariants=UNTOUCHED,
    limits=STAYS,
    scale="frozen for 8 s instead of 10 min; its watchdog acts after 5 s",
    agents=True,
)
def agent_killed_and_frozen(context: Context) -> None:
    """The agent is killed; after its restart it is frozen."""
    context.kill(context.active, "agent", signal.SIGKILL)
    context.wait_ready(20)
    context.freeze(context.active, "agent", 8)


@Fault(5, "BGP speaker killed on the active node", bound_ms=1000)
def speaker_killed(context: Context) -> None:
    """The BGP speaker of the active node is killed."""
    context.kill(context.active, "speaker", signal.SIGKILL)


@Fault(6, "BGP speaker frozen on the active node", bound_ms=9000, limits=Limits(path_ms=9000))
def speaker_frozen(context: Context) -> None:
    """The BGP speaker of the active node is frozen; its sessions time out."""
    context.freeze(context.active, "speaker", 12)


@Fault(
    7,
    "conntrackd killed, then frozen, on the active node",
    bound_ms=NO_OUTAGE_MS,
    invariants=UNTOUCHED,
    limits=STAYS,
    agents=True,
)
def sync_killed_and_frozen(context: Context) -> None:
    """conntrackd of the active node is killed, then frozen. An agent must report it, and no switchover may start."""
    context.kill(context.active, "conntrackd", signal.SIGKILL)
    context.pass_time(1)
    context.wait_ready(20)
    context.kill(context.active, "conntrackd", signal.SIGSTOP)
    context.undo.append(lambda: context.kill(context.active, "conntrackd", signal.SIGCONT))
    told = context.alarm(("conntrackd-not-responding", "no-usable-standby", "sync-stalled"), _ALARM_MS / 1000)
    context.check("alarm", told, _ALARM_MS, "no agent reports that replication has stopped")
    done, said = context.order(context.active, "switchover")
    context.require("switchover refused", not done, said or "it was carried out")


@Fault(8, "conntrackd killed on the standby, then power cut of the active node", bound_ms=900)
def sync_killed_then_power_cut(context: Context) -> None:
    """The active node loses power just after the standby's conntrackd is killed."""
    context.kill(context.standby, "conntrackd", signal.SIGKILL)
    context.power_cut(context.active)


@Fault(9, "nft killed while it loads a ruleset, 40 times", bound_ms=NO_OUTAGE_MS, limits=STAYS, agents=True)
def nft_killed_midway(context: Context) -> None:
    """Rulesets are loaded again and again, and nft is killed at a random moment of each load."""
    # timeout(1) of coreutils kills it after so many milliseconds. Some loads finish earlier, which is fine.
    for number in range(_NFT_KILLS):
        limit = f"{0.001 + number * 0.0005:.4f}"
        for node, file in ((context.active, "traffic-local"), (context.standby, "traffic-relay")):
            context.run(
                node, "timeout", "-s", "KILL", limit, "nft", "-f", f"/etc/natpair/generated/{file}.nft", check=False
            )


@Fault(10, "no process can be started on the standby, then power cut of the active node", bound_ms=900)
def no_more_forks(context: Context) -> None:
    """The standby can start no process any more, and the active node loses power."""
    group = Group("pids", f"{context.lab.name}-{context.standby}")
    context.undo.append(group.close)
    group.add(pids(context.lab, context.standby))
    group.set("pids.max", group.read("pids.current"))
    context.power_cut(context.active)


@Fault(
    47,
    "out of memory: the agent of the active node, Keepalived of the standby",
    bound_ms=NO_OUTAGE_MS,
    invariants=UNTOUCHED,
    limits=STAYS,
    scale="Keepalived is killed with SIGKILL, because it allocates no memory after its start",
    agents=True,
)
def out_of_memory(context: Context) -> None:
    """The kernel kills the active node's agent when memory runs out; the standby's Keepalived is killed, too."""
    starts = _starts(context, context.active, "agent")
    group = Group("memory", f"{context.lab.name}-agent")
    context.undo.append(group.close)
    group.set("memory.limit_in_bytes", _STARVED_BYTES)
    group.add(pids(context.lab, context.active, "natpair agent"))
    killed = context.wait(lambda: _starts(context, context.active, "agent") > starts, 10)
    context.check("agent started again", killed, 10_000, "the kernel did not kill it, or nobody started it again")
    # Keepalived locks its memory at its start and allocates no more. So only the kernel's signal can be given, not its
    # cause.
    context.kill(context.standby, "keepalived", signal.SIGKILL)
    context.wait_ready(30)


def _starts(context: Context, node: str, word: str) -> int:
    name = service_named(context.lab, word)
    return next(int(s["starts"]) for s in context.lab.services(node)["services"] if s["name"] == name)


@Fault(
    48,
    "60 busy processes on both nodes",
    bound_ms=1000,
    limits=STAYS,
    scale="8 s instead of 10 min; a stalled disk is fault 70",
)
def busy(context: Context) -> None:
    """On both nodes, many more processes than cores use the CPU."""
    hogs = [context.lab.popen(n, ["sh", "-c", "while :; do :; done"]) for n in context.lab.nodes for _ in range(_HOGS)]
    try:
        context.pass_time(8)
    finally:
        for hog in hogs:
            hog.kill()
        for hog in hogs:
            hog.wait()


@Fault(
    49,
    "agent of the active node has no free file descriptors",
    bound_ms=NO_OUTAGE_MS,
    invariants=UNTOUCHED,
    limits=STAYS,
    agents=True,
)
def no_more_files(context: Context) -> None:
    """The active node's agent can open no file or socket for some time."""
    for pid in pids(context.lab, context.active, "natpair agent"):
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        used = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (used, hard))
        context.undo.append(lambda pid=pid, hard=hard: _lift(pid, hard))  # type: ignore[misc]
    context.pass_time(6)


def _lift(pid: int, hard: int) -> None:
    with suppress(ProcessLookupError):
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (hard, hard))
