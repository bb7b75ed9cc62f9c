"""The events themselves: what is done to the pair, and how it is made whole again. One function each."""

from __future__ import annotations

import contextlib
import signal
import time
from typing import Literal

from natpair.errors import CommandFailed, LabError
from natpair.system.process import run
from natpair_lab.drill.bounds import BACK_AND_FORTH_MS
from natpair_lab.drill.stage import Injection, Stage
from natpair_lab.testbed.topology import Design
from natpair_lab.testbed.wait import wait_until
from natpair_lab.testbed.world import Lab

AGENT = "natpair-agent"
READY_SECONDS = 90.0
_REPAIR_SECONDS = 10.0
_REJOIN_SECONDS = 60.0
_ADOPT_SECONDS = 15.0
_IN_PLACE = "natpair traffic=local"


def power_cut(stage: Stage) -> Injection:
    """The node loses power: both cables first, then everything on it."""
    event = time.monotonic_ns()
    stage.lab.power_cut(stage.victim)
    return Injection(event, event, cut_ns=event)


def switchover(stage: Stage) -> Injection:
    """The active node is asked to hand over; the classic design knows no other way than to stop its Keepalived."""
    event = time.monotonic_ns()
    if stage.lab.design is Design.CLASSIC:
        stage.lab.service(stage.victim, stage.lab.parts.election, "stop")
        return Injection(event, time.monotonic_ns())
    done, said = stage.command(stage.victim, "/v1/switchover")
    return Injection(event, time.monotonic_ns(), refused="" if done else said or "refused")


def there_and_back(stage: Stage) -> Injection:
    """Two switchovers: away and, as soon as the pair allows it, back again."""
    first = switchover(stage)
    if first.refused:
        return first
    deadline = first.event_ns + int(BACK_AND_FORTH_MS * 1e6)

    refusals: dict[str, None] = {}

    def back() -> str:
        done, said = stage.command(stage.survivor, "/v1/switchover")
        if not done:
            refusals[said] = None
        return "done" if done else (said or "refused") if time.monotonic_ns() > deadline else ""

    said = wait_until(back, deadline_seconds=BACK_AND_FORTH_MS / 1000 + 40, what="the second switchover")
    now = time.monotonic_ns()
    if said != "done":
        return Injection(first.event_ns, now, refused=said, refusals=tuple(refusals))
    return Injection(first.event_ns, now, moved_back_ns=now, refusals=tuple(refusals))


def _cut_leg(stage: Stage, leg: Literal["vlan", "public"], *, dead: bool) -> Injection:
    chosen = dead if stage.durations.dead is None else stage.durations.dead
    event = time.monotonic_ns()
    stage.lab.link(stage.victim, leg, "dead" if chosen else "down")
    return Injection(event, event)


def vlan_down(stage: Stage) -> Injection:
    """The active node's VLAN cable is pulled."""
    return _cut_leg(stage, "vlan", dead=False)


def uplink_down(stage: Stage) -> Injection:
    """The active node's public cable is pulled."""
    return _cut_leg(stage, "public", dead=False)


def standby_vlan_dead(stage: Stage) -> Injection:
    """The standby's VLAN leg dies with its carrier still up: from there the active looks dead."""
    return _cut_leg(stage, "vlan", dead=True)


def split(stage: Stage) -> Injection:
    """The VLAN is cut between the nodes only, for a while, then healed."""
    event = time.monotonic_ns()
    stage.lab.partition(True)
    try:
        stage.pass_time(stage.durations.partition_seconds)
    finally:
        stage.lab.partition(False)
    return Injection(event, time.monotonic_ns())


def agent_killed(stage: Stage) -> Injection:
    """The agent of the active node is killed; its supervisor starts it anew."""
    event = time.monotonic_ns()
    stage.lab.kill(stage.victim, AGENT, signal.SIGKILL)
    adopted = stage.wait_role(stage.victim, "active", _ADOPT_SECONDS)
    return Injection(event, time.monotonic_ns(), refused="" if adopted else "the agent did not take up its role again")


def agent_stopped(stage: Stage) -> Injection:
    """The agent of the active node is frozen for a while; its watchdog may end that earlier."""
    event = time.monotonic_ns()
    stage.lab.kill(stage.victim, AGENT, signal.SIGSTOP)
    stage.pass_time(stage.durations.stop_seconds)
    with contextlib.suppress(LabError):  # between the watchdog's kill and the restart there is nobody to signal
        stage.lab.kill(stage.victim, AGENT, signal.SIGCONT)
    adopted = stage.wait_role(stage.victim, "active", _ADOPT_SECONDS)
    return Injection(event, time.monotonic_ns(), refused="" if adopted else "the agent did not take up its role again")


def ruleset_flushed(stage: Stage) -> Injection:
    """Another tool throws away the whole nftables ruleset of the active node."""
    namespace = ["ip", "netns", "exec", stage.lab.netns_of(stage.victim)]
    event = time.monotonic_ns()
    run([*namespace, "nft", "flush", "ruleset"], timeout=_REPAIR_SECONDS)

    def repaired() -> int | None:
        if time.monotonic_ns() - event > _REPAIR_SECONDS * 1e9:
            return -1
        with contextlib.suppress(CommandFailed):
            shown = run([*namespace, "nft", "list", "table", "ip", "natpair"], timeout=_REPAIR_SECONDS).stdout
            return time.monotonic_ns() if _IN_PLACE in shown else None
        return None

    moment = wait_until(repaired, deadline_seconds=_REPAIR_SECONDS * 3, what="the repair of the ruleset")
    return Injection(event, time.monotonic_ns(), repaired_ns=moment if moment > 0 else None)


def speaker_killed(stage: Stage) -> Injection:
    """The active node's BGP speaker is killed; its supervisor starts it anew."""
    event = time.monotonic_ns()
    stage.lab.kill(stage.victim, stage.lab.parts.speaker, signal.SIGKILL)
    return Injection(event, event)


def powered_on(stage: Stage) -> Injection:
    """The node that lost power before comes back."""
    event = time.monotonic_ns()
    stage.lab.boot(stage.victim)
    stage.witnesses.learn_ports()
    synced = stage.wait_role(stage.victim, "standby", _REJOIN_SECONDS)
    now = time.monotonic_ns()
    return Injection(event, now, rejoined_ns=now if synced else None, standby_synced=synced)


def cut_before(lab: Lab, active: str, standby: str) -> tuple[str, str]:
    """Before a return: the active loses power and the standby takes over. The new (active, absent)."""
    lab.power_cut(active)

    def taken_over() -> bool:
        status = lab.status(standby) or {}
        return status.get("role") == "active" and lab.best_path() == (standby,)

    wait_until(taken_over, deadline_seconds=READY_SECONDS, what=f"the takeover by {standby}", diagnose=lab.diagnose)
    return standby, active


def reboot(lab: Lab, victim: str) -> None:
    """Power the victim on again."""
    if not lab.powered(victim):
        lab.boot(victim)


def replug(lab: Lab, victim: str) -> None:
    """Put both cables back."""
    lab.link(victim, "vlan", "up")
    lab.link(victim, "public", "up")


def restart_election(lab: Lab, victim: str) -> None:
    """Start the victim's Keepalived if it was stopped to hand over."""
    lab.service(victim, lab.parts.election, "start")


def nothing(lab: Lab, victim: str) -> None:
    """Nothing to make whole."""
