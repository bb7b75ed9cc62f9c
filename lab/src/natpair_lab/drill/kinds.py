"""The kinds of drill, each next to its code: which node is hit, what happens, who is active then, and the bars."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from natpair.core.model import Gateway
from natpair.core.status import Role
from natpair.errors import CommandFailed, LabError
from natpair.system.process import run
from natpair_lab.drill import bounds
from natpair_lab.drill.stage import Durations, Injection, Stage
from natpair_lab.testbed import faults
from natpair_lab.testbed.fabric import Knobs
from natpair_lab.testbed.topology import Design
from natpair_lab.testbed.wait import wait_until
from natpair_lab.testbed.world import Lab, Link

READY_SECONDS = 90.0
_REPAIR_SECONDS = 10.0
_REJOIN_SECONDS = 60.0
_ADOPT_SECONDS = 15.0
_IN_PLACE = "natpair traffic=local"


class KindName(StrEnum):
    """The name of the kind on the command line."""

    CRASH = "crash"
    PLANNED = "planned"
    BACK_AND_FORTH = "back-and-forth"
    VLAN = "vlan"
    STANDBY_VLAN = "standby-vlan"
    UPLINK = "uplink"
    PARTITION = "partition"
    AGENT_KILL = "agent-kill"
    AGENT_STOP = "agent-stop"
    FLUSH = "flush"
    RETURN = "return"
    SPEAKER_KILL = "speaker-kill"


class Side(StrEnum):
    """Which node an event hits."""

    ACTIVE = "active"
    STANDBY = "standby"


@dataclass(frozen=True, slots=True)
class Conditions:
    """What the bars depend on, besides the kind."""

    gateway: Gateway
    fabric: Knobs
    durations: Durations


Limits = Callable[[Conditions], Mapping[str, float]]
Inject = Callable[[Stage], Injection]
Prepare = Callable[[Lab, str, str], tuple[str, str]]


def _nothing(*_: object) -> Any:
    """An event that needs no repair."""


def sudden(fault: str) -> Inject:
    """An event that is one elementary fault of the node that is hit, and is over at once."""

    def inject(stage: Stage) -> Injection:
        event = time.monotonic_ns()
        faults.kind_named(fault).inject(stage.lab, stage.victim)
        return Injection(event, event, cut_ns=event if fault == faults.POWER_CUT else None)

    return inject


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of drill. `survivor_serves`: the survivor should be active afterwards, not the node that was hit.

    `patient` is for slow pairs: one minute for the stream to work again, then 30 s for each flow.
    """

    name: KindName
    story: str
    limits: Limits
    hits: Side = Side.ACTIVE
    survivor_serves: bool = True
    restore: faults.Act = _nothing
    prepare: Prepare | None = None
    after_seconds: float = 4.0
    patient: bool = False
    inject: Inject = _nothing

    def __call__(self, inject: Inject) -> Kind:
        """Use a kind as the decorator of the function that injects it."""
        return replace(self, inject=inject)


def _crash(conditions: Conditions) -> Mapping[str, float]:
    timing = conditions.gateway.timing
    worst = bounds.CRASH_MS[conditions.gateway.pair.profile] + conditions.fabric.converge_ms
    if conditions.fabric.ignore_med:
        # On such a fabric the survivor's route only ties with the dead node's, until the dead node's session times out.
        worst = max(worst, timing.bgp_hold_seconds * 1000 + 1000 + conditions.fabric.converge_ms)
    return {**bounds.ALWAYS, "outage_ms": worst, "role_changes": 1}


def _planned(_: Conditions) -> Mapping[str, float]:
    smooth = {"packets_lost": 0, "flows_broken": 0, "stalled_new": 0, "new_refused": 0}
    return {**bounds.ALWAYS, **smooth, "excess_ms": bounds.PLANNED_EXCESS_MS, "role_changes": 1}


def _back_and_forth(_: Conditions) -> Mapping[str, float]:
    return {**bounds.ALWAYS, "moved_back_ms": bounds.BACK_AND_FORTH_MS, "role_changes": 2}


def _link(conditions: Conditions) -> Mapping[str, float]:
    table = bounds.DEAD_LINK_MS if conditions.durations.dead else bounds.LINK_MS
    worst = table[conditions.gateway.pair.profile] + conditions.fabric.converge_ms
    return {**bounds.ALWAYS, "outage_ms": worst, "role_changes": 1}


def _untouched(_: Conditions) -> Mapping[str, float]:
    return {**bounds.ALWAYS, **bounds.UNTOUCHED}


def _partition(_: Conditions) -> Mapping[str, float]:
    claimants = bounds.TWO_CLAIMANTS_MS
    # A client may use the wrong claimant's address while there are two claimants, and no longer.
    return {**bounds.ALWAYS, "two_claimants_ms": claimants, "outage_ms": claimants, "role_changes": 1}


def _flush(_: Conditions) -> Mapping[str, float]:
    return {**bounds.ALWAYS, "repaired_ms": bounds.FLUSH_MS, "outage_ms": bounds.FLUSH_MS, "role_changes": 0}


def _speaker(_: Conditions) -> Mapping[str, float]:
    return {**bounds.ALWAYS, "outage_ms": bounds.SPEAKER_MS, "role_changes": 1}


def _return(conditions: Conditions) -> Mapping[str, float]:
    return {**_untouched(conditions), "standby_not_synced": 0}


_power = faults.kind_named(faults.POWER_CUT)


def _replug(lab: Lab, victim: str) -> None:
    for name in ("vlan-down", "public-down"):
        faults.kind_named(name).repair(lab, victim)


def _start_election(lab: Lab, victim: str) -> None:
    """Start the victim's Keepalived if it was stopped for the switchover."""
    lab.service(victim, lab.parts.election, "start")


CRASH = Kind(KindName.CRASH, "the active node loses power", _crash, restore=_power.repair)(sudden(faults.POWER_CUT))


@Kind(KindName.PLANNED, "the active node hands over on request", _planned, restore=_start_election)
def switchover(stage: Stage) -> Injection:
    """The active node is asked for a switchover.

    On the classic design this can only be done by stopping its Keepalived.
    """
    event = time.monotonic_ns()
    if stage.lab.design is Design.CLASSIC:
        stage.lab.service(stage.victim, stage.lab.parts.election, "stop")
        return Injection(event, time.monotonic_ns())
    done, said = stage.order(stage.victim, "switchover")
    return Injection(event, time.monotonic_ns(), refused="" if done else said or "refused")


@Kind(KindName.BACK_AND_FORTH, "two switchovers, there and back within 5 s", _back_and_forth, survivor_serves=False)
def there_and_back(stage: Stage) -> Injection:
    """Two switchovers: to the peer and, as soon as the pair allows it, back."""
    first = switchover.inject(stage)
    if first.refused:
        return first
    deadline = first.event_ns + int(bounds.BACK_AND_FORTH_MS * 1e6)

    refusals: dict[str, None] = {}

    def back() -> str:
        done, said = stage.order(stage.survivor, "switchover")
        if not done:
            refusals[said] = None
        return "done" if done else (said or "refused") if time.monotonic_ns() > deadline else ""

    said = wait_until(back, deadline_seconds=bounds.BACK_AND_FORTH_MS / 1000 + 40, what="the second switchover")
    now = time.monotonic_ns()
    if said != "done":
        return Injection(first.event_ns, now, refused=said, refusals=tuple(refusals))
    return Injection(first.event_ns, now, moved_back_ns=now, refusals=tuple(refusals))


def cable(link: Link, *, dead: bool = False) -> Inject:
    """A link of the node that is hit goes down, or dies with its carrier up. `Durations.dead` overrides which."""

    def inject(stage: Stage) -> Injection:
        chosen = dead if stage.durations.dead is None else stage.durations.dead
        return sudden(f"{link}-{'dead' if chosen else 'down'}")(stage)

    return inject


VLAN = Kind(KindName.VLAN, "the active node's VLAN link goes down", _link, restore=_replug)(cable("vlan"))


STANDBY_VLAN = Kind(
    KindName.STANDBY_VLAN,
    "the standby's VLAN link dies, carrier up",
    _untouched,
    hits=Side.STANDBY,
    restore=_replug,
    after_seconds=8.0,
)(cable("vlan", dead=True))


UPLINK = Kind(KindName.UPLINK, "the active node's public link goes down", _link, restore=_replug)(cable("public"))


@Kind(KindName.PARTITION, "the VLAN is cut between the nodes, then repaired", _partition, hits=Side.STANDBY)
def split(stage: Stage) -> Injection:
    """The VLAN is cut between the two nodes only, for some time, then repaired."""
    event = time.monotonic_ns()
    stage.lab.partition(True)
    try:
        stage.pass_time(stage.durations.partition_seconds)
    finally:
        stage.lab.partition(False)
    return Injection(event, time.monotonic_ns())


@Kind(KindName.AGENT_KILL, "the active node's agent is killed", _untouched, survivor_serves=False)
def agent_killed(stage: Stage) -> Injection:
    """The agent of the active node is killed; its supervisor restarts it."""
    event = sudden("kill:agent")(stage).event_ns
    adopted = stage.wait_role(stage.victim, Role.ACTIVE, _ADOPT_SECONDS)
    return Injection(event, time.monotonic_ns(), refused="" if adopted else "the agent did not take up its role again")


@Kind(KindName.AGENT_STOP, "the active node's agent is frozen", _untouched, survivor_serves=False)
def agent_stopped(stage: Stage) -> Injection:
    """The agent of the active node is frozen for some time; its watchdog may end that earlier."""
    event = sudden("stop:agent")(stage).event_ns
    stage.pass_time(stage.durations.stop_seconds)
    with contextlib.suppress(LabError):  # between the watchdog's kill and the restart there is no process to signal
        faults.kind_named("cont:agent").inject(stage.lab, stage.victim)
    adopted = stage.wait_role(stage.victim, Role.ACTIVE, _ADOPT_SECONDS)
    return Injection(event, time.monotonic_ns(), refused="" if adopted else "the agent did not take up its role again")


@Kind(KindName.FLUSH, "another tool flushes the active node's ruleset", _flush, survivor_serves=False)
def ruleset_flushed(stage: Stage) -> Injection:
    """Another tool flushes the whole nftables ruleset of the active node."""
    namespace = ["ip", "netns", "exec", stage.lab.netns_of(stage.victim)]
    event = sudden(faults.FLUSH)(stage).event_ns

    def repaired() -> int | None:
        if time.monotonic_ns() - event > _REPAIR_SECONDS * 1e9:
            return -1
        with contextlib.suppress(CommandFailed):
            shown = run([*namespace, "nft", "list", "table", "ip", "natpair"], timeout=_REPAIR_SECONDS).stdout
            return time.monotonic_ns() if _IN_PLACE in shown else None
        return None

    moment = wait_until(repaired, deadline_seconds=_REPAIR_SECONDS * 3, what="the repair of the ruleset")
    return Injection(event, time.monotonic_ns(), repaired_ns=moment if moment > 0 else None)


def cut_before(lab: Lab, active: str, standby: str) -> tuple[str, str]:
    """Before a return: the active node loses power and the standby takes over. Returns the new (active, absent)."""
    _power.inject(lab, active)

    def taken_over() -> bool:
        return lab.role(standby) is Role.ACTIVE and lab.best_path() == (standby,)

    wait_until(taken_over, deadline_seconds=READY_SECONDS, what=f"the takeover by {standby}", diagnose=lab.diagnose)
    return standby, active


@Kind(
    KindName.RETURN,
    "the node that lost power comes back",
    _return,
    hits=Side.STANDBY,
    restore=_power.repair,
    prepare=cut_before,
)
def powered_on(stage: Stage) -> Injection:
    """The node that lost power comes back."""
    event = time.monotonic_ns()
    stage.lab.boot(stage.victim)
    stage.witnesses.learn_ports()
    synced = stage.wait_role(stage.victim, Role.STANDBY, _REJOIN_SECONDS)
    now = time.monotonic_ns()
    return Injection(event, now, rejoined_ns=now if synced else None, standby_synced=synced)


SPEAKER_KILL = Kind(KindName.SPEAKER_KILL, "the active node's BGP speaker is killed", _speaker, survivor_serves=False)(
    sudden("kill:speaker")
)


_FOUND = {kind.name: kind for kind in list(vars().values()) if isinstance(kind, Kind)}
KINDS: Mapping[KindName, Kind] = {name: _FOUND[name] for name in KindName}
"""Every kind by its name. If a standby is hit, the survivor is the active node, which should stay active."""
